"""Arrays indexed by slot: grown by doubling, and checked when they are read from a checkpoint.

Growing copies, so use the returned array in place of the old one. A new slot starts with zero
(false). Nothing here knows what the numbers mean.
"""

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from entrain.errors import CheckpointError
from entrain.state import State

Scalar = TypeVar("Scalar", bound=np.generic)


def grow(array: npt.NDArray[Scalar], num_slots: int) -> npt.NDArray[Scalar]:
    """`array` with room for `num_slots`; itself if it has that already.

    Args:
        array: [S, ...].
        num_slots: how many slots are in use. Room at least doubles, so that slots which arrive
            one by one cost a constant each.
    """
    if num_slots <= len(array):
        return array
    longer = np.zeros((max(num_slots, 2 * len(array)), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def read_array(
    state: State, name: str, dtype: npt.DTypeLike, *, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """A copy of the array `name` of a checkpoint's state; CheckpointError unless it fits.

    Args:
        state: where to look.
        name: of the array in `state`.
        dtype: it must have.
        shape: it must have; None stands for any length.
    """
    _require(state, name)
    return fitting(state[name], name, dtype, shape=shape)


def read_array_list(state: State, name: str, *, length: int) -> list[npt.NDArray[Any]]:
    """The list `name` of a checkpoint's state; CheckpointError unless it is that long."""
    _require(state, name)
    arrays: list[npt.NDArray[Any]] = state[name]
    if len(arrays) != length:
        raise CheckpointError(
            f"the checkpoint has {len(arrays)} arrays of {name}, this run needs {length}; "
            "resume with the behaviour it was made for"
        )
    return arrays


def fitting(
    array: npt.NDArray[Any], name: str, dtype: npt.DTypeLike, *, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """A copy of `array`; CheckpointError unless it has that dtype and shape (None: any length)."""
    fits = array.ndim == len(shape) and all(
        length is None or length == actual
        for length, actual in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise CheckpointError(
            f"the checkpoint's {name} is {array.dtype}{list(array.shape)}, this run needs "
            f"{np.dtype(dtype)}[{expected}]; resume with the behaviour it was made for"
        )
    return array.copy()


def _require(state: State, name: str) -> None:
    if name not in state:
        raise CheckpointError(
            f"the checkpoint's rollout has no '{name}' (it has: {', '.join(sorted(state))}); "
            "it was written by another version of entrain"
        )
