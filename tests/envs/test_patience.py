"""Back-off: at once, then ever more slowly, never beyond the total."""

import pytest

from entrain_envs.errors import OptionError
from entrain_envs.patience import (
    FIRST_DELAY_S,
    HELD_S,
    LONGEST_DELAY_S,
    RECONNECT_VARIABLE,
    Patience,
    usual_reconnect_s,
)


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.slept_s.append(duration_s)
        self.now_s += duration_s

    def patience(self, total_s: float) -> Patience:
        return Patience(total_s, clock=self, sleep=self.sleep)


def test_the_first_turn_comes_without_a_wait() -> None:
    clock = Clock()
    assert clock.patience(60.0).wait()
    assert clock.slept_s == []


def test_without_any_time_there_is_one_turn() -> None:
    patience = Clock().patience(0.0)
    assert patience.wait()
    assert not patience.wait()


def test_waits_grow_and_then_stay() -> None:
    clock = Clock()
    patience = clock.patience(1000.0)
    for _ in range(20):
        assert patience.wait()
    first, *_, last = clock.slept_s
    # Jitter takes or adds up to half.
    assert 0.5 * FIRST_DELAY_S <= first <= 1.5 * FIRST_DELAY_S
    assert 0.5 * LONGEST_DELAY_S <= last <= 1.5 * LONGEST_DELAY_S
    assert max(clock.slept_s) <= 1.5 * LONGEST_DELAY_S


def test_all_waits_together_are_the_total_time() -> None:
    clock = Clock()
    patience = clock.patience(7.0)
    while patience.wait():
        pass
    assert sum(clock.slept_s) == pytest.approx(7.0)


def test_two_simulators_do_not_wait_alike() -> None:
    clocks = Clock(), Clock()
    for clock in clocks:
        patience = clock.patience(5.0)
        while patience.wait():
            pass
    assert clocks[0].slept_s != clocks[1].slept_s


def test_an_attempt_may_take_no_longer_than_what_is_left() -> None:
    clock = Clock()
    patience = clock.patience(10.0)
    assert patience.limit(30.0) == 10.0
    assert patience.limit(4.0) == 4.0
    clock.now_s += 7.0
    assert patience.limit(30.0) == 3.0


def test_an_attempt_has_at_least_a_second() -> None:
    clock = Clock()
    patience = clock.patience(10.0)
    clock.now_s += 11.0
    assert patience.limit(30.0) == 1.0


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("0", 0.0), ("2.5", 2.5)])
def test_the_launching_trainer_decides_how_long_it_is_awaited(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv(RECONNECT_VARIABLE, text)
    assert usual_reconnect_s() == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_time_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(RECONNECT_VARIABLE, text)
    with pytest.raises(OptionError, match=f"is '{text}'; it must be a number of seconds"):
        usual_reconnect_s()


@pytest.mark.parametrize(("held_s", "is_over"), [(HELD_S, True), (HELD_S + 0.1, False)])
def test_only_after_a_stream_that_held_is_all_of_the_time_there_again(
    held_s: float, is_over: bool
) -> None:
    clock = Clock()
    patience = clock.patience(5.0)
    while patience.wait():
        pass
    patience.note_stream()
    clock.now_s += held_s
    slept_s = len(clock.slept_s)
    assert patience.wait() is not is_over
    assert len(clock.slept_s) == slept_s, "the first try never waits"
    assert patience.wait() is not is_over


def test_a_stream_that_broke_soon_is_none_that_held_however_long_it_is_dialled_then() -> None:
    clock = Clock()
    patience = clock.patience(60.0)
    assert patience.wait()
    patience.note_stream()
    clock.now_s += 3.0
    while patience.wait():
        pass
    assert clock.now_s == pytest.approx(100.0 + 60.0)
