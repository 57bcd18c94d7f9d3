"""What is set for the whole process: threads that compute, and what garbage collection visits."""

import gc
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from entrain.app.process import prepare_process


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(3, user_api="blas"):
        yield
    torch.set_num_threads(before)
    gc.unfreeze()


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (0, 3)])
def test_torch_and_blas_get_the_threads_unless_they_are_to_choose(
    threads: int, expected: int
) -> None:
    torch.set_num_threads(3)
    prepare_process(threads=threads)
    assert torch.get_num_threads() == expected
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert {pool["num_threads"] for pool in blas} <= {expected}


def test_garbage_collection_passes_over_what_imports_made() -> None:
    gc.unfreeze()
    prepare_process(threads=0)
    assert gc.get_freeze_count() > 10_000
