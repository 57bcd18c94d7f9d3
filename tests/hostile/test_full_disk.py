"""A run whose disk is full when it is told to stop: one line names the disk, exit code 7."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from support.command import BALL, ENTRAIN, entrain, until, write_run

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.platform != "linux", reason="limits of another process"),
]

WITHIN_4_MIB = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"'
"""Runs a command where the folder $0 is a disk of its own."""
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Whether this user may have a file system of his own."""
    if shutil.which("unshare") is None:
        return False
    mounts = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(mounts, check=False, capture_output=True).returncode == 0


@contextmanager
def training(folder: Path, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """The program with a launched simulator, whose words go to no file, behind a command."""
    write_run(folder, launch=BALL, total_steps=10_000_000)
    process = subprocess.Popen(
        [*before, sys.executable, "-c", ENTRAIN, "train", "ball.yaml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10.0)


def has_saved(run: Path) -> bool:
    return bool(CheckpointStore(RunFolder(run).checkpoints, keep=3).paths)


def last_line_of(process: subprocess.Popen[str]) -> str:
    """What it says last, after SIGTERM; it must end with the code of a disk, and no traceback."""
    process.send_signal(signal.SIGTERM)
    words, _ = process.communicate(timeout=60.0)
    assert process.returncode == 7, words
    assert "Traceback" not in words
    assert "left (the trainer closed the session), with 2 agents" in words
    *before, last = words.splitlines()
    assert last.startswith("entrain: cannot write the checkpoint ")
    assert not any(line.startswith("entrain: ") for line in before)
    return last


@pytest.mark.skipif(not can_mount(), reason="nobody may mount a file system here")
def test_a_disk_that_is_full_is_named_with_its_size(tmp_path: Path) -> None:
    disk = tmp_path / "runs"
    disk.mkdir()
    with training(tmp_path, (*IN_A_NAMESPACE, "sh", "-c", WITHIN_4_MIB, str(disk))) as process:
        # As the program sees it: nobody else does.
        seen = Path(f"/proc/{process.pid}/root{disk}")
        until(lambda: has_saved(seen / "run"))
        with pytest.raises(OSError, match="No space left"), (seen / "filler").open("wb") as filler:
            for _ in range(4 * 2**20):
                filler.write(bytes(4096))
        line = last_line_of(process)
    assert f"{disk}/run/checkpoints/" in line
    assert f"No space left on device; make room on the disk at {disk} (0 of 4 MiB are free)" in line


def test_files_that_may_not_grow_are_named_and_the_run_goes_on_once_they_may(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path / "runs" / "run")
    with training(tmp_path) as process:
        until(lambda: has_saved(run.path))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))
        line = last_line_of(process)
    assert line.startswith(f"entrain: cannot write the checkpoint {run.checkpoints}/")
    assert "File too large; a file may not become so large: raise `ulimit -f`" in line
    saved_at = CheckpointStore(run.checkpoints, keep=3).load_newest().step
    more = ("resume", "runs/run", "--set", f"policies.ball.total_steps={saved_at + 200}")
    with entrain(*more, folder=tmp_path) as again:
        assert again.wait(60.0) == 0
    assert RunSummary.load(run.summary).env_steps >= saved_at + 200
