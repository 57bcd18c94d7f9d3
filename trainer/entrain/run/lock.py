"""Locks a run folder for one trainer, also on file systems that machines share.

The lock's file says who has it (see `lock_owner`), and its owner writes a heartbeat into it. The
lock is free if nobody is written there, if its owner is known to have ended, or if it has been
silent for a minute. Where the operating system can lock files it does so as well, which shows at
once that an owner on this machine has ended, and lets only one of several trainers take the lock.

A trainer that was silent although it lives (stopped, or its machine slept) may have lost the lock
to another: it finds the other's name in the file, and must end without writing anything.
"""

import contextlib
import errno
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from entrain.errors import ConfigError, InUseError
from entrain.run.disk import refused, remedy
from entrain.run.lock_owner import LENGTH, Owner

logger = logging.getLogger(__name__)

BEAT_S = 10.0
"""Time between two heartbeats."""

SILENCE_S = 60.0
"""An owner that has written nothing for this long has lost the lock."""

SETTLE_S = 0.5
"""Where the system's lock does not decide between two trainers, the later of two that write at
once has the lock; the earlier one sees that after this time."""

_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})

if sys.platform == "win32":
    import msvcrt

    # Windows lets no other process read a locked byte, so the locked one lies behind all text.
    _LOCKED_BYTE = 1 << 30

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunLock:
    """Held from creation until `release`, or until the process ends however it ends.

    Its heartbeat is written by a thread of its own: a trainer may be busy for minutes.
    """

    def __init__(
        self, path: Path, *, beat_s: float = BEAT_S, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Take the lock at `path`.

        Raises:
            InUseError: another trainer has it.
            ConfigError, DiskError: nothing can be written there.
        """
        self._path = path
        self._pause = pause
        self._owner = Owner.this_process()
        self._guard = threading.Lock()
        self._released = threading.Event()
        self._lost_to = ""
        self._descriptor: int | None = self._take()
        self._beats = threading.Thread(
            target=self._beat_until_released, args=(beat_s,), name="run-lock", daemon=True
        )
        self._beats.start()

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

    @property
    def is_in_place(self) -> bool:
        """Whether the lock's file is still where it was, and no other file in its place."""
        try:
            there = self._path.stat()
            return self._descriptor is not None and os.path.samestat(
                there, os.fstat(self._descriptor)
            )
        except OSError:
            return False

    def check(self, *, reads: bool = True) -> None:
        """Raise InUseError if another trainer has taken the lock over.

        Args:
            reads: look now; else say what the last heartbeat saw, which costs nothing.
        """
        if reads:
            self.beat()
        if self._lost_to:
            raise InUseError(
                f"the run folder {self._path.parent} was taken over by {self._lost_to} while this "
                f"trainer was silent for {SILENCE_S:g} s; it ends here and leaves everything there "
                "as the other one has it"
            )

    def beat(self) -> None:
        """Write a heartbeat, if the lock is still this trainer's."""
        with self._guard, contextlib.suppress(OSError):
            if self._descriptor is None or self._lost_to:
                return
            other = Owner.read(_content(self._path))
            if other is not None and other.token != self._owner.token:
                self._lost_to = f"process {other.pid} on {other.host}"
                return
            self._owner = self._owner.beating()
            _write(self._descriptor, self._owner.written())

    def restore(self) -> None:
        """Make the file anew after it was deleted; InUseError if another trainer was faster."""
        with self._guard:
            old, self._descriptor = self._descriptor, None
            if old is not None:
                os.close(old)
            self._descriptor = self._take()

    def release(self) -> None:
        """Let another trainer have the folder. The file stays: removing it would race."""
        self._released.set()
        with self._guard:
            if self._descriptor is None:
                return
            with contextlib.suppress(OSError):
                now = Owner.read(_content(self._path))
                if now is not None and now.token == self._owner.token:
                    os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def _beat_until_released(self, beat_s: float) -> None:
        while not self._released.wait(beat_s):
            self.beat()

    def _take(self) -> int:
        try:
            return self._take_file()
        except PermissionError as error:
            raise ConfigError(
                f"cannot write in the run folder {self._path.parent}: {error.strerror}; "
                f"{remedy(error, self._path)}, or choose another runs_directory"
            ) from error
        except OSError as error:
            raise refused(error, self._path) from error

    def _take_file(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            is_locked = _is_locked(descriptor)
            self._require_free(descriptor, is_locked)
            self._owner = replace(self._owner.beating(), is_locked=is_locked is True)
            _write(descriptor, self._owner.written())
            if not is_locked:
                self._require_last()
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _require_free(self, descriptor: int, is_locked: bool | None) -> None:
        """Raise InUseError unless the lock may be taken.

        Args:
            descriptor: of the lock's file.
            is_locked: whether the system's lock was had; None if it cannot be had here.
        """
        content = _content(self._path)
        owner = Owner.read(content)
        if owner is None and (is_locked or (is_locked is None and not content.strip())):
            return
        if owner is not None and self._has_ended(owner, is_locked):
            return
        silent_s = self._silence_s(descriptor)
        # Written in the future, or long ago: perhaps the clock was set meanwhile. Who lives, beats.
        if silent_s < -1.0:
            logger.info("%s was written in the future; waiting for a heartbeat", self._path)
            silent_s = 0.0 if self._beats_within(SILENCE_S, descriptor) else SILENCE_S
        elif silent_s >= SILENCE_S and self._beats_within(1.5 * BEAT_S, descriptor):
            silent_s = 0.0
        if silent_s < SILENCE_S:
            raise InUseError(
                f"the run folder {self._path.parent} is in use by {owner or 'another trainer'} "
                f"and wrote {max(0.0, silent_s):.0f} s ago; stop that trainer first, train under "
                f"another name, or try again: {SILENCE_S:g} s after its last word it is taken over"
            )
        logger.warning(
            "%s has been silent for %.0f s: its lock on %s is taken over",
            owner or "another trainer",
            silent_s,
            self._path.parent,
        )

    def _has_ended(self, owner: Owner, is_locked: bool | None) -> bool:
        if owner.token == self._owner.token or owner.is_gone:
            return True
        # It held the system's lock, which on one machine nobody else can have meanwhile.
        return bool(is_locked and owner.is_locked and owner.is_on_this_machine)

    def _beats_within(self, seconds: float, descriptor: int) -> bool:
        before = os.fstat(descriptor).st_mtime_ns
        self._pause(seconds)
        return os.fstat(descriptor).st_mtime_ns != before

    def _silence_s(self, descriptor: int) -> float:
        """Returns how long ago the lock's file was written, by the file system's own clock."""
        written_s = os.fstat(descriptor).st_mtime
        try:
            with tempfile.TemporaryFile(dir=self._path.parent) as now:
                return os.fstat(now.fileno()).st_mtime - written_s
        except OSError:
            return time.time() - written_s

    def _require_last(self) -> None:
        """Of several trainers that wrote at once, let only the last one go on."""
        self._pause(SETTLE_S)
        owner = Owner.read(_content(self._path))
        if owner is None or owner.token != self._owner.token:
            raise InUseError(
                f"the run folder {self._path.parent} was taken by {owner or 'another trainer'} at "
                "the same moment; stop that trainer first, or train under another name"
            )


def _is_locked(descriptor: int) -> bool | None:
    """Returns whether the system's lock was had; None if the file system has none."""
    try:
        _try_lock(descriptor)
    except OSError as error:
        return None if error.errno in _NOT_SUPPORTED else False
    return True


def _content(path: Path) -> bytes:
    """Returns the lock's content. Opening a file asks a shared file system for its newest."""
    with path.open("rb") as file:
        return file.read(LENGTH)


def _write(descriptor: int, record: bytes) -> None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, record)
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
