"""How many processors this process may use, which may be fewer than the machine has."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

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


def make_learners(threads: int, *, processors: int) -> ThreadPoolExecutor:
    """Threads for as many updates at a time as have processors of their own; others wait.

    Args:
        threads: that one update computes with, if there are as many processors.
        processors: that this process may use.
    """
    threads = min(threads, processors)
    # A thread that is new to torch computes with as many as were last set anywhere: those that
    # learners begin (see `policy.parallel_groups`) with as many as learners, which is one.
    return ThreadPoolExecutor(
        processors // threads,
        thread_name_prefix="learner",
        initializer=torch.set_num_threads,
        initargs=(threads,),
    )
