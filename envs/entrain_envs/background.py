"""One call at a time in a thread of its own, for callers that must not wait.

Nothing here knows what is called.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

Work = Callable[[], T]
Outcome = tuple[T | None, BaseException | None]


class Background(Generic[T]):
    """Runs what it is given, and says whether that is done. Owned by one thread.

    Its own thread is started with the first call after an `end`.
    """

    def __init__(self) -> None:
        self.is_busy = False
        """Whether something was begun and its outcome has not been polled."""
        self._work: queue.SimpleQueue[Work[T] | None] | None = None
        self._outcomes: queue.SimpleQueue[Outcome[T]] = queue.SimpleQueue()

    def begin(self, work: Work[T]) -> None:
        """Run `work`, the one before being over."""
        if self._work is None:
            self._work = queue.SimpleQueue()
            arguments = (self._work, self._outcomes)
            threading.Thread(target=_run, args=arguments, name="exchange", daemon=True).start()
        self.is_busy = True
        self._work.put(work)

    def poll(self, timeout_s: float) -> T | None:
        """Return or raise what the work did; return None if it still runs after `timeout_s`."""
        try:
            if timeout_s > 0.0:
                value, error = self._outcomes.get(timeout=timeout_s)
            else:
                value, error = self._outcomes.get_nowait()
        except queue.Empty:
            return None
        self.is_busy = False
        if error is not None:
            raise error
        return value

    def end(self, *, timeout_s: float) -> None:
        """End the thread. Nobody wants an outcome any more, but wait for the work a little."""
        if self._work is None:
            return
        self._work.put(None)
        if self.is_busy:
            with suppress(queue.Empty):
                self._outcomes.get(timeout=timeout_s)
        self._work, self._outcomes, self.is_busy = None, queue.SimpleQueue(), False


def _run(
    work: "queue.SimpleQueue[Work[T] | None]", outcomes: "queue.SimpleQueue[Outcome[T]]"
) -> None:
    while (job := work.get()) is not None:
        outcome: Outcome[T]
        try:
            outcome = (job(), None)
        except BaseException as error:
            outcome = (None, error)
        # Held while it waits, it would keep a client alive that nobody uses any more.
        del job
        outcomes.put(outcome)
        del outcome
