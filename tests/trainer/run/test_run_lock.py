"""One trainer per run folder, and a dead one never keeps the next out."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entrain.errors import ConfigError, DiskError, InUseError
from entrain.run import lock as lock_module
from entrain.run.lock import RunLock
from entrain.run.lock_owner import LENGTH, Owner

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
    with RunLock(path), pytest.raises(InUseError) as refusal:
        RunLock(path)
    message = str(refusal.value)
    assert str(folder) in message
    assert f"process {os.getpid()} on " in message
    assert "train under another name, or try again: 60 s after its last word" in message
    assert refusal.value.exit_code == 75


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
        with pytest.raises(InUseError):
            RunLock(path)


def test_an_error_inside_releases_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunLock(path):
        raise ZeroDivisionError
    RunLock(path).release()


def test_what_a_dead_process_left_is_not_in_the_way(path: Path) -> None:
    path.write_text("process 1 on elsewhere\n", encoding="utf-8")
    with RunLock(path):
        assert owner(path).pid == os.getpid()


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
        with pytest.raises(InUseError, match=f"process {holder.pid} on "):
            RunLock(path)
        holder.kill()
    RunLock(path).release()


def test_a_simulator_that_we_launch_does_not_inherit_it(path: Path) -> None:
    held = RunLock(path)
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
        held.release()
        RunLock(path).release()
        assert child.poll() is None
        child.kill()


def owner(path: Path) -> Owner:
    """Who is written in the lock's file."""
    found = Owner.read(path.read_bytes())
    assert found is not None
    return found


def leave(path: Path, silent_s: float = 0.0, **changes: Any) -> None:
    """Write the lock's file as a trainer would that last wrote so long ago."""
    path.write_bytes(replace(Owner.this_process(), **changes).written())
    then_s = path.stat().st_mtime - silent_s
    os.utime(path, (then_s, then_s))


ELSEWHERE: dict[str, Any] = {"host": "elsewhere", "machine": "another", "pid": 7}
FROZEN: dict[str, Any] = {"is_locked": False, "process": ""}
"""On this machine, under the process id of this test, which is alive."""


def lock(path: Path) -> RunLock:
    return RunLock(path, beat_s=3600.0, pause=lambda _seconds: None)


def without_system_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module, "_try_lock", unsupported)


def test_it_says_who_has_it_since_when_and_when_it_last_wrote(path: Path) -> None:
    with lock(path) as held:
        written = json.loads(path.read_text())
        assert written["host"] == socket.gethostname()
        assert written["pid"] == os.getpid()
        assert written["started_at"].endswith("Z")
        os.utime(path, (1.0, 1.0))
        held.beat()
        assert path.stat().st_mtime > 1.0
        assert path.stat().st_size == LENGTH
        assert owner(path).heartbeat >= written["heartbeat"]


@pytest.mark.parametrize("system_locks", [True, False])
@pytest.mark.parametrize("who", [ELSEWHERE, FROZEN])
def test_one_that_wrote_within_a_minute_has_it_wherever_it_is(
    path: Path, monkeypatch: pytest.MonkeyPatch, who: dict[str, Any], system_locks: bool
) -> None:
    if not system_locks:
        without_system_locks(monkeypatch)
    leave(path, silent_s=55.0, **who)
    before = path.read_bytes()
    with pytest.raises(InUseError, match=r"wrote 5[56] s ago"):
        lock(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("system_locks", [True, False])
@pytest.mark.parametrize("who", [ELSEWHERE, FROZEN])
def test_one_that_was_silent_for_a_minute_has_lost_it_and_that_is_said(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    who: dict[str, Any],
    system_locks: bool,
) -> None:
    if not system_locks:
        without_system_locks(monkeypatch)
    leave(path, silent_s=61.0, **who)
    with lock(path):
        assert owner(path).is_locked is system_locks
    assert "has been silent for 61 s: its lock on" in caplog.text


DAY_S = 86_400.0


@pytest.mark.parametrize("silent_s", [DAY_S, -DAY_S])
def test_when_the_clock_was_set_a_heartbeat_says_who_lives(path: Path, silent_s: float) -> None:
    leave(path, silent_s=silent_s, **ELSEWHERE)
    paused_s = []

    def beat(seconds: float) -> None:
        paused_s.append(seconds)
        leave(path, **ELSEWHERE)

    with pytest.raises(InUseError, match="is in use by process 7 on elsewhere"):
        RunLock(path, pause=beat)
    # A heartbeat is due every ten seconds; without one, 60 s of silence are enough.
    assert paused_s == [15.0 if silent_s > 0 else 60.0]


def test_one_that_wrote_before_the_clock_was_set_back_and_is_silent_since_has_lost_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leave(path, silent_s=-DAY_S, **ELSEWHERE)
    lock(path).release()
    assert "has been silent for 60 s: its lock on" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says when it began")
@pytest.mark.parametrize("change", [{"pid": 2**22 + 5}, {"process": "1"}])
def test_one_on_this_machine_whose_process_has_ended_has_lost_it_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    without_system_locks(monkeypatch)
    leave(path, **change)
    lock(path).release()
    # In another container, the same process id says nothing.
    leave(path, **{**change, "pids": "pid:[1]"})
    with pytest.raises(InUseError):
        lock(path)


def test_one_that_was_silent_and_comes_back_sees_that_it_has_lost_it_and_writes_nothing(
    path: Path,
) -> None:
    with lock(path) as first:
        first.check()
        leave(path, **ELSEWHERE)
        before = path.read_bytes()
        first.check(reads=False)
        for _ in range(2):
            with pytest.raises(InUseError, match="was taken over by process 7 on elsewhere"):
                first.check()
        with pytest.raises(InUseError):
            first.check(reads=False)
    assert path.read_bytes() == before


def test_of_two_that_write_at_once_without_the_systems_lock_only_the_last_has_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_system_locks(monkeypatch)
    with pytest.raises(InUseError, match="at the same moment"):
        RunLock(path, pause=lambda _seconds: leave(path, **ELSEWHERE))


def test_the_heartbeat_goes_on_by_itself(path: Path) -> None:
    held = RunLock(path, beat_s=0.001)
    os.utime(path, (1.0, 1.0))
    for _ in range(10_000):
        if path.stat().st_mtime > 1.0:
            break
        threading.Event().wait(0.001)
    assert path.stat().st_mtime > 1.0
    held.release()


def test_a_file_that_was_deleted_is_made_anew_unless_another_has_it_by_then(path: Path) -> None:
    held = lock(path)
    assert repr(held.is_in_place) == "True"
    path.unlink()
    held.beat()
    held.check()
    assert repr(held.is_in_place) == "False"
    held.restore()
    assert path.exists()
    with pytest.raises(InUseError):
        lock(path)
    path.unlink()
    leave(path, **ELSEWHERE)
    with pytest.raises(InUseError):
        held.restore()
    held.release()


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=80))
@example(b"[" * 100_000)
@example(b'{"host": 1}')
@example(b'{"pid": NaN}')
def test_anything_in_its_file_is_no_owner_and_in_nobodys_way(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    lock(path).release()


def test_a_folder_that_cannot_be_written_is_named_with_a_remedy(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DiskError, match=r"missing.*its folder is gone"):
        lock(tmp_path / "missing" / "run.lock")

    def refuse(*_arguments: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match=r"permissions.*, or choose another runs_directory"):
        lock(path)


def test_its_text_says_whether_it_is_held(path: Path) -> None:
    held = RunLock(path)
    assert repr(held).endswith("held>")
    held.release()
    assert repr(held).endswith("released>")
