"""Who only looks at a run's lock learns whether a trainer has it, and disturbs none."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from entrain.run.lock import SILENCE_S, RunLock
from entrain.run.lock_owner import Owner
from entrain.run.lock_probe import Hold, look_at


def test_a_lock_is_free_before_and_after_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    assert look_at(path).hold is Hold.FREE
    assert not path.exists()
    with RunLock(path):
        look = look_at(path)
        assert look.hold is Hold.HELD
        assert look.owner.startswith(f"process {os.getpid()} on ")
    assert look_at(path).hold is Hold.FREE


def test_looking_does_not_keep_a_trainer_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_text("")
    look_at(path)
    RunLock(path).release()


@pytest.mark.parametrize(("silent_s", "hold"), [(5.0, Hold.HELD), (SILENCE_S, Hold.LEFT)])
def test_of_a_trainer_on_another_machine_its_heartbeat_decides(
    tmp_path: Path, silent_s: float, hold: Hold
) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(replace(Owner.this_process(), machine="other", host="gpu-3").written())
    look = look_at(path, clock=lambda: path.stat().st_mtime + silent_s)
    assert look.hold is hold
    assert look.owner.endswith(" on gpu-3")


def test_a_trainer_whose_process_has_ended_left_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(replace(Owner.this_process(), process="another boot").written())
    gone = Owner.read(path.read_bytes())
    if gone is None or not gone.is_gone:
        pytest.skip("this system does not say when a process began")
    assert look_at(path).hold is Hold.LEFT


def test_a_lock_held_by_something_that_says_nothing_of_itself_goes_by_its_age(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run.lock"
    path.write_text("process 7 on somewhere\n")
    now_s = path.stat().st_mtime
    assert look_at(path, clock=lambda: now_s + 1.0).hold is Hold.HELD
    assert look_at(path, clock=lambda: now_s + 1000.0).hold is Hold.LEFT


def test_a_trainer_of_this_machine_that_has_no_lock_of_the_system_left_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    owner = Owner.this_process()
    path.write_bytes(replace(owner, is_locked=True).written())
    assert look_at(path).hold is Hold.LEFT
    path.write_bytes(replace(owner, is_locked=False).written())
    assert look_at(path).hold is Hold.HELD


@pytest.mark.parametrize(
    ("error", "hold"), [(PermissionError(13, "in use"), Hold.HELD), (None, Hold.LEFT)]
)
def test_on_windows_a_lock_is_held_if_its_file_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError | None, hold: Hold
) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(replace(Owner.this_process(), is_locked=True).written())

    def rename(_: Path, __: Path) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(Path, "rename", rename)
    assert look_at(path).hold is hold
