"""Things that a thread of its own deals with, one after the other: who adds one never waits.

put --> bounded queue --> deal, in the thread
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class BackgroundQueue(Generic[T]):
    """See the module. Any thread may put something in."""

    def __init__(
        self,
        deal: Callable[[T], None],
        *,
        name: str,
        most_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin no thread yet.

        Args:
            deal: called in the thread, for each thing; it never raises.
            name: of the thread.
            most_waiting: things; then a new one replaces the oldest.
            clock: seconds.
        """
        self._deal = deal
        self._name = name
        self._clock = clock
        self._waiting: deque[T] = deque(maxlen=most_waiting)
        self._changed = threading.Condition()
        self._is_busy = False
        self._ends_s: float | None = None
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, thing: T) -> bool:
        """Add it, unless `close` was called; returns False if the oldest was left out for it."""
        with self._changed:
            if self._ends_s is not None:
                return True
            is_full = len(self._waiting) == self._waiting.maxlen
            self._waiting.append(thing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return not is_full

    def close(self, *, within_s: float) -> int:
        """Deal with what waits for at most `within_s`; returns how many things are given up."""
        with self._changed:
            self._ends_s = self._clock() + within_s
            thread = self._thread
            self._changed.notify_all()
        if thread is None:
            return 0
        thread.join(within_s)
        return len(self._waiting) + self._is_busy if thread.is_alive() else 0

    def pause(self, pause_s: float) -> bool:
        """Wait so long, in the thread; False, and at once, if `close` leaves no time for it."""
        until_s = self._clock() + pause_s
        with self._changed:
            while (left_s := until_s - self._clock()) > 0.0:
                if self._ends_s is not None and until_s >= self._ends_s:
                    return False
                self._changed.wait(left_s)
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and self._ends_s is None:
                    self._changed.wait()
                is_late = self._ends_s is not None and self._clock() >= self._ends_s
                if is_late or not self._waiting:
                    return
                thing, self._is_busy = self._waiting.popleft(), True
            self._deal(thing)
            self._is_busy = False
