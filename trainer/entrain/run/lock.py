"""Locks a run folder for one trainer; the operating system releases the lock when it ends.

The lock is on an open file; that the file exists means nothing. So no stale lock is left by a
crash, nor between containers, where a process id of one means nothing in the other.
"""

import contextlib
import errno
import logging
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from entrain.errors import ConfigError

logger = logging.getLogger(__name__)

_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})

if sys.platform == "win32":
    import msvcrt

    # Windows lets no other process read a locked byte, so the locked one lies behind all text.
    _LOCKED_BYTE = 1 << 30

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """Held from creation until `release`, or until the process ends however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock at `path`; ConfigError if another trainer has it."""
        self._path = path
        self._descriptor: int | None = _locked_descriptor(path)

    def __repr__(self) -> str:
        return f"<RunLock {self._path}: {'released' if self._descriptor is None else 'held'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let another trainer have the folder. The file stays: removing it would race."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _locked_descriptor(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(
            f"cannot write in the run folder {path.parent}: {error.strerror}; "
            "check its owner and permissions, or choose another runs_directory"
        ) from error
    try:
        _try_lock(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SUPPORTED:
            os.close(descriptor)
            raise ConfigError(
                f"the run folder {path.parent} is in use by {_owner(path)}; "
                "stop that trainer first, or train under another name"
            ) from None
        logger.warning(
            "%s is on a file system without locks: make sure that only one trainer uses it",
            path.parent,
        )
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return descriptor


def _owner(path: Path) -> str:
    """Returns what the lock's owner wrote about itself: for messages only, it may be outdated."""
    with contextlib.suppress(OSError):
        owner = path.read_text(encoding="utf-8", errors="replace").strip()
        if owner:
            return owner
    return "another trainer"
