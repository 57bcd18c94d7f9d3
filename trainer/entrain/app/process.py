"""Sets up the process, which several runs may share: threads of torch and BLAS, and garbage.

A command or a function of Python does so once, around all else. A `TrainingRun` touches none of it,
so one process can hold several.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def prepared_process(*, threads: int) -> Iterator[None]:
    """Within the block, limit the threads that compute, and keep garbage collection out of serving.

    Args:
        threads: for torch's and numpy's operations outside of updates; 0 leaves them as they are.
    """
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
        # A thread keeps its number once it has asked for it, whatever learners set for theirs.
        torch.get_num_threads()
    # Imports make hundreds of thousands of objects, which live as long as the process. Without
    # this, each full collection visits all of them while simulators wait.
    gc.collect()
    gc.freeze()
    try:
        # BLAS threads spin for a while after each matrix product of numpy, on processors that
        # simulators need.
        with threadpool_limits(threads or None, user_api="blas"):
            yield
    finally:
        gc.unfreeze()
        torch.set_num_threads(before)
