"""What should live, lives: files, ends, pauses, places, ports, and a directory that is gone."""

import errno
import logging
import shutil
import time
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.run.lock import RunLock
from entrain.supervise import processes
from entrain.supervise.ports import Ports
from support.served_runs import FoundAgain, World, save_summary

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "entrain")
    # The disk of a busy machine takes longer than all the rest.
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)


async def test_every_file_is_a_run_with_a_port_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("walk")
    world.write("hop")
    await world.steps()
    assert {name: world.state(name) for name in ("hop", "walk")} == {
        "hop": "running",
        "walk": "running",
    }
    words = [" ".join(it.command) for it in world.started]
    for name, said in zip(("hop", "walk"), words, strict=True):
        assert f"train {world.directory}/{name}.yaml --resume-or-start --name {name}" in said
        assert f"--runs-directory {world.directory}/runs" in said
    addresses = {it.command[it.command.index("--address") + 1] for it in world.started}
    assert len(addresses) == 2


async def test_so_many_at_once_and_whoever_waited_longest_is_next(tmp_path: Path) -> None:
    world = World(tmp_path, at_once=1)
    for name in "abc":
        world.write(name)
    await world.steps()
    assert [world.state(name) for name in "abc"] == ["running", "waiting", "waiting"]
    assert world.run("b").says("waiting") == "waits for a place: 1 at once (--at-once)"
    order = []
    for _ in range(6):
        (living,) = world.supervisor.living
        order.append(living.name)
        world.end(living.name, 5)
        # Long enough for every pause to be over.
        await world.steps(seconds=400.0)
    assert order == list("abcabc")


async def test_a_run_that_fails_again_and_again_backs_off_and_the_log_stays_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.write("walk")
    world.write("hop")
    await world.steps()
    began_s, starts = world.now_s, len(world.started)
    for _ in range(400):
        if world.run("walk").living is not None:
            world.run("walk").output.write_text("entrain: the disk refuses\n")
            world.end("walk", 7)
        await world.steps(1, seconds=30.0)
    hours = (world.now_s - began_s) / 3600
    # 1 + 2 + ... + 256 s, and then one each 5 minutes.
    assert 30 < len(world.started) - starts < 9 + 12 * hours
    assert world.run("walk").record.restarts == len(world.started) - starts + 1
    said = [it.getMessage() for it in caplog.records if "walk ended" in it.getMessage()]
    assert len(said) < 8
    assert len([it for it in caplog.records if it.levelno >= logging.INFO]) < 20
    assert "the disk refuses" in said[0]
    assert "32 times in a row" in said[-1]
    assert world.state("hop") == "running"


async def test_what_would_fail_again_is_given_up_until_its_file_is_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.write("walk")
    await world.steps()
    world.run("walk").output.write_text("entrain: it is of another run\n")
    world.end("walk", 2)
    await world.steps(50, seconds=100.0)
    assert world.state("walk") == "given up"
    assert "last words: entrain: it is of another run" in world.run("walk").says("given up")
    world.begin_anew()
    await world.steps(5, seconds=100.0)
    assert (world.state("walk"), len(world.started)) == ("given up", 1)
    world.write("walk", "seed: 22\n")
    await world.steps(3)
    assert (world.state("walk"), len(world.started)) == ("running", 2)


