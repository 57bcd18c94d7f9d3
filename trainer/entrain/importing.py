"""Ctrl+C and SIGTERM while modules are imported, which takes seconds and leaves nothing to save.

Imports nothing heavy itself, for it comes first.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit code of what ends before it has begun."""


@contextmanager
def interruptible() -> Iterator[None]:
    """While inside, either signal ends the process at once, without a word.

    Not by an exception: out of the middle of an import it may come as any other, such as an
    ImportError of a library written in C.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, _end_at_once) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)
