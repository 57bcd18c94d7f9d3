"""How many processors this process may use, which may be fewer than the machine has."""

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux (control groups, version 2) says how much time a container gets: "QUOTA PERIOD" in
microseconds, or "max PERIOD"."""


def available_processors(limit: Path = CGROUP_LIMIT) -> int:
    """Those that the process is allowed to run on, or as much time as its container is given.

    Args:
        limit: file with the container's share; without one, or what cannot be read, none is set.
    """
    # Linux alone tells which of the machine's processors a process is bound to.
    allowed = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return max(1, min(len(allowed), _share(limit)))


def _share(limit: Path) -> int:
    """Processors' worth of time, rounded up: half of one is one that is often taken away."""
    try:
        quota, period = limit.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        # No container, not Linux, or "max".
        return 2**31
