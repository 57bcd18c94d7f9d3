"""Whether a trainer has a run's lock now, as someone sees who only looks."""

import contextlib
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from entrain.run.lock import SILENCE_S
from entrain.run.lock_owner import LENGTH, Owner


class Hold(Enum):
    """The contents of a lock's file."""

    HELD = "held"
    """A trainer has it."""

    FREE = "free"
    """The last trainer gave it back."""

    LEFT = "left"
    """The last trainer ended without giving it back: it crashed or was killed."""


@dataclass(frozen=True)
class LockLook:
    """A lock at one moment."""

    hold: Hold

    owner: str
    """Who has it, or had it last, for people; "" if nobody."""

    since_s: float = math.nan
    """When that one took it, in seconds since 1970; NaN if it is not known."""


def look_at(path: Path, *, clock: Callable[[], float] = time.time) -> LockLook:
    """Returns what the lock at `path` says. The file is not changed.

    `clock` gives seconds since 1970.
    """
    content, written_s = b"", -math.inf
    with contextlib.suppress(OSError):
        content, written_s = path.read_bytes()[:LENGTH], path.stat().st_mtime
    if not content.strip():
        return LockLook(Hold.FREE, "")
    owner = Owner.read(content)
    is_held = _is_held(path, owner, silent_s=clock() - written_s)
    name = "another trainer" if owner is None else f"process {owner.pid} on {owner.host}"
    since_s = math.nan if owner is None else owner.started_s
    return LockLook(Hold.HELD if is_held else Hold.LEFT, name, since_s)


def _is_held(path: Path, owner: Owner | None, *, silent_s: float) -> bool:
    if owner is not None and owner.is_gone:
        return False
    if _is_locked_by_another(path):
        return True
    if owner is not None and owner.is_locked and owner.is_on_this_machine:
        # Nobody has the system's lock, which it had.
        return False
    return silent_s < SILENCE_S


def _is_locked_by_another(path: Path) -> bool:
    if sys.platform == "win32":
        # The locked byte is behind all text; reading does not show it, renaming would fail.
        try:
            path.rename(path)
        except OSError:
            return True
        return False
    import fcntl  # noqa: PLC0415 - Windows has none

    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            # A shared lock, for a moment: several may look at once.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
