"""The threads that updates run in, beside the one that serves simulators.

OpenMP, by which torch splits an operation among processors, keeps a team of threads for every
thread that has ever asked for one. A team without work spins, and so begins the next operation at
once; but as soon as all teams together are more threads than processors, idle ones sleep, and
waking them takes longer than most operations: two threads are then slower than one. So learners
have teams that fit side by side, and the thread that serves has none unless it is told to.
"""

from concurrent.futures import ThreadPoolExecutor

import torch


def make_learners(threads: int, *, processors: int) -> ThreadPoolExecutor:
    """Threads for as many updates at a time as have processors of their own; others wait.

    Args:
        threads: that one update computes with, if there are as many processors.
        processors: that this process may use.
    """
    threads = min(threads, processors)
    # A thread that is new to torch computes with as many as were last set anywhere: those that
    # learners begin (see `policy.side_by_side`) with as many as learners, which is one.
    return ThreadPoolExecutor(
        processors // threads,
        thread_name_prefix="learner",
        initializer=torch.set_num_threads,
        initargs=(threads,),
    )
