"""Ends processes together with all that they started, and waits until all have ended.

A game is often started by a script, and goes on when the script ends.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

LOOK_S = 0.05
"""Time between two looks whether the processes that a simulator started have ended."""

CODE_OF_KILLED = 1
"""Exit code of a process that was killed on Windows, where there are no signals."""


def tell(process: asyncio.subprocess.Process, *, kill: bool) -> bool:
    """Tell a simulator and all processes that it started to end; returns whether any was running.

    A game is often started by a script, and goes on when the script ends.
    """
    try:
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        elif process.returncode is not None:
            return False
        elif kill:
            process.kill()
        else:
            process.terminate()
    except (ProcessLookupError, PermissionError):
        # macOS raises PermissionError for a group of which only a zombie is left.
        return False
    return True


def is_alive(process: asyncio.subprocess.Process) -> bool:
    """Returns whether a simulator or a process that it started still runs."""
    if sys.platform == "win32":
        return process.returncode is None
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def may_be_killed(code: int) -> bool:
    """Returns whether a process that was killed may end with this exit code."""
    return code < 0 or (sys.platform == "win32" and code == CODE_OF_KILLED)


async def all_ended(processes: Sequence[asyncio.subprocess.Process], *, within_s: float) -> None:
    """Wait until simulators and all processes that they started have ended, or time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for process in processes:
                await end_of(process)


async def end_of(process: asyncio.subprocess.Process) -> None:
    """Wait until a simulator and all processes that it started have ended."""
    await process.wait()
    while is_alive(process):
        await asyncio.sleep(LOOK_S)
