"""Of many lines of one kind the first are logged, and then how many more there were."""

import logging
from collections.abc import Callable

import pytest

from entrain.serving.repeated_lines import RepeatedLines


class FakeTimers:
    """A clock that is set by hand, with at most one timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.due: tuple[float, Callable[[], None]] | None = None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> "FakeTimers":
        self.due = (self.now_s + delay_s, callback)
        return self

    def cancel(self) -> None:
        self.due = None


@pytest.fixture
def timers(caplog: pytest.LogCaptureFixture) -> FakeTimers:
    caplog.set_level(logging.INFO)
    return FakeTimers()


def make(timers: FakeTimers, *, most: int = 2) -> RepeatedLines:
    return RepeatedLines(most=most, clock=lambda: timers.now_s, call_later=timers.call_later)


def test_a_few_lines_are_logged_as_they_are(
    timers: FakeTimers, caplog: pytest.LogCaptureFixture
) -> None:
    lines = make(timers)
    lines.warn("a")
    lines.warn("b")
    lines.flush()
    assert caplog.messages == ["a", "b"]


def test_the_others_of_a_minute_are_counted(
    timers: FakeTimers, caplog: pytest.LogCaptureFixture
) -> None:
    lines = make(timers)
    for number in range(1000):
        timers.now_s = number / 100
        lines.warn(f"line {number}")
    assert caplog.messages == ["line 0", "line 1"]
    assert timers.due is not None
    at_s, callback = timers.due
    assert at_s == 60.0
    timers.now_s = at_s
    callback()
    assert caplog.messages[2:] == ["998 more like it in the last minute, the newest: line 999"]
    assert timers.due is None


def test_after_a_minute_lines_are_logged_again(
    timers: FakeTimers, caplog: pytest.LogCaptureFixture
) -> None:
    lines = make(timers, most=1)
    for now_s in (0.0, 59.0, 61.0, 62.0):
        timers.now_s = now_s
        lines.warn(f"at {now_s:g} s")
    assert caplog.messages == [
        "at 0 s",
        "1 more like it in the last minute, the newest: at 59 s",
        "at 61 s",
    ]