async def test_a_completed_run_rests_and_one_that_was_stopped_by_hand_too(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in ("done", "halted", "died"):
        world.write(name)
    await world.steps()
    world.end("done", 0, "completed")
    world.end("halted", 0, "stopped")
    world.end("died", -9)
    await world.steps(5, seconds=10.0)
    assert [world.state(name) for name in ("done", "halted", "died")] == [
        "completed",
        "stopped",
        "running",
    ]
    (world.directory / "halted.yaml").touch()
    await world.steps(3)
    assert world.state("halted") == "running"


async def test_a_wrong_file_is_told_in_the_words_of_the_command_line_and_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.write("good")
    wrong = world.write("wrong", "polices: {}\n")
    (world.directory / "folder.yaml").mkdir()
    await world.steps()
    for path in (wrong, world.directory / "folder.yaml"):
        assert main(["train", str(path)]) == 2
        said = capsys.readouterr().err.strip()
        assert said == f"entrain: {world.run(path.stem).says('wrong file')}"
        assert world.state(path.stem) == "wrong file"
    assert world.state("good") == "running"
    world.write("wrong", "seed: 4\n")
    await world.steps(3)
    assert world.state("wrong") == "running"


async def test_a_file_that_becomes_wrong_or_other_does_not_touch_its_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.write("walk", "seed: 1\n")
    await world.steps()
    folder = world.run("walk").folder
    folder.path.mkdir(parents=True)
    folder.config.write_text("seed: 1\n")
    world.write("walk", "seed: 25\n")
    await world.steps(3)
    assert "seed is 25, there 1. Give the run another name" in world.run("walk").says("running")
    world.write("walk", "sed: 25\n")
    await world.steps(3)
    assert "has no option 'sed'" in caplog.text
    assert (world.state("walk"), world.process("walk").asked) == ("running", 0)


async def test_a_file_that_is_gone_has_its_run_saved_and_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    path = world.write("walk")
    await world.steps()
    world.run("walk").folder.path.mkdir(parents=True)
    process = world.process("walk")
    text = path.read_text()
    path.unlink()
    await world.steps(1)
    assert process.asked == 0
    await world.steps(2)
    assert (process.asked, world.state("walk")) == (1, "removed")
    world.begin_anew()
    await world.steps(2)
    assert world.state("walk") == "removed"
    path.write_text(text)
    await world.steps(3)
    assert world.state("walk") == "running"


async def test_who_does_not_save_in_time_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, stop_s=30.0)
    path = world.write("walk")
    await world.steps()
    process = world.process("walk")
    process.saves_at_once = False
    path.unlink()
    await world.steps(3)
    assert world.state("walk") == "stopping"
    await world.steps(29, seconds=1.0)
    assert process.killed == 0
    await world.steps(3, seconds=1.0)
    assert (process.asked, process.killed) == (1, 1)
    assert "did not save and end within 30 s" in caplog.text


async def test_ports_that_are_all_taken_are_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, ports=Ports(61000, 61001))
    for name in "abcd":
        world.write(name)
    await world.steps()
    assert len(world.supervisor.living) == 2
    assert world.run("d").says("waiting") == "waits for a port: none is free (--ports 61000-61001)"
    world.end("a", 0, "completed")
    await world.steps()
    assert [world.state(name) for name in "abcd"] == ["completed", "running", "running", "waiting"]


async def test_pages_of_runs_have_ports_of_a_range_where_that_is_asked(tmp_path: Path) -> None:
    world = World(tmp_path, page_ports=Ports(61100, 61101), page_host="localhost")
    for name in "abc":
        world.write(name)
    await world.steps()
    pages = [it.command[-1] for it in world.started]
    assert sorted(pages) == ["localhost:61100", "localhost:61101"]
    assert "--page-ports 61100-61101" in world.run("c").says("waiting")
    world.end("b", 0, "completed")
    await world.steps()
    assert world.started[-1].command[-1] == pages[1]


def can_read(world: World) -> bool:
    return world.supervisor.can_read


async def test_a_directory_that_is_gone_stops_nothing_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.write("walk")
    await world.steps()
    world.directory.rename(tmp_path / "away")
    await world.steps(5, seconds=1.0)
    assert not can_read(world)
    assert (world.state("walk"), world.process("walk").asked) == ("running", 0)
    assert caplog.text.count("cannot be read: No such file") == 1
    assert not world.directory.exists()
    (tmp_path / "away").rename(world.directory)
    await world.steps(2)
    assert can_read(world)
    assert world.process("walk").asked == 0
    shutil.rmtree(world.directory)
    world.directory.mkdir()
    await world.steps(3)
    assert "walk" not in world.supervisor.runs


