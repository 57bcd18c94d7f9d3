"""Simulators that the trainer starts: plan, environment, crashes, end."""

import asyncio
import logging
import os
import sys
from pathlib import Path

import pytest

from entrain.app.launch_plan import TAIL_BYTES, Simulator, last_line, plan
from entrain.app.launcher import Launcher
from entrain.app.restarts import MAX_RESTARTS, QuotaRestarts
from entrain.config.launch import LaunchConfig
from entrain.errors import ConfigError
from entrain_envs.exit_codes import MISFIT, USAGE


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def launcher_of(tmp_path: Path, code: str, environment: dict[str, str] | None = None) -> Launcher:
    simulator = Simulator("sim-0", python(code), tmp_path / "sim-0.log")
    return Launcher([simulator], environment=environment or {}, restart_pause_s=0.0)


async def until_exhausted(launcher: Launcher) -> None:
    async with asyncio.timeout(30):
        while not launcher.is_exhausted:
            await asyncio.sleep(0.01)


def test_each_copy_gets_its_own_name_log_and_placeholders(tmp_path: Path) -> None:
    options = LaunchConfig(command="game --port {address} --id {index} {name}", count=2, name="g")
    first, second = plan([options], address="localhost:1", logs=tmp_path)
    assert first.command == ("game", "--port", "localhost:1", "--id", "0", "g-0")
    assert second.command == ("game", "--port", "localhost:1", "--id", "1", "g-1")
    assert (first.log, second.log) == (tmp_path / "g-0.log", tmp_path / "g-1.log")


def test_a_command_given_as_a_list_is_not_split(tmp_path: Path) -> None:
    options = LaunchConfig(command=("my game", "a b"))
    assert plan([options], address="", logs=tmp_path)[0].command == ("my game", "a b")


def test_a_quoted_word_stays_whole(tmp_path: Path) -> None:
    options = LaunchConfig(command='"my game" --level 3')
    assert plan([options], address="", logs=tmp_path)[0].command[0].strip('"') == "my game"


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    options = [LaunchConfig(command="a"), LaunchConfig(command="b")]
    with pytest.raises(ConfigError, match="one name twice"):
        plan(options, address="", logs=tmp_path)


async def test_a_command_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    simulator = Simulator("sim-0", ("no-such-program-anywhere",), tmp_path / "log")
    with pytest.raises(ConfigError, match="cannot run 'no-such-program-anywhere'"):
        await Launcher([simulator], environment={}).start()


async def test_a_simulator_learns_address_and_name_from_its_environment(tmp_path: Path) -> None:
    code = (
        "import os; print(*[os.environ['ENTRAIN_' + n]"
        " for n in ('ADDRESS', 'SIMULATOR', 'RECONNECT_S')])"
    )
    launcher = launcher_of(tmp_path, code, {"ENTRAIN_ADDRESS": "localhost:9"})
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().split() == ["localhost:9", "sim-0", "0"]


async def test_a_simulator_whose_log_cannot_be_written_runs_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    written = tmp_path / "ran"
    code = f"print('dropped'); open({str(written)!r}, 'w').close()"
    simulator = Simulator("sim-0", python(code), tmp_path / "logs" / "sim-0.log")
    launcher = Launcher([simulator], environment={})
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert written.exists()
    assert caplog.text.count("what its simulator prints is dropped: ") == 1


async def test_a_simulator_that_ends_well_is_not_started_again(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, "print('one life')")
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().count("one life") == 1


async def test_a_simulator_that_crashes_is_started_again_and_at_last_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import os, sys; sys.exit(f'the sky fell on {os.getpid()}')"
    launcher = launcher_of(tmp_path, code)
    with caplog.at_level(logging.WARNING):
        await launcher.start()
        await until_exhausted(launcher)
        await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().count("the sky fell") == MAX_RESTARTS + 1
    assert "ended with exit code 1" in caplog.text
    assert "the sky fell" in caplog.text
    assert f"crashed {MAX_RESTARTS + 1} times" in caplog.text


