"""The storage of a rollout buffer: one array [T, S, ...] for each stored field of a rollout.

Arrays grow by doubling, in rows and in slots; a cell that was never written holds zero. Which cells
hold steps is known to the buffer only. Nothing here knows of episodes or policies.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, get_type_hints

import numpy as np
import numpy.typing as npt

from entrain.experience import Rollout, Stored
from entrain.rollout.slot_arrays import fitting, read_array, read_array_list
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, Int64Array

Arrays: TypeAlias = dict[str, Any]
"""{field of a rollout: its array, or {name: array} for observations and actions}."""


def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Fresh storage. Zeros are free: pages come from the system only when written."""
    return np.zeros(shape, dtype)


@dataclass(frozen=True)
class Layout:
    """Which arrays the steps of one behaviour need."""

    rollout_type: type[Rollout]
    """Its fields that are marked `Stored` are what is stored."""

    spec: BehaviourSpec
    """Of the observations and actions."""

    num_values: int
    """V, the critic's value heads."""

    def allocate(self, *, num_rows: int, num_slots: int) -> "Columns":
        """Storage of that many rows and slots."""

        def cells(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[Any]:
            return allocate((num_rows, num_slots, *shape), dtype)

        action = self.spec.action
        arrays: Arrays = {
            "observation": {o.name: cells(o.numpy_dtype, *o.shape) for o in self.spec.observations},
            "action": {},
        }
        if action.continuous_size:
            arrays["action"]["continuous"] = cells(np.float32, action.continuous_size)
        if action.branches:
            arrays["action"]["discrete"] = cells(np.int64, len(action.branches))
        trailing = {
            "": (),
            "V": (self.num_values,),
            "C": (action.num_choices,),
            "A": (action.continuous_size + len(action.branches),),
        }
        for name, stored in stored_fields(self.rollout_type):
            if stored.dtype:
                arrays[name] = cells(stored.dtype, *trailing[stored.size])
        return Columns(arrays)


def stored_fields(rollout_type: type[Rollout]) -> Iterator[tuple[str, Stored]]:
    """The fields of a rollout that are declared as stored, with how, in their order."""
    for name, hint in get_type_hints(rollout_type, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Stored):
                yield name, mark


class Columns:
    """T rows of S slots. The arrays are written in place by the buffer that owns them."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        """One array [T, S, ...] a field; {name: array} of observations and actions."""

    @property
    def shape(self) -> tuple[int, int]:
        """(T, S)."""
        rows, slots = self.arrays["reward"].shape
        return rows, slots

    @property
    def bytes_per_step(self) -> int:
        """Of one row of one slot."""
        return sum(array.itemsize * math.prod(array.shape[2:]) for array in self._each())

    def _each(self) -> Iterator[Array]:
        for value in self.arrays.values():
            yield from value.values() if isinstance(value, Mapping) else (value,)

    def write(self, row: Int64Array, slot: Int64Array, values: Arrays) -> None:
        """Write these fields of N steps: values[name][i] to row `row[i]` of slot `slot[i]`."""
        for name, value in values.items():
            stored = self.arrays[name]
            if isinstance(stored, dict):
                for key, array in stored.items():
                    array[row, slot] = value[key]
            else:
                stored[row, slot] = value

    def changed(self, change: Callable[[Array], Any]) -> Arrays:
        """The arrays with `change` applied to each."""

        def each(value: Any) -> Any:
            if isinstance(value, Mapping):
                return dict(zip(value, map(change, value.values()), strict=True))
            return change(value)

        return dict(zip(self.arrays, map(each, self.arrays.values()), strict=True))

    def resized(self, *, num_rows: int, num_slots: int) -> "Columns":
        """A copy with room for that many rows and slots, neither fewer than now."""
        rows, slots = self.shape

        def larger(array: Array) -> Array:
            copy = allocate((num_rows, num_slots, *array.shape[2:]), array.dtype)
            copy[:rows, :slots] = array
            return copy

        return Columns(self.changed(larger))

    def taken(self, *, num_rows: int, slots: Int64Array) -> "Columns":
        """A copy of the first rows of these slots, one column each, in their order."""
        return Columns(self.changed(lambda array: np.take(array[:num_rows], slots, axis=1)))

    def move_to_top(self, row: Int64Array, slot: Int64Array) -> None:
        """Copy row `row[i]` of slot `slot[i]` to row 0 of that slot."""
        for array in self._each():
            array[0, slot] = array[row, slot]

    def state(self, *, num_rows: int) -> State:
        """A copy of the first rows. Mappings become lists, in the spec's order."""
        copies = self.changed(lambda array: array[:num_rows].copy())
        return {
            name: list(value.values()) if isinstance(value, Mapping) else value
            for name, value in copies.items()
        }

    @classmethod
    def from_state(cls, state: State, layout: Layout, *, num_slots: int) -> "Columns":
        """The storage whose `state()` was saved; CheckpointError if it has another layout."""
        template = layout.allocate(num_rows=0, num_slots=num_slots).arrays
        rows = len(read_array(state, "reward", np.float32, shape=(None, num_slots)))
        arrays: Arrays = {}
        for name, value in template.items():
            if not isinstance(value, Mapping):
                shape = (rows, num_slots, *value.shape[2:])
                if name == "late" and name not in state:
                    # Checkpoints of before there were deadlines have none.
                    arrays[name] = np.zeros(shape, value.dtype)
                    continue
                arrays[name] = read_array(state, name, value.dtype, shape=shape)
                continue
            stored = read_array_list(state, name, length=len(value))
            arrays[name] = {
                key: fitting(
                    array, f"{name} '{key}'", like.dtype, shape=(rows, num_slots, *like.shape[2:])
                )
                for (key, like), array in zip(value.items(), stored, strict=True)
            }
        return cls(arrays)