async def test_a_disk_that_refuses_is_tried_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.write("walk")
    world.refuses = OSError(errno.ENOSPC, "No space left on device")
    await world.steps(20, seconds=0.0)
    assert world.state("walk") == "failed"
    assert "it cannot be started: No space left on device; make room" in caplog.text
    world.refuses = None
    await world.steps(2, seconds=1.0)
    assert world.state("walk") == "running"


async def test_after_a_kill_of_the_supervisor_a_trainer_that_lives_is_no_one_elses(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.write("walk")
    folder = world.supervisor._commands.folder("walk")
    folder.path.mkdir(parents=True)
    with RunLock(folder.lock_file):
        # This process holds it: as a run that a user started by hand.
        await world.steps()
        living = world.run("walk").living
        assert living is not None
        assert not living.is_own
        assert world.started == []
        await world.supervisor.stop(every_s=0.0)
    await world.steps(2, seconds=1.0)
    assert world.process("walk") is world.started[0]


async def test_a_run_that_was_ending_as_its_supervisor_was_killed_is_not_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.write("walk")
    folder = world.run_folder("walk")
    save_summary(folder.summary, "stopped")  # by an earlier process
    await world.steps()
    save_summary(folder.summary, "completed")
    found = FoundAgain([])
    monkeypatch.setattr(processes, "found_again", lambda *_: found)
    world.begin_anew()
    await world.steps()
    assert world.state("walk") == "running"
    found.ended_with = 0
    await world.steps(2, seconds=60.0)
    assert (world.state("walk"), len(world.started)) == ("completed", 1)


async def test_two_names_of_one_folder_are_one_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("a")
    world.write("b")
    runs = world.places.runs_directory
    (runs / "a").mkdir()
    (runs / "b").symlink_to("a")
    with RunLock(runs / "a" / "run.lock"):
        await world.steps()
        assert world.state("a") == "running"
        assert world.state("b") == "elsewhere"
        assert world.run("b").says("elsewhere") == "waits for its folder, which is that of a too"


async def test_clocks_that_jump_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.write("walk")
    await world.steps()
    world.end("walk", 5)
    await world.steps(1)
    for jump in (-86400.0, 86400.0, 0.0):
        now = time.time() + jump
        monkeypatch.setattr(time, "time", lambda now=now: now)
        await world.steps(1, seconds=0.3)
        assert world.state("walk") == "failed"
    await world.steps(1, seconds=0.3)
    assert world.state("walk") == "running"


async def test_stopping_asks_all_waits_and_remembers_none_as_stopped_by_hand(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, stop_s=0.05)
    for name in ("a", "b", "c"):
        world.write(name)
    await world.steps()
    # A machine that shuts down asks every process, and this one later than the runs.
    world.end("a", 0, "stopped")
    await world.steps(1)
    assert world.state("a") == "stopped"
    b, c = world.process("b"), world.process("c")
    c.saves_at_once = False
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        world.now_s += 0.02

    await world.supervisor.stop(every_s=0.0, beat=beat)
    assert (b.asked, b.killed, c.asked, c.killed) == (1, 0, 1, 1)
    assert beats
    world.begin_anew()
    await world.steps()
    assert [world.state(name) for name in "abc"] == ["running"] * 3


async def test_200_files_are_200_runs(tmp_path: Path) -> None:
    world = World(tmp_path, at_once=100, ports=Ports(61000, 61099))
    for index in range(200):
        world.write(f"run-{index:03}", f"seed: {index}\n")
    await world.steps()
    done = 0
    while world.supervisor.living:
        for run in world.supervisor.living:
            world.end(run.name, 0, "completed")
            done += 1
        await world.steps(1)
    assert done == 200
    assert {world.state(name) for name in world.supervisor.runs} == {"completed"}
