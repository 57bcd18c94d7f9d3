"""Who is written in a run's lock, and whether that process lives, on systems that say little."""

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from entrain.run import lock_owner
from entrain.run.lock_owner import Owner, process_began, process_runs


def test_a_time_that_is_none_is_no_number() -> None:
    owner = Owner.this_process()
    assert math.isnan(replace(owner, started_at="yesterday").started_s)
    assert replace(owner, started_at="1970-01-02T00:00:01Z").started_s == 86401.0


@pytest.fixture
def without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no folder /proc."""

    def refuse(*_: object, **__: object) -> Any:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "is_dir", lambda _: False)
    monkeypatch.setattr(os, "readlink", refuse)


@pytest.mark.usefixtures("without_proc")
def test_without_proc_the_host_is_the_machine_and_has_one_space_of_ids() -> None:
    owner = Owner.this_process()
    assert owner.machine == owner.host
    assert owner.pids == "one for the whole machine"
    assert owner.process == ""
    assert owner.is_on_this_machine
    assert not owner.is_gone
    assert not replace(owner, machine="other").is_on_this_machine


def test_where_ids_mean_nothing_known_nobody_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    owner = Owner.this_process()
    assert owner.pids == ""
    monkeypatch.setattr(lock_owner, "process_runs", lambda *_: False)
    assert not owner.is_gone


def test_a_container_that_hides_its_space_of_ids_knows_nobody_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: str) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "readlink", refuse)
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    assert Owner.this_process().pids == ""


def test_a_process_that_has_ended_and_one_that_is_not_collected_began_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rest = " ".join(str(number) for number in range(1, 20))
    for state, began in (("S", "19"), ("Z", ""), ("X", "")):
        # Its name may hold anything, brackets too.
        monkeypatch.setattr(Path, "read_text", lambda _, s=state: f"7 (a) Z b) {s} {rest}")
        assert process_began(7) == began
    assert process_runs(7, "19") is False
    monkeypatch.setattr(Path, "read_text", lambda _: "7 (cut) S 1")
    assert process_began(7) == ""


def _kill_that(error: BaseException | None) -> Callable[[int, int], None]:
    def kill(_: int, signal: int) -> None:
        assert signal == 0
        if error is not None:
            raise error

    return kill


@pytest.mark.parametrize(
    ("error", "lives"),
    [
        (None, True),
        (ProcessLookupError(3, "No such process"), False),
        (OverflowError("too large"), False),
        (PermissionError(1, "of another user"), True),
    ],
)
def test_where_no_beginning_is_known_the_id_decides(
    monkeypatch: pytest.MonkeyPatch, error: BaseException | None, lives: bool
) -> None:
    monkeypatch.setattr(os, "kill", _kill_that(error))
    assert process_runs(7, "") is lives
