"""A round begins when every rank is ready; who is slow or complete is told to cut."""

from collections.abc import Callable

import pytest

from entrain.app.rank_table import BadRoundError, Fields, RoundTable


class FakeTimer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Table:
    """A table of two ranks, what it sent, and its timers."""

    def __init__(self, *, max_wait_s: float | None = 5.0) -> None:
        self.sent: list[tuple[int, str, object]] = []
        self.timers: list[FakeTimer] = []
        self.table = RoundTable(2, self.note, max_wait_s=max_wait_s, call_later=self.call_later)

    def note(self, rank: int, kind: str, fields: Fields) -> None:
        self.sent.append((rank, kind, fields.get("round")))

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        assert delay_s == 5.0
        self.timers.append(FakeTimer(callback))
        return self.timers[-1]


def test_a_round_begins_on_all_once_all_are_ready() -> None:
    it = Table()
    it.table.ready(1, "walker", 1, {})
    assert it.sent == []
    it.table.ready(0, "walker", 1, {})
    assert it.sent == [(0, "go", 1), (1, "go", 1)]
    assert all(timer.is_cancelled for timer in it.timers)


def test_a_slow_rank_is_told_to_cut_after_the_longest_wait() -> None:
    it = Table()
    it.table.ready(1, "walker", 1, {})
    it.timers[0].callback()
    assert it.sent == [(0, "cut", 1)]
    it.table.ready(0, "walker", 1, {})
    assert it.sent[1:] == [(0, "go", 1), (1, "go", 1)]


def test_in_lockstep_nobody_is_told_to_cut_for_being_slow() -> None:
    it = Table(max_wait_s=None)
    it.table.ready(1, "walker", 1, {})
    assert it.timers == []
    assert it.sent == []


def test_a_complete_rank_takes_part_at_once_with_what_it_has() -> None:
    it = Table(max_wait_s=None)
    it.table.complete(0, "walker")
    assert it.sent == []
    it.table.ready(1, "walker", 3, {})
    assert it.sent == [(0, "cut", 3)]
    it.table.ready(0, "walker", 3, {})
    assert it.sent[1:] == [(0, "go", 3), (1, "go", 3)]


def test_a_rank_on_which_all_is_done_takes_part_in_policies_that_come_later() -> None:
    it = Table(max_wait_s=None)
    it.table.done(0)
    it.table.ready(1, "guest", 1, {})
    assert it.sent == [(0, "cut", 1)]


def test_what_fills_no_rollout_is_not_waited_for_without_end() -> None:
    it = Table()
    it.table.complete(0, "walker")
    it.timers[0].callback()
    assert it.sent == [(1, "finish", None)]


def test_no_round_begins_while_states_are_taken() -> None:
    it = Table()
    it.table.hold()
    it.table.ready(0, "walker", 1, {})
    it.table.ready(1, "walker", 1, {})
    assert it.sent == []
    it.table.release()
    assert it.sent == [(0, "go", 1), (1, "go", 1)]


def test_no_round_begins_after_the_stop() -> None:
    it = Table()
    it.table.ready(0, "walker", 1, {})
    it.table.stop()
    it.table.ready(1, "walker", 1, {})
    assert it.sent == []
    assert it.timers[0].is_cancelled


def test_a_timer_of_a_round_that_is_over_does_nothing() -> None:
    it = Table()
    it.table.ready(0, "walker", 1, {})
    it.table.ready(1, "walker", 1, {})
    it.table.ready(0, "walker", 2, {})
    it.timers[0].callback()
    assert (1, "cut", 2) not in it.sent


def test_ranks_in_different_rounds_are_a_fault() -> None:
    it = Table()
    it.table.ready(0, "walker", 1, {})
    with pytest.raises(BadRoundError, match="rank 1 is in round 2 of policy 'walker', others in 1"):
        it.table.ready(1, "walker", 2, {})
