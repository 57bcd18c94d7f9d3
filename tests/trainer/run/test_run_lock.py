"""One trainer per run folder, and a dead one never keeps the next out."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from entrain.errors import ConfigError
from entrain.run import lock as lock_module
from entrain.run.lock import RunLock

HOLD_AND_WAIT = """
import sys
from pathlib import Path
from entrain.run.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "walk" / "run.lock"


@pytest.fixture(autouse=True)
def folder(path: Path) -> Path:
    path.parent.mkdir()
    return path.parent


def test_a_second_trainer_is_refused_and_told_who_has_it(path: Path, folder: Path) -> None:
    with RunLock(path), pytest.raises(ConfigError) as refusal:
        RunLock(path)
    message = str(refusal.value)
    assert str(folder) in message
    assert f"process {os.getpid()} on " in message
    assert "train under another name" in message


def test_after_a_release_the_next_may_have_it(path: Path) -> None:
    RunLock(path).release()
    with RunLock(path):
        pass
    with RunLock(path):
        pass


def test_releasing_twice_does_not_release_someone_elses(path: Path) -> None:
    first = RunLock(path)
    first.release()
    with RunLock(path):
        first.release()
        with pytest.raises(ConfigError):
            RunLock(path)


def test_an_error_inside_releases_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(path):
        raise ZeroDivisionError
    RunLock(path).release()


def test_what_a_dead_process_left_is_not_in_the_way(path: Path) -> None:
    path.write_text("process 1 on elsewhere\n", encoding="utf-8")
    with RunLock(path):
        assert f"process {os.getpid()} on " in path.read_text(encoding="utf-8")


def test_a_released_lock_names_no_owner(path: Path) -> None:
    RunLock(path).release()
    assert path.read_text(encoding="utf-8") == ""


def test_a_killed_process_holds_it_until_it_is_dead_and_no_longer(path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_AND_WAIT, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid} on "):
            RunLock(path)
        holder.kill()
    RunLock(path).release()


def test_a_simulator_that_we_launch_does_not_inherit_it(path: Path) -> None:
    lock = RunLock(path)
    child = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        lock.release()
        RunLock(path).release()
        assert child.poll() is None
        child.kill()


def test_a_file_system_without_locks_is_warned_of_and_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module, "_try_lock", unsupported)
    with caplog.at_level(logging.WARNING), RunLock(path):
        assert "without locks" in caplog.text


def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing.*permissions, or choose another"):
        RunLock(tmp_path / "missing" / "run.lock")


def test_its_text_says_whether_it_is_held(path: Path) -> None:
    lock = RunLock(path)
    assert repr(lock).endswith("held>")
    lock.release()
    assert repr(lock).endswith("released>")
