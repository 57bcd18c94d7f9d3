"""What is set for the whole process: threads that compute, and what garbage collection visits."""

import gc
from collections.abc import Iterator

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from entrain.app.process import prepared_process


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    with threadpool_limits(3, user_api="blas"):
        yield
    torch.set_num_threads(before)
    gc.unfreeze()


def blas_threads() -> set[int]:
    return {it["num_threads"] for it in threadpool_info() if it["user_api"] == "blas"}


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (0, 3)])
def test_torch_and_blas_get_the_threads_unless_they_are_to_choose(
    threads: int, expected: int
) -> None:
    torch.set_num_threads(3)
    with prepared_process(threads=threads):
        assert torch.get_num_threads() == expected
        assert blas_threads() <= {expected}
    assert torch.get_num_threads() == 3
    assert blas_threads() <= {3}


def test_garbage_collection_passes_over_what_imports_made() -> None:
    gc.unfreeze()
    with prepared_process(threads=0):
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0
