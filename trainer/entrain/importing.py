"""Handles Ctrl+C and SIGTERM while modules are imported, when there is nothing to save yet.

Imports take seconds. This module imports nothing heavy itself, because it is imported first.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STDERR = 2

INTERRUPTED = 130
"""Exit code of a command that is interrupted before it has begun."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Within the block, either signal ends the process at once, and says so.

    No exception is raised: a library that is being imported might turn it into another one, such as
    an ImportError.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, _end_at_once) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    # Python's own streams may be in the middle of a line.
    os.write(STDERR, b"entrain: interrupted before it had begun\n")
    os._exit(INTERRUPTED)
