"""Simulators are ended as each platform can: by a signal to all, or one process on Windows."""

import os
import signal
import sys
from typing import Any

import pytest

from entrain.app.process_groups import is_alive, may_be_killed, tell


class Process:
    """What is asked of a process, noted."""

    pid = 4321

    def __init__(self, returncode: int | None = None) -> None:
        self.returncode = returncode
        self.told: list[str] = []

    def kill(self) -> None:
        self.told.append("kill")

    def terminate(self) -> None:
        self.told.append("terminate")


class Groups:
    """`os.killpg`: what it is called with, and how it answers."""

    def __init__(self, error: type[OSError] | None = None) -> None:
        self.told: list[tuple[int, int]] = []
        self._error = error

    def __call__(self, group: int, number: int) -> None:
        self.told.append((group, number))
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_all_that_a_simulator_started_is_told_by_a_signal(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process: Any = Process()
    groups = Groups()
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "killpg", groups, raising=False)
    monkeypatch.setattr(signal, "SIGKILL", 9, raising=False)
    assert tell(process, kill=False) and tell(process, kill=True) and is_alive(process)
    assert groups.told == [(4321, signal.SIGTERM), (4321, 9), (4321, 0)]
    assert process.told == []


@pytest.mark.parametrize("error", [ProcessLookupError, PermissionError])
def test_a_group_of_which_nothing_runs_is_not_alive(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    # macOS says PermissionError of a group whose last process nobody has asked after.
    process: Any = Process()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(os, "killpg", Groups(error), raising=False)
    assert not tell(process, kill=False)
    assert not is_alive(process)


def test_on_windows_the_process_itself_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "killpg", raising=False)
    process: Any = Process()
    assert is_alive(process)
    assert tell(process, kill=False) and tell(process, kill=True)
    assert process.told == ["terminate", "kill"]
    gone: Any = Process(returncode=0)
    assert not is_alive(gone) and not tell(gone, kill=True)
    assert gone.told == []


@pytest.mark.parametrize(
    ("platform", "code", "expected"),
    [("linux", -9, True), ("linux", 1, False), ("win32", 1, True), ("win32", 3, False)],
)
def test_how_a_killed_process_ends(
    platform: str, code: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert may_be_killed(code) is expected
