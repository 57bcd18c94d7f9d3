"""SIGTERM, Ctrl+C, a closed terminal: the first asks the run to stop, the second forces it to.

They are handled from before the event loop runs until after it has ended, so that no signal can
interrupt a run between two statements. Only a program's main thread may handle signals: in another
one there are none, and somebody else makes the request.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
"""SIGBREAK is Ctrl+Break on Windows, where SIGTERM cannot be sent."""

HANGUP: int | None = getattr(signal, "SIGHUP", None)
"""The terminal was closed. It asks like the others and never forces: shell and kernel may both
send it, and a service manager may send it after SIGTERM."""

FORCED = 130
"""Exit code after a second signal."""

SHOW_CURSOR = b"\x1b[?25h\n"


class StopRequest:
    """Says whether the run was asked to stop. Owned by the main thread, where signals arrive."""

    def __init__(self, consequence: str) -> None:
        """No request yet; `consequence` says in the log what one leads to."""
        self.is_made = False
        self._consequence = consequence
        self.before_force: Callable[[], None] = _nothing
        """Called before the process is ended at once; it must neither wait nor fail."""

        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._event = asyncio.Event()

    def __repr__(self) -> str:
        return f"<StopRequest: {'made' if self.is_made else 'not made'}>"

    def event(self) -> asyncio.Event:
        """Returns an event of the running loop that is set once the run is asked to stop.

        The task that calls this is the one that `abandon` gives up.
        """
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        if self.is_made:
            self._event.set()
        return self._event

    def make(self, name: str) -> None:
        """Ask to stop, because of the signal `name`. May be called between any two statements."""
        was_made, self.is_made = self.is_made, True
        if self._loop is None or was_made:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended: nothing is left to stop
            self._loop.call_soon_threadsafe(self._announce, name)

    def abandon(self) -> None:
        """Give the run up without another checkpoint; KeyboardInterrupt if no loop runs it."""
        if self._loop is None or self._task is None or not self._loop.is_running():
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(self._task.cancel)

    def _announce(self, name: str) -> None:
        logger.info("%s: %s (again: stop at once)", name, self._consequence)
        self._event.set()


def _end_at_once(request: StopRequest) -> None:
    """End the process without anything that could hang: no exit handlers, buffers or threads."""
    try:
        request.before_force()
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            # The live display has hidden the cursor and cannot show it again.
            os.write(sys.__stdout__.fileno(), SHOW_CURSOR)
    finally:
        os._exit(FORCED)


@contextmanager
def stop_on_signals(
    consequence: str = "finishing, saving and stopping",
    *,
    force: Callable[[StopRequest], None] = _end_at_once,
) -> Iterator[StopRequest]:
    """Within the block, the first signal makes the request; a second ends the process (code 130).

    This uses Python's own handlers, which pass the request to the loop: on Windows, event loops
    have no signal handlers.

    Args:
        consequence: of the request, for the log.
        force: what a second signal does instead of ending the process.
    """
    request = StopRequest(consequence)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    forcing: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's signature
        if number != HANGUP:
            if forcing:
                force(request)
            forcing.append(number)
        request.make(signal.Signals(number).name)

    previous = {number: signal.signal(number, on_signal) for number in _signals_to_handle()}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _signals_to_handle() -> Sequence[int]:
    """Returns SIGNALS and SIGHUP, unless `nohup` has it ignored: the run goes on then."""
    if HANGUP is None or signal.getsignal(HANGUP) is signal.SIG_IGN:
        return SIGNALS
    return (*SIGNALS, HANGUP)


def _nothing() -> None:
    pass
