"""The same command again, after whatever has happened: `entrain train FILE --resume-or-start`."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from support.command import BALL, entrain, says, until, write_run

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes"),
]

COMMAND = ("train", "ball.yaml", "--resume-or-start")


def ended(folder: Path, *arguments: str) -> tuple[int, str]:
    """The exit code of the command, and everything it said."""
    with entrain(*arguments, folder=folder) as process:
        code = process.wait(200.0)
    return code, (folder / "words.txt").read_text()


def checkpoints(folder: RunFolder) -> tuple[Path, ...]:
    return CheckpointStore(folder.checkpoints, keep=3).paths


def kill_after_an_update(folder: Path) -> RunFolder:
    """A run that was killed with its simulators, after more than its newest checkpoint holds."""
    run = RunFolder(folder / "runs" / "run")
    with entrain(*COMMAND, folder=folder) as process:
        until(lambda: bool(checkpoints(run)))
        seen = run.log.read_text().count("update ")
        until(lambda: run.log.read_text().count("update ") >= seen + 2)
        process.kill()
        process.wait(10.0)
    return run


def test_killed_again_and_again_the_same_command_goes_on_and_every_step_is_counted_once(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, launch=BALL, total_steps=10_000_000)
    steps = []
    for _ in range(2):
        folder = kill_after_an_update(tmp_path)
        steps.append(CheckpointStore(folder.checkpoints, keep=3).load_newest().step)
    assert steps[0] <= steps[1]
    again = ("resume", "runs/run", "--set", f"policies.ball.total_steps={steps[1] + 400}")
    code, words = ended(tmp_path, *again)
    assert code == 0
    assert "lost since 0" in words
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]
    summary = RunSummary.load(folder.summary)
    assert summary.outcome == "completed"
    assert summary.lost.resumes == 2
    assert summary.lost.updates == summary.lost.rows >= 2
    assert summary.lost.env_steps >= 400
    ledger = summary.policies["ball"].ledger
    assert ledger["closed"] == summary.env_steps
    assert 0 <= ledger["opened"] - ledger["closed"] - ledger["dropped"] <= 2
    rows = [line.split(",")[1] for line in folder.metrics.read_text().splitlines()[1:]]
    assert rows == sorted(set(rows), key=int)
    assert len(rows) == summary.policies["ball"].progress.updates


def test_a_finished_run_says_so_and_starts_nothing_unless_it_is_to_train_on(tmp_path: Path) -> None:
    write_run(tmp_path, launch=BALL, total_steps=400)
    folder = RunFolder(tmp_path / "runs" / "run")
    assert ended(tmp_path, *COMMAND)[0] == 0
    before = folder.log.read_text().count("started ")
    for again in (COMMAND, ("resume", "runs/run")):
        code, words = ended(tmp_path, *again)
        assert code == 0
        assert "runs/run is finished: 40" in words
        assert folder.log.read_text().count("started ") == before
    # Killed after its last checkpoint: what is missing is written, and nothing is started.
    folder.summary.unlink()
    assert ended(tmp_path, *COMMAND)[0] == 0
    assert RunSummary.load(folder.summary).outcome == "completed"
    assert ended(tmp_path, "resume", "runs/run", "--set", "policies.ball.total_steps=800")[0] == 0
    assert 800 <= RunSummary.load(folder.summary).env_steps < 810


def test_the_folder_counts_and_a_file_of_another_run_is_refused_with_what_differs(
    tmp_path: Path,
) -> None:
    path = write_run(tmp_path, launch=BALL, total_steps=200)
    assert ended(tmp_path, *COMMAND)[0] == 0
    text = path.read_text()
    path.write_text(text.replace("total_steps: 200", "total_steps: 300"))
    code, words = ended(tmp_path, *COMMAND)
    assert code == 0
    assert "policies.ball.total_steps is 300, there 200" in words
    assert "is finished: 20" in words
    path.write_text(text.replace("hidden_sizes: [8]", "hidden_sizes: [16]") + "seed: 9\n")
    code, words = ended(tmp_path, *COMMAND)
    assert code == 2
    (line,) = [line for line in words.splitlines() if line.startswith("entrain: ")]
    assert "policies.ball.network.hidden_sizes is [16], there [8]" in line
    assert "seed is 9, there 1" in line
    assert "entrain resume" in line


def test_while_a_trainer_lives_the_same_command_ends_with_75_and_changes_nothing(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, launch=BALL, total_steps=10_000_000)
    folder = RunFolder(tmp_path / "runs" / "run")
    with entrain(*COMMAND, folder=tmp_path) as process:
        until(lambda: bool(checkpoints(folder)))
        other = tmp_path / "other"
        other.mkdir()
        shutil.copy(tmp_path / "ball.yaml", other)
        code, words = ended(other, *COMMAND)
        assert code == 75
        assert f"is in use by process {process.pid} on " in words
        assert json.loads((folder.path / "run.lock").read_text())["pid"] == process.pid
        process.terminate()
        assert process.wait(120.0) == 0


def test_a_closed_terminal_saves_the_run(tmp_path: Path) -> None:
    write_run(tmp_path, launch=BALL, total_steps=10_000_000)
    folder = RunFolder(tmp_path / "runs" / "run")
    with entrain(*COMMAND, folder=tmp_path) as process:
        until(lambda: says(folder.log, "update 2:"))
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.wait(120.0) == 0
    assert "SIGHUP: finishing, saving and stopping" in folder.log.read_text()
    loaded = CheckpointStore(folder.checkpoints, keep=3).load_newest()
    assert loaded.step == RunSummary.load(folder.summary).env_steps >= 400


def test_a_folder_that_is_deleted_while_a_run_goes_on_is_said_and_written_again(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, launch=BALL, total_steps=10_000_000)
    folder = RunFolder(tmp_path / "runs" / "run")
    with entrain(*COMMAND, folder=tmp_path) as process:
        until(lambda: bool(checkpoints(folder)))
        folder.config.unlink()
        until(folder.config.is_file)
        subprocess.run(["rm", "-rf", str(tmp_path / "runs")], check=False)
        until(lambda: folder.config.is_file() and bool(checkpoints(folder)))
        until(lambda: folder.metrics.is_file() and folder.log.is_file())
        process.terminate()
        assert process.wait(120.0) == 0
    words = (tmp_path / "words.txt").read_text()
    assert f"{folder.config}: deleted or moved away" in words
    assert ": deleted or moved away while the run goes on; it is written again" in words
    stopped_at = CheckpointStore(folder.checkpoints, keep=3).load_newest().step
    more = ("resume", "runs/run", "--set", f"policies.ball.total_steps={stopped_at + 200}")
    assert ended(tmp_path, *more)[0] == 0
    assert RunSummary.load(folder.summary).env_steps >= stopped_at + 200


def test_a_trainer_that_stands_still_loses_its_run_after_a_minute_and_ends_when_it_wakes(
    tmp_path: Path,
) -> None:
    write_run(tmp_path, launch=BALL, total_steps=10_000_000)
    folder = RunFolder(tmp_path / "runs" / "run")
    other = tmp_path / "other"
    other.mkdir()
    with entrain(*COMMAND, folder=tmp_path) as frozen:
        until(lambda: bool(checkpoints(folder)), timeout_s=100.0)
        frozen.send_signal(signal.SIGSTOP)
        file = str(tmp_path / "ball.yaml")
        assert ended(other, "train", file, "--resume-or-start")[0] == 75
        until(lambda: time.time() - (folder.path / "run.lock").stat().st_mtime > 62, timeout_s=90.0)
        with entrain("train", file, "--resume-or-start", folder=other) as second:
            until(lambda: says(other / "words.txt", "going on from", "update "), timeout_s=100.0)
            words = (other / "words.txt").read_text()
            assert f"process {frozen.pid} on " in words
            assert "its lock on" in words
            before = {path: path.stat().st_mtime_ns for path in checkpoints(folder)}
            frozen.send_signal(signal.SIGCONT)
            assert frozen.wait(60.0) == 75
            assert says(tmp_path / "words.txt", f"was taken over by process {second.pid} on ")
            assert all(path in checkpoints(folder) for path in before)
            second.terminate()
            assert second.wait(60.0) == 0
    loaded = CheckpointStore(folder.checkpoints, keep=3).load_newest()
    assert loaded.step == RunSummary.load(folder.summary).env_steps
    assert loaded.skipped == ()
