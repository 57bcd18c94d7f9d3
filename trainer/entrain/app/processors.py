"""How many processors this process may use. Nothing here knows of torch."""

import math
import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux (control groups, version 2) says how much time a container gets: "QUOTA PERIOD" in
microseconds, or "max PERIOD"."""

UNLIMITED = 2**31


def available_processors(limit: Path = CGROUP_LIMIT) -> int:
    """Returns how many processors this process may use: often fewer than the machine has.

    Args:
        limit: file with the container's limit; there is none if the file is missing or unreadable.
    """
    # Only Linux tells which of the machine's processors a process is bound to.
    allowed = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return max(1, min(len(allowed), _container_limit(limit)))


def _container_limit(limit: Path) -> int:
    """Returns the container's processors, rounded up: half a processor is one, half of the time."""
    try:
        quota, period = limit.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        # No container, not Linux, or "max".
        return UNLIMITED