@pytest.mark.parametrize("code", [USAGE, MISFIT])
async def test_a_simulator_that_would_fail_again_is_not_started_again_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    launcher = launcher_of(
        tmp_path, f"import sys; print('no option \\x1b[31m--cout'); sys.exit({code})"
    )
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().count("--cout") == 1
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    words = "no option \\x1b[31m--cout"
    assert told.getMessage() == (
        f"sim-0 ended with exit code {code} and would do so again: it is not restarted; its last "
        f"words in {tmp_path / 'sim-0.log'}: {words}"
    )
    assert launcher.last_words == f". sim-0 ended with exit code {code}; its last words: {words}"


async def test_a_simulator_that_fails_at_its_start_twice_in_the_same_words_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    launcher = launcher_of(tmp_path, "import no_such_module")
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().count("ModuleNotFoundError") == 2
    assert "would do so again: it is not restarted" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
async def test_a_command_that_the_shell_cannot_find_is_tried_once(tmp_path: Path) -> None:
    simulator = Simulator("sim-0", ("sh", "-c", "entrain-evn gymnasium"), tmp_path / "sim-0.log")
    launcher = Launcher([simulator], environment={}, restart_pause_s=0.0)
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "sim-0.log").read_text().count("entrain-evn") == 1


async def test_a_crash_with_the_exit_code_of_a_wrong_command_line_is_no_such_thing_after_a_minute(
    tmp_path: Path,
) -> None:
    now_s = 0.0

    def a_minute_later() -> float:
        nonlocal now_s
        now_s += 60.0
        return now_s

    lives = tmp_path / "lives"
    code = f"open({str(lives)!r}, 'a').write('x'); import sys; sys.exit({USAGE})"
    launcher = Launcher(
        [Simulator("sim-0", python(code), tmp_path / "sim-0.log")],
        environment={},
        restart_pause_s=0.0,
        clock=a_minute_later,
    )
    await launcher.start()
    async with asyncio.timeout(30):
        while not lives.exists() or len(lives.read_text()) < 2:
            await asyncio.sleep(0.01)
    await launcher.stop()


async def test_a_simulator_that_crashes_once_in_a_while_is_never_left_alone(
    tmp_path: Path,
) -> None:
    now_s = 0.0

    def an_hour_later() -> float:
        nonlocal now_s
        now_s += 3600.0
        return now_s

    lives = tmp_path / "lives"
    code = f"open({str(lives)!r}, 'a').write('x'); import sys; sys.exit(1)"
    launcher = Launcher(
        [Simulator("sim-0", python(code), tmp_path / "sim-0.log")],
        environment={},
        restart_pause_s=0.0,
        clock=an_hour_later,
    )
    await launcher.start()
    async with asyncio.timeout(30):
        while not lives.exists() or len(lives.read_text()) < MAX_RESTARTS + 3:
            await asyncio.sleep(0.01)
    assert not launcher.is_exhausted
    await launcher.stop()


async def test_the_process_id_of_a_simulator_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, "pass")
    await launcher.start()
    await until_exhausted(launcher)
    assert launcher._processes == {}
    launcher.kill()
    await launcher.stop()


@pytest.mark.skipif(os.name != "posix", reason="groups of processes")
async def test_a_game_whose_script_ended_well_ends_with_the_trainer(tmp_path: Path) -> None:
    command = ("sh", "-c", "sleep 60 & echo $! > " + str(tmp_path / "pid"))
    launcher = Launcher([Simulator("sim-0", command, tmp_path / "log")], environment={})
    await launcher.start()
    await until_exhausted(launcher)
    assert is_running(game_pid(tmp_path / "pid"))
    await launcher.stop()
    async with asyncio.timeout(20):
        while is_running(game_pid(tmp_path / "pid")):
            await asyncio.sleep(0.01)


async def test_stopping_ends_simulators_that_still_run(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, "print('up', flush=True); import time; time.sleep(60)")
    await launcher.start()
    assert not launcher.is_exhausted
    async with asyncio.timeout(10):
        await launcher.stop()


async def test_simulators_may_end_by_themselves_within_the_grace_time(tmp_path: Path) -> None:
    code = (
        "import time; print('up', flush=True); time.sleep(0.2); print('file is whole', flush=True)"
    )
    launcher = launcher_of(tmp_path, code)
    await launcher.start()
    async with asyncio.timeout(20):
        while "up" not in (tmp_path / "sim-0.log").read_text():
            await asyncio.sleep(0.01)
        await launcher.stop(grace_s=20.0)
    assert "file is whole" in (tmp_path / "sim-0.log").read_text()


