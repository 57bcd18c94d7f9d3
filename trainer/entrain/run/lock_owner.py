"""The trainer that has a run's lock, as it is written in the lock's file; and whether it lives.

    {"host": "gpu-3", "pid": 4711, "started_at": "2026-01-31T12:00:00Z", "heartbeat": "...", ...}

The heartbeat is written every few seconds; the file's time of change is what counts, because it is
of the file system's one clock, whatever the clocks of its machines say.
"""

import calendar
import contextlib
import json
import math
import os
import secrets
import socket
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

LENGTH = 1024
"""Bytes of a record, filled up with spaces: a heartbeat is written over the one before, for which
even a full disk has room."""

_LONGEST = 200

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One trainer that has, or had, the lock."""

    host: str
    pid: int
    started_at: str
    """When it took the lock: UTC."""

    heartbeat: str
    """When it last wrote: UTC by its own clock."""

    token: str
    """Its alone."""

    machine: str
    """The same for all containers of one running machine, and no other; else the host's name."""

    pids: str
    """Within which process ids mean the same: containers have ids of their own."""

    process: str
    """When its process began, by the machine's ticks: process ids are used again."""

    is_locked: bool
    """Whether it also holds the operating system's lock on the file."""

    @classmethod
    def this_process(cls) -> Self:
        """Returns an owner with a new token, which does not hold the system's lock yet."""
        return cls(
            host=socket.gethostname()[:_LONGEST],
            pid=os.getpid(),
            started_at=_now(),
            heartbeat=_now(),
            token=secrets.token_hex(8),
            machine=_machine(),
            pids=_pid_namespace(),
            process=process_began(os.getpid()),
            is_locked=False,
        )

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        """Returns the owner that is written in `content`; None if none is, or it is damaged."""
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            fields: Any = json.loads(content[:LENGTH])
            owner = cls(**fields)
            if all(type(fields[name]) is kind for name, kind in _KINDS.items()):
                return owner
        return None

    def written(self) -> bytes:
        """Returns the record, LENGTH bytes long."""
        return json.dumps(asdict(self)).encode().ljust(LENGTH - 1) + b"\n"

    def beating(self) -> Self:
        """Returns this owner, alive now."""
        return replace(self, heartbeat=_now())

    @property
    def started_s(self) -> float:
        """When it took the lock, in seconds since 1970; NaN if what is written is no time."""
        with contextlib.suppress(ValueError):
            moment = time.strptime(self.started_at, _TIME)
            return float(calendar.timegm(moment))
        return math.nan

    @property
    def is_on_this_machine(self) -> bool:
        """Whether it runs, or ran since the machine was started, under this operating system."""
        return self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether its process is known to have ended."""
        if not self.is_on_this_machine or not self.pids or self.pids != _pid_namespace():
            return False
        return not process_runs(self.pid, self.process)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, which has had it since {self.started_at}"


_KINDS = {
    "host": str, "pid": int, "started_at": str, "heartbeat": str, "token": str, "machine": str,
    "pids": str, "process": str, "is_locked": bool,
}  # fmt: skip


def _now() -> str:
    return time.strftime(_TIME, time.gmtime())


def _machine() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()[:_LONGEST]


def _pid_namespace() -> str:
    """Returns "" where it is not known what a process id means."""
    if sys.platform == "win32":
        return ""
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    return "" if Path("/proc").is_dir() else "one for the whole machine"


def process_began(pid: int) -> str:
    """Returns when a process began; "" if it has ended, or that is not known."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


def process_runs(pid: int, began: str) -> bool:
    """Returns whether the process of that id lives and is the one that began then."""
    if began:
        return process_began(pid) == began
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
