"""Calls what runs an event loop of its own, also where one runs already, as in a notebook."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

LOOK_S = 0.5
"""How often a thread that waits looks for signals, where waiting itself does not notice them."""


def called_without_loop(function: Callable[[], T]) -> T:
    """Returns what `function` does: called here, or in another thread if a loop runs in this one.

    KeyboardInterrupt if the task that its loop ran was cancelled, as `StopRequest.abandon` does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _called(function)
    with ThreadPoolExecutor(1, thread_name_prefix="entrain") as executor:
        future = executor.submit(contextvars.copy_context().run, _called, function)
        while not future.done():
            wait([future], timeout=LOOK_S)
        return future.result()


def _called(function: Callable[[], T]) -> T:
    try:
        return function()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
