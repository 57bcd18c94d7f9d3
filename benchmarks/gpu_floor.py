"""The least time that a device needs for an update: its arithmetic, and the bytes that it moves.

What an update does is counted, operation by operation, on the processor. What the device can do is
measured: products of large matrices, and copies of large arrays.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

GATHERS = frozenset({torch.ops.aten.index_select, torch.ops.aten.index, torch.ops.aten.gather})


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, *, repeats: int) -> float:
    """Seconds of the quickest of several repeats, after one that warms up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        before = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - before)
    return best


@dataclass(frozen=True)
class Peaks:
    """What a device can do."""

    flops: float
    """Floating-point operations a second, in float32 as learning uses it."""

    bytes: float
    """Read or written, a second."""

    @classmethod
    def of(cls, device: torch.device, *, side: int, copied: int) -> "Peaks":
        """Measure.

        Args:
            device: that is measured.
            side: of the square matrices that are multiplied.
            copied: bytes of the array that is copied.
        """
        a, b = torch.randn(2, side, side, device=device)
        source = torch.zeros(copied // 4, device=device)
        target = torch.empty_like(source)
        product_s = seconds_of(lambda: a @ b, device, repeats=5)
        copy_s = seconds_of(lambda: target.copy_(source), device, repeats=5)
        return cls(flops=2 * side**3 / product_s, bytes=2 * copied / copy_s)


@dataclass
class Work(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is computed while it is entered, on whatever device that is."""

    flops: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here: importing the compiler to say so would take seconds.
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute and count: each operation reads what it is given and writes what it returns."""
        del types
        options = dict(kwargs or {})
        returned = func(*args, **options)
        operation = func.overloadpacket
        if operation in flop_registry:
            self.flops += flop_registry[operation](*args, **options, out_val=returned)
        if not func.is_view:
            written = _bytes(returned)
            self.bytes += written
            # Of what rows are picked from, only those rows are read.
            self.bytes += written if operation in GATHERS else _bytes((args, options))
        return returned

    def arithmetic_s(self, peaks: Peaks) -> float:
        """The least time for the products."""
        return self.flops / peaks.flops

    def traffic_s(self, peaks: Peaks) -> float:
        """The least time for the bytes."""
        return self.bytes / peaks.bytes

    def floor_s(self, peaks: Peaks) -> float:
        """Both at once, at best."""
        return max(self.arithmetic_s(peaks), self.traffic_s(peaks))


def _bytes(tree: object) -> int:
    return sum(
        min(leaf.numel() * leaf.element_size(), leaf.untyped_storage().nbytes())
        for leaf in tree_leaves(tree)
        if isinstance(leaf, Tensor)
    )
