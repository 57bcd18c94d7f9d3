"""Ranks as threads of this process, for what need not be proven over real connections."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch
from torch import Tensor

from entrain.ranks import DistributedRanks, Ranks

T = TypeVar("T")
TIMEOUT_S = 60.0


class ThreadGroup:
    """A `Group` whose members are threads: each brings a tensor, and all see those of all."""

    def __init__(self, rank: int, brought: list[Tensor], barrier: Barrier) -> None:
        self._rank = rank
        self._brought = brought
        self._barrier = barrier

    def _exchanged(self, x: Tensor) -> Sequence[Tensor]:
        self._brought[self._rank] = x.clone()
        self._barrier.wait(TIMEOUT_S)
        all_of_them = [each.clone() for each in self._brought]
        self._barrier.wait(TIMEOUT_S)
        return all_of_them

    def add_up(self, x: Tensor) -> None:
        x.copy_(torch.stack(list(self._exchanged(x))).sum(dim=0))

    def least(self, x: Tensor) -> None:
        x.copy_(torch.stack(list(self._exchanged(x))).min(dim=0).values)

    def broadcast(self, x: Tensor) -> None:
        x.copy_(self._exchanged(x)[0])


def together(work: Callable[[int, Ranks], T], *, size: int = 2) -> Sequence[T]:
    """What each of so many ranks returns; work(rank, ranks) is called in a thread for each."""
    brought, barrier = [torch.empty(0)] * size, Barrier(size)

    def of_rank(rank: int) -> T:
        try:
            return work(rank, DistributedRanks(lambda: ThreadGroup(rank, brought, barrier)))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(of_rank, range(size)))