async def test_the_grace_time_ends_for_simulators_that_stay(tmp_path: Path) -> None:
    launcher = launcher_of(tmp_path, "import time; time.sleep(60)")
    await launcher.start()
    async with asyncio.timeout(20):
        await launcher.stop(grace_s=0.05)


@pytest.mark.skipif(os.name != "posix", reason="signals can be ignored on POSIX only")
async def test_a_simulator_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(60)"
    )
    launcher = launcher_of(tmp_path, code)
    await launcher.start()
    async with asyncio.timeout(20):
        while not (tmp_path / "sim-0.log").read_text():
            await asyncio.sleep(0.01)
        await launcher.stop(patience_s=0.1)


GAME_BEHIND_A_SCRIPT = "sh -c 'echo $$ > {pid}; exec sleep 60' & wait"


def game_pid(file: Path) -> int:
    """Of the game that a script has started, once it is there."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else 0


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("by_force", [False, True], ids=["asked", "forced"])
async def test_a_game_that_a_script_started_ends_with_the_script(
    tmp_path: Path, by_force: bool
) -> None:
    file = tmp_path / "pid"
    command = ("sh", "-c", GAME_BEHIND_A_SCRIPT.format(pid=file))
    launcher = Launcher([Simulator("sim-0", command, tmp_path / "log")], environment={})
    await launcher.start()
    async with asyncio.timeout(20):
        while not game_pid(file):
            await asyncio.sleep(0.01)
    if by_force:
        launcher.kill()
    else:
        await launcher.stop()
    async with asyncio.timeout(20):
        while is_running(game_pid(file)):
            await asyncio.sleep(0.01)
    await launcher.stop()


def test_without_simulators_a_launcher_is_never_exhausted() -> None:
    assert not Launcher([], environment={}).is_exhausted


def test_the_last_line_with_words_is_the_last_word(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nlast\n\n")
    assert last_line(log) == "last"
    log.write_text("x" * TAIL_BYTES + "\nthe end of a long log\n")
    assert last_line(log) == "the end of a long log"
    log.write_text("")
    assert last_line(log) == ""
    assert last_line(tmp_path / "absent") == "(not readable)"


async def test_a_simulator_without_last_words_is_told_as_such(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    launch = LaunchConfig(command=(sys.executable, "-c", "raise SystemExit(2)"), count=1)
    launcher = Launcher(plan([launch], address="", logs=tmp_path), environment={})
    await launcher.start()
    async with asyncio.timeout(30):
        while not launcher.is_exhausted:
            await asyncio.sleep(0.01)
    await launcher.stop()
    assert launcher.last_words == ". simulator-0 ended with exit code 2; it wrote nothing"
    assert f"it wrote nothing in {tmp_path / 'simulator-0.log'}" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="uses a POSIX shell")
async def test_a_game_that_was_closed_is_started_again_within_its_quota(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = tmp_path / "Player-0.log"
    game = Simulator(
        "game-0",
        ("sh", "-c", f"echo life $RANK >> {tmp_path / 'lives'}; echo closed by hand > {own}"),
        tmp_path / "game-0.log",
        own_log=own,
        restarts=lambda: QuotaRestarts(most=2, most_in_period=-1, period_s=60.0, pause_s=0.0),
        variables={"RANK": "7"},
    )
    launcher = Launcher([game], environment={})
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    assert (tmp_path / "lives").read_text() == "life 7\n" * 3
    assert launcher.last_words == ". game-0 ended with exit code 0; its last words: closed by hand"
    assert f"restarts: 2; -1: no limit); its last words in {own}: closed by hand" in caplog.text
    assert (tmp_path / "Player-0-prev.log").read_text() == "closed by hand\n"
    assert launcher.logs == [own]


async def test_a_game_that_ends_because_the_run_is_over_is_not_started_again(
    tmp_path: Path,
) -> None:
    game = Simulator(
        "game-0",
        python(f"open(r'{tmp_path / 'lives'}', 'a').write('life '); input()"),
        tmp_path / "game-0.log",
        restarts=lambda: QuotaRestarts(most=-1, most_in_period=-1, period_s=60.0, pause_s=0.0),
    )
    launcher = Launcher([game], environment={})
    await launcher.start()
    await launcher.start_no_more()
    assert launcher.is_exhausted
    async with asyncio.timeout(30):
        while launcher.is_running("game-0"):
            await asyncio.sleep(0.01)
    await launcher.stop()
    assert (tmp_path / "lives").read_text() == "life "


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
async def test_a_game_whose_script_ended_well_is_not_started_twice(tmp_path: Path) -> None:
    command = ("sh", "-c", f"sleep 60 & echo $! > {tmp_path / 'pid'}")
    game = Simulator(
        "game-0",
        command,
        tmp_path / "log",
        restarts=lambda: QuotaRestarts(most=-1, most_in_period=-1, period_s=60.0, pause_s=0.0),
    )
    launcher = Launcher([game], environment={})
    await launcher.start()
    async with asyncio.timeout(20):
        while not game_pid(tmp_path / "pid") or launcher.is_running("game-0"):
            await asyncio.sleep(0.01)
    first = game_pid(tmp_path / "pid")
    await asyncio.sleep(0.1)
    assert game_pid(tmp_path / "pid") == first
    assert is_running(first)
    await launcher.stop()
    assert not is_running(first)


@pytest.mark.skipif(os.name != "posix", reason="ended by a signal")
async def test_one_simulator_is_killed_for_a_reason_that_the_log_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lives = tmp_path / "lives"
    code = f"open({str(lives)!r}, 'a').write('x'); import time; time.sleep(60)"
    launcher = launcher_of(tmp_path, code)
    await launcher.start()
    async with asyncio.timeout(30):
        while not lives.exists() or not lives.read_text():
            await asyncio.sleep(0.01)
        assert launcher.is_running("sim-0")
        launcher.end("sim-0", "it was silent for 60 s")
        while lives.read_text() != "xx":
            await asyncio.sleep(0.01)
    await launcher.stop()
    assert "sim-0 was killed: it was silent for 60 s; it wrote nothing in" in caplog.text
    assert not launcher.is_running("sim-0")


async def test_a_program_for_another_processor_is_told_as_that(tmp_path: Path) -> None:
    program = tmp_path / "game"
    program.write_bytes(b"\x00not a program")
    program.chmod(0o755)
    launcher = Launcher([Simulator("sim-0", (str(program),), tmp_path / "log")], environment={})
    with pytest.raises(ConfigError, match="built for another system or processor"):
        await launcher.start()


async def test_a_simulator_that_was_killed_on_windows_is_told_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There a killed process ends with exit code 1.
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(1)); "
    launcher = launcher_of(tmp_path, f"{code} print('up', flush=True); time.sleep(60)")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(asyncio.subprocess.Process, "kill", asyncio.subprocess.Process.terminate)
    await launcher.start()
    async with asyncio.timeout(30):
        while "up" not in (tmp_path / "sim-0.log").read_text():
            await asyncio.sleep(0.01)
        launcher.end("sim-0", "it was silent for 60 s")
        while "sim-0 was killed: it was silent for 60 s" not in caplog.text:
            await asyncio.sleep(0.01)
    await launcher.stop()


@pytest.mark.parametrize(
    ("code", "words"), [(3, "exit code 3"), (0xC0000005, "exit code 0xC0000005")]
)
def test_codes_of_crashes_on_windows_are_told_in_the_form_they_are_known_by(
    code: int, words: str, tmp_path: Path
) -> None:
    assert launcher_of(tmp_path, "")._ending_of("sim-0", code) == f"sim-0 ended with {words}"


async def test_what_is_to_be_read_is_written_at_each_start(tmp_path: Path) -> None:
    code = "import sys; print(len(sys.stdin.buffer.read())); sys.exit(1)"
    simulator = Simulator("sim-0", python(code), tmp_path / "sim-0.log", stdin=b"x" * 300_000)
    launcher = Launcher([simulator], environment={}, restart_pause_s=0.0)
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
    read = (tmp_path / "sim-0.log").read_text().split()
    assert read == ["300000", "300000"]  # then it is left alone, for it would fail again


async def test_a_simulator_that_ends_before_it_has_read_is_no_error(tmp_path: Path) -> None:
    simulator = Simulator("sim-0", python("pass"), tmp_path / "log", stdin=b"x" * 300_000)
    launcher = Launcher([simulator], environment={}, restart_pause_s=0.0)
    await launcher.start()
    await until_exhausted(launcher)
    await launcher.stop()
