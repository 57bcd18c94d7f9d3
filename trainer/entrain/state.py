"""The form of a state in a checkpoint: plain values and arrays.

A part whose state must survive a restart has `state() -> State` and `load_state(state)`. Values are
copies: what a part does later never changes a state that it returned. A `PiecewiseArray`, which may
be very large, is copied piece by piece while it is read. `run.checkpoint` writes states.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

State: TypeAlias = Mapping[str, Any]
"""Nested: {name: numpy array | `PiecewiseArray` | bytes | str | int | float | bool | None | list of
those | State}. Names are strings, of any content. No torch tensors: their owner turns them into
arrays."""

AnyArray: TypeAlias = npt.NDArray[Any]

PIECE_BYTES = 4 << 20
"""Of a piece of an array, if one row is not larger."""


class PiecewiseArray(ABC):
    """An array [N, ...] of which no whole copy is made unless somebody asks for one.

    It holds what the array was when the state was taken, and may be read from any thread.
    """

    def __init__(self, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        """Be N rows, N being the first number of `shape`."""
        self.shape = shape
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.dtype}{list(self.shape)}>"

    @property
    def nbytes(self) -> int:
        """Of the whole array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def rows(self, begin: int, end: int) -> AnyArray:
        """A copy of these rows."""

    def pieces(self) -> Iterator[AnyArray]:
        """All rows, in order, in pieces of about `PIECE_BYTES`."""
        for begin, end in piece_bounds(self.shape, self.dtype):
            yield self.rows(begin, end)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        """A copy of the whole."""
        del copy
        whole = np.empty(self.shape, self.dtype if dtype is None else dtype)
        for begin, end in piece_bounds(self.shape, self.dtype):
            whole[begin:end] = self.rows(begin, end)
        return whole

    def __deepcopy__(self, memo: Any) -> AnyArray:
        return np.asarray(self)


def rows_of(array: "AnyArray | PiecewiseArray", begin: int, end: int) -> AnyArray:
    """These rows of an array of a state."""
    return array.rows(begin, end) if isinstance(array, PiecewiseArray) else array[begin:end]


def piece_bounds(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Iterator[tuple[int, int]]:
    """Where pieces of about `PIECE_BYTES` of an array [N, ...] begin and end, in rows."""
    row_bytes = max(1, math.prod(shape[1:]) * dtype.itemsize)
    size = max(1, PIECE_BYTES // row_bytes)
    for begin in range(0, shape[0], size):
        yield begin, min(shape[0], begin + size)


class Stateful(Protocol):
    """A part whose state a checkpoint holds."""

    def state(self) -> State:
        """Returns a copy of everything that decides what this part does next."""
        ...

    def load_state(self, state: State) -> None:
        """Go on exactly where `state` was taken; CheckpointError if it is of another shape."""
        ...


__all__ = [
    "PIECE_BYTES",
    "AnyArray",
    "PiecewiseArray",
    "State",
    "Stateful",
    "piece_bounds",
    "rows_of",
]
