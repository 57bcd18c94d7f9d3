"""Shares values that are costly to make between readers: making one takes at most a 200th of the
time, however many readers ask.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

FRESH_S = 1.0
MOST_SHARE = 0.005
"""Largest share of one processor's time that making a value takes."""


class Snapshot(Generic[T]):
    """One value that is made on demand, and kept for a second or more."""

    def __init__(
        self,
        make: Callable[[], T],
        *,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
        work_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """Make nothing yet.

        Args:
            make: makes it.
            fresh_s: how long it is kept at least.
            clock: seconds.
            work_clock: seconds of processor time of this thread.
        """
        self._make = make
        self._fresh_s = fresh_s
        self._clock = clock
        self._work_clock = work_clock
        self._kept: list[T] = []
        self._until_s = 0.0

    def get(self) -> T:
        """The value; made anew if the one that is kept is too old."""
        now_s = self._clock()
        if not self._kept or now_s >= self._until_s:
            begin_s = self._work_clock()
            self._kept = [self._make()]
            took_s = self._work_clock() - begin_s
            self._until_s = now_s + max(self._fresh_s, took_s / MOST_SHARE)
        return self._kept[0]

    def forget(self) -> None:
        """Make it anew when it is asked for next: what it tells has changed on request."""
        self._kept.clear()
