"""Ranks: processes that learn together agree on sums and means over the steps of all.

Ranks are processes that learn the same policy together, each from the steps of its own simulators.
Every rank must call the same methods in the same order, or all of them wait for ever.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from entrain.errors import RankLostError


class Ranks(Protocol):
    """All processes that learn together, as seen by one of them."""

    def mean(self, x: Tensor, *, weight: int) -> Tensor:
        """The mean over ranks of a tensor that has the same shape on each.

            sum_r(weight_r * x_r) / sum_r(weight_r)

        Args:
            x: any shape, floating point. It may hold any number where the weight is 0.
            weight: steps that `x` is a mean of; above 0 on one rank at least.
        """
        ...

    def sum(self, x: Tensor) -> Tensor:
        """The sum over ranks of a tensor that has the same shape on each."""
        ...

    def total(self, count: int) -> int:
        """The sum over ranks of a number."""
        ...

    def std_mean(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """Standard deviation and mean, [] each, over the numbers of all ranks.

        Args:
            x: [N], of another length on each rank; [0] too.

        Returns:
            None if there are fewer than two numbers in all.
        """
        ...

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on one rank at least."""
        ...

    def any_so_far(self, flag: bool) -> bool:
        """Whether a flag was true on one rank at least, by the newest `mean`; then it is over.

        It costs no message: `flag` goes along with the next `mean`. A process that learns alone
        says `flag` itself.
        """
        ...

    def least(self, number: float) -> float:
        """The least of the ranks' numbers."""
        ...

    def broadcast(self, x: Tensor) -> None:
        """Overwrite `x` with that of the first rank."""
        ...


class OneRank:
    """A process that learns alone: what it has is what all have. Nothing is copied."""

    def mean(self, x: Tensor, *, weight: int) -> Tensor:
        """`x` itself."""
        del weight
        return x

    def sum(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x

    def total(self, count: int) -> int:
        """`count` itself."""
        return count

    def std_mean(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `Ranks.std_mean`."""
        if x.numel() < 2:
            return None
        # A processor sums float32 in float64; a GPU does not, and would lose squares below 1e-38.
        std, mean = torch.std_mean(x.double() if x.is_cuda else x)
        return std.to(x.dtype), mean.to(x.dtype)

    def any(self, flag: bool) -> bool:
        """`flag` itself."""
        return flag

    def any_so_far(self, flag: bool) -> bool:
        """`flag` itself."""
        return flag

    def least(self, number: float) -> float:
        """`number` itself."""
        return number

    def broadcast(self, x: Tensor) -> None:
        """Nothing: `x` is the first rank's."""


ALONE = OneRank()


class Group(Protocol):
    """Processes that are connected. Every method blocks until all have called it.

    Raises RuntimeError or OSError if one is gone.
    """

    def add_up(self, x: Tensor) -> None:
        """Overwrite `x` with the sum over all."""
        ...

    def least(self, x: Tensor) -> None:
        """Overwrite `x` with the least, number by number."""
        ...

    def broadcast(self, x: Tensor) -> None:
        """Overwrite `x` with that of the first."""
        ...


class GlooGroup:
    """A process group of torch.distributed, whose backend is gloo."""

    def __init__(self, group: "dist.ProcessGroup") -> None:
        self._group = group

    def add_up(self, x: Tensor) -> None:
        """See `Group.add_up`."""
        self._group.allreduce([x]).wait()

    def least(self, x: Tensor) -> None:
        """See `Group.least`."""
        options = dist.AllreduceOptions()
        options.reduceOp = dist.ReduceOp(dist.ReduceOp.MIN)
        self._group.allreduce([x], options).wait()

    def broadcast(self, x: Tensor) -> None:
        """See `Group.broadcast`."""
        options = dist.BroadcastOptions()
        options.rootRank = options.rootTensor = 0
        self._group.broadcast([x], options).wait()


class DistributedRanks:
    """The ranks of a group of processes, on processor or GPU.

    Raises RankLostError from every method if another rank is gone.
    """

    def __init__(self, join: Callable[[], Group]) -> None:
        """`join` connects all ranks, and is called by the first method, in that one's thread."""
        self._join = join
        self._joined: Group | None = None
        self._flag = self._is_any = False

    def __repr__(self) -> str:
        return f"<ranks: {self._joined or 'not joined'}>"

    @contextmanager
    def _together(self) -> Iterator[Group]:
        """Within the block a failure is that of another rank."""
        try:
            if self._joined is None:
                self._joined = self._join()
            yield self._joined
        except (RuntimeError, OSError) as error:
            words = str(error).splitlines() or ["no reason"]
            raise RankLostError(f"a rank was lost during an update: {words[0][:300]}") from error

    def mean(self, x: Tensor, *, weight: int) -> Tensor:
        """See `Ranks.mean`; one message."""
        # The weight goes along, and the flag, so that all of it is one message.
        message = x.new_empty(x.numel() + 2)
        if weight > 0:
            torch.mul(x.flatten(), weight, out=message[:-2])
        else:
            message.zero_()
        message[-2:] = torch.tensor([weight, self._flag])
        self._add_up(message)
        weights, flags = message[-2:].tolist()
        self._is_any = self._is_any or flags > 0
        return message[:-2].div_(weights).view_as(x)

    def _add_up(self, x: Tensor) -> None:
        with self._together() as group:
            group.add_up(x)

    def sum(self, x: Tensor) -> Tensor:
        """See `Ranks.sum`."""
        total = x.clone()
        self._add_up(total)
        return total

    def total(self, count: int) -> int:
        """See `Ranks.total`."""
        return int(self.sum(torch.tensor(count)))

    def std_mean(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """See `Ranks.std_mean`; two messages: a second pass is exact where one is not."""
        # In float64, for the square of what float32 holds may be more than float32 holds.
        numbers = x.double()
        count, total = self.sum(torch.stack([numbers.new_tensor(x.numel()), numbers.sum()]))
        if count < 2:
            return None
        mean = total / count
        squares = self.sum((numbers - mean).square().sum())
        return (squares / (count - 1)).sqrt().to(x.dtype), mean.to(x.dtype)

    def any(self, flag: bool) -> bool:
        """See `Ranks.any`."""
        return self.total(int(flag)) > 0

    def any_so_far(self, flag: bool) -> bool:
        """See `Ranks.any_so_far`."""
        is_any, self._is_any = self._is_any, False
        self._flag = flag and not is_any
        return is_any

    def least(self, number: float) -> float:
        """See `Ranks.least`."""
        least = torch.tensor(number, dtype=torch.float64)
        with self._together() as group:
            group.least(least)
        return float(least)

    def broadcast(self, x: Tensor) -> None:
        """See `Ranks.broadcast`."""
        with self._together() as group:
            group.broadcast(x)
