"""The threads that run updates."""

from concurrent.futures import ThreadPoolExecutor

import torch


def make_learners(threads: int, *, processors: int) -> ThreadPoolExecutor:
    """Makes a pool that runs as many updates at once as have processors; others wait.

    Args:
        threads: that one update computes with, if there are as many processors.
        processors: that this process may use.
    """
    threads = min(threads, processors)
    # A thread that is new to torch computes with the number that was set last in any thread. So
    # threads that learners start (see `policy.parallel_groups`) compute with as many as learners.
    return ThreadPoolExecutor(
        processors // threads,
        thread_name_prefix="learner",
        initializer=torch.set_num_threads,
        initargs=(threads,),
    )
