"""The storage of a rollout buffer: one array a field, [T, S, ...], row t of slot s.

Arrays grow by doubling, in rows and in slots; a cell that was never written holds zero. Which cells
are steps is the buffer's affair. Nothing here knows of episodes or policies.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain.rollout.slot_arrays import fitting, read_array, read_array_list
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, BoolArray, Float32Array, Int64Array


def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Fresh storage. Zeros are free: pages come from the system only when written."""
    return np.zeros(shape, dtype)


@dataclass(frozen=True)
class Columns:
    """T rows of S slots. The arrays are written in place by the buffer that owns them."""

    observation: Mapping[str, Array]
    """{name: [T, S, *shape]} in the spec's dtype."""

    action: Mapping[str, Array]
    """{"continuous": [T, S, D] float32, "discrete": [T, S, N] int64}, those the spec has."""

    action_mask: BoolArray
    """[T, S, C]."""

    log_prob: Float32Array
    """[T, S]."""

    value: Float32Array
    """[T, S, V]."""

    reset: BoolArray
    """[T, S]."""

    policy_version: Int64Array
    """[T, S]."""

    reward: Float32Array
    """[T, S]."""

    next_value: Float32Array
    """[T, S, V]."""

    boundary: BoolArray
    """[T, S]."""

    @classmethod
    def for_spec(
        cls, spec: BehaviourSpec, *, num_values: int, num_rows: int, num_slots: int
    ) -> "Columns":
        """Storage of that many rows and slots for a behaviour's steps, V = `num_values`."""

        def cells(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[Any]:
            return allocate((num_rows, num_slots, *shape), dtype)

        action: dict[str, Array] = {}
        if spec.action.continuous_size:
            action["continuous"] = cells(np.float32, spec.action.continuous_size)
        if spec.action.branches:
            action["discrete"] = cells(np.int64, len(spec.action.branches))
        return cls(
            observation={o.name: cells(o.numpy_dtype, *o.shape) for o in spec.observations},
            action=action,
            action_mask=cells(np.bool_, spec.action.num_choices),
            log_prob=cells(np.float32),
            value=cells(np.float32, num_values),
            reset=cells(np.bool_),
            policy_version=cells(np.int64),
            reward=cells(np.float32),
            next_value=cells(np.float32, num_values),
            boundary=cells(np.bool_),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(T, S)."""
        rows, slots = self.reward.shape
        return rows, slots

    def changed(self, change: Callable[[Array], Array]) -> "Columns":
        """Columns of `change` applied to every array."""
        each: dict[str, Any] = {
            name: {key: change(array) for key, array in value.items()}
            if isinstance(value, Mapping)
            else change(value)
            for name, value in self._fields()
        }
        return Columns(**each)

    def resized(self, *, num_rows: int, num_slots: int) -> "Columns":
        """A copy with room for that many rows and slots, neither fewer than now."""
        rows, slots = self.shape

        def larger(array: Array) -> Array:
            copy = allocate((num_rows, num_slots, *array.shape[2:]), array.dtype)
            copy[:rows, :slots] = array
            return copy

        return self.changed(larger)

    def taken(self, *, num_rows: int, slots: Int64Array) -> "Columns":
        """A copy of the first rows of these slots, one column each, in their order."""
        return self.changed(lambda array: np.take(array[:num_rows], slots, axis=1))

    def move_to_top(self, row: Int64Array, slot: Int64Array) -> None:
        """Copy row `row[i]` of slot `slot[i]` to row 0 of that slot."""
        for _, value in self._fields():
            for array in value.values() if isinstance(value, Mapping) else (value,):
                array[0, slot] = array[row, slot]

    def state(self, *, num_rows: int) -> State:
        """A copy of the first rows. Mappings become lists, in the spec's order."""
        return {
            name: [array[:num_rows].copy() for array in value.values()]
            if isinstance(value, Mapping)
            else value[:num_rows].copy()
            for name, value in self._fields()
        }

    @classmethod
    def from_state(
        cls, state: State, spec: BehaviourSpec, *, num_values: int, num_slots: int
    ) -> "Columns":
        """The storage that `state` is a copy of; CheckpointError if it is of another spec."""
        template = cls.for_spec(spec, num_values=num_values, num_rows=0, num_slots=num_slots)
        rows = len(read_array(state, "reward", np.float32, shape=(None, num_slots)))
        each: dict[str, Any] = {}
        for name, value in template._fields():
            if not isinstance(value, Mapping):
                shape = (rows, num_slots, *value.shape[2:])
                each[name] = read_array(state, name, value.dtype, shape=shape)
                continue
            arrays = read_array_list(state, name, length=len(value))
            each[name] = {
                key: fitting(
                    array, f"{name} '{key}'", like.dtype, shape=(rows, num_slots, *like.shape[2:])
                )
                for (key, like), array in zip(value.items(), arrays, strict=True)
            }
        return cls(**each)

    def _fields(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):
            yield field.name, getattr(self, field.name)
