"""SIGTERM and Ctrl+C as events: the first asks the run to stop, the second forces it to."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
"""SIGBREAK is Ctrl+Break on Windows, where SIGTERM cannot be sent."""


@contextmanager
def stop_on_signals(stop: asyncio.Event) -> Iterator[None]:
    """While inside, the first signal sets `stop`; a second ends the process at once (code 130).

    Works on every platform: Windows' event loops have no signal handlers of their own, so the
    handler is Python's, which hands over to the loop.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - Python's signature
        nonlocal asked
        if asked:
            # Nothing may run now that could hang: no handlers, no buffers, no threads.
            os._exit(130)
        asked = True
        with contextlib.suppress(RuntimeError):  # the loop has just ended: nothing is left to stop
            loop.call_soon_threadsafe(announce, signal.Signals(number).name)

    def announce(name: str) -> None:
        logger.info("%s: finishing, saving and stopping (again: stop at once)", name)
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
