"""Sets up the process, which several runs may share: threads of torch and BLAS, and garbage.

A command calls this once. A `TrainingRun` touches none of it, so one process can hold several.
"""

import gc

import torch
from threadpoolctl import threadpool_limits


def prepare_process(*, threads: int) -> None:
    """Limit the threads that compute, and keep garbage collection out of the way of serving.

    Args:
        threads: for torch's and numpy's operations outside of updates; 0 leaves them as they are.
    """
    if threads:
        torch.set_num_threads(threads)
        # A thread keeps its number once it has asked for it, whatever learners set for theirs.
        torch.get_num_threads()
        # BLAS threads spin for a while after each matrix product of numpy, on processors that
        # simulators need.
        threadpool_limits(threads, user_api="blas")
    # Imports make hundreds of thousands of objects, which live as long as the process. Without
    # this, each full collection visits all of them while simulators wait.
    gc.collect()
    gc.freeze()
