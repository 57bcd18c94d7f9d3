"""The rows of a replay: arrays of equal length, and how new transitions are linked to them.

Nothing here knows which rows are new and which are old, but that they are numbered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.state import State, piece_bounds, rows_of
from entrain.transitions import ReplayBatch, Transitions
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import BoolArray, Float32Array, Int64Array

Rows: TypeAlias = Mapping[str, Any]
"""{name of an array: its N rows}."""


@dataclass(frozen=True)
class Linked:
    """Which rows the N transitions of a part are written to, by their numbers."""

    row: Int64Array
    """[N] from which the action was chosen."""

    next_row: Int64Array
    """[N] of what followed: always a new one."""

    begins: BoolArray
    """[N] true where `row` is a new one, too."""

    is_last: BoolArray
    """[N] true for the last transition of its stream."""

    end: int
    """The number of the row that comes next."""

    @property
    def new_rows(self) -> Int64Array:
        """Of `row`, those that are new."""
        return self.row[self.begins]


def link(
    stream: Int64Array, continues: BoolArray, *, latest: Int64Array, end: int, capacity: int
) -> Linked:
    """Number the rows of N transitions, in their order.

    A transition that continues its stream is written to the row of what followed the one before.
    All others begin with a row of their own; so does one whose row is overwritten by this part.

    Args:
        stream: [N], at most half as many as the capacity.
        continues: [N] see `Transitions`.
        latest: [streams] number of the row of what followed each stream's last transition, or -1.
        end: number of the first new row.
        capacity: how many rows there are.
    """
    count = len(stream)
    order = np.argsort(stream, kind="stable")
    is_same = stream[order][1:] == stream[order][:-1]
    before = np.full(count, -1, np.int64)
    before[order[1:][is_same]] = order[:-1][is_same]
    is_last = np.ones(count, np.bool_)
    is_last[order[:-1][is_same]] = False
    is_first = before < 0
    known = latest[stream]
    begins = ~continues | (is_first & (known < 0))
    while True:
        numbers = end + np.cumsum(1 + begins)
        new_end = int(numbers[-1]) if count else end
        lost = ~begins & is_first & (known < new_end - capacity)
        if not lost.any():
            break
        begins = begins | lost
    next_row = numbers - 1
    row = np.where(begins, next_row - 1, np.where(is_first, known, next_row[before]))
    return Linked(row=row, next_row=next_row, begins=begins, is_last=is_last, end=new_end)


class ReplayRows:
    """M rows, written in place by the replay that owns them."""

    def __init__(self, spec: BehaviourSpec, capacity: int) -> None:
        """All rows are empty; their memory is taken when they are written.

        Args:
            spec: of observations and actions.
            capacity: M.
        """

        def cells(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[Any]:
            return np.zeros((capacity, *shape), dtype)

        action = spec.action
        self._observation = {o.name: cells(o.numpy_dtype, *o.shape) for o in spec.observations}
        self._action: dict[str, npt.NDArray[Any]] = {}
        if action.continuous_size:
            self._action["continuous"] = cells(np.float32, action.continuous_size)
        if action.branches:
            self._action["discrete"] = cells(np.int32, len(action.branches))
        self._action_mask: BoolArray = cells(np.bool_, action.num_choices)
        self.is_learnable: BoolArray = cells(np.bool_)
        """[M] true where there is a step that can be learned from."""
        self.next_place: Int64Array = cells(np.int64)
        """[M] of what followed the row's step, if it has one."""
        self.reward: Float32Array = cells(np.float32)
        """[M]."""
        self.terminated: BoolArray = cells(np.bool_)
        """[M] whether nothing of worth can follow."""
        self.policy_version: Int64Array = cells(np.int64)
        """[M] of the policy that chose the action."""

        self.capacity = capacity
        """M."""
        of_steps = ("is_learnable", "next_place", "reward", "terminated", "policy_version")
        self.arrays: Rows = {
            **{f"observation/{name}": array for name, array in self._observation.items()},
            **{f"action/{name}": array for name, array in self._action.items()},
            "action_mask": self._action_mask,
            **{name: getattr(self, name) for name in of_steps},
        }
        """{name: [M, ...]} every array, to be written by its owner alone."""
        self.of_situations = {"action_mask", *(f"observation/{it}" for it in self._observation)}
        """Names of arrays that hold something in every row; the others hold something of steps."""

    @property
    def num_bytes(self) -> int:
        """Of all rows."""
        return sum(array.nbytes for array in self.arrays.values())

    def make(self, place: Int64Array, observation: Mapping[str, Tensor], mask: Tensor) -> None:
        """Write what was seen to N rows, which have no step yet."""
        for name, array in self._observation.items():
            array[place] = observation[name].numpy()
        self._action_mask[place] = mask.numpy()
        self.is_learnable[place] = False

    def write_steps(
        self, place: Int64Array, transitions: Transitions, part: slice, next_place: Int64Array
    ) -> None:
        """Write the steps of a part of the transitions to N rows."""
        for name, array in self._action.items():
            array[place] = transitions.action[name][part].numpy()
        self.is_learnable[place] = ~transitions.late[part].numpy()
        self.next_place[place] = next_place
        self.reward[place] = transitions.reward[part].numpy()
        self.terminated[place] = transitions.terminated[part].numpy()
        self.policy_version[place] = transitions.policy_version[part].numpy()

    def batch(
        self,
        place: Int64Array,
        next_place: Int64Array,
        reward: Float32Array,
        bootstrap: Float32Array,
    ) -> ReplayBatch:
        """The steps of these rows; for all arguments see `ReplayBatch`."""

        def taken(array: npt.NDArray[Any], rows: Int64Array) -> Tensor:
            return torch.from_numpy(array[rows])

        action = {name: taken(array, place) for name, array in self._action.items()}
        if "discrete" in action:
            action["discrete"] = action["discrete"].long()
        return ReplayBatch(
            observation={name: taken(each, place) for name, each in self._observation.items()},
            action=action,
            action_mask=taken(self._action_mask, place),
            reward=torch.from_numpy(reward),
            next_observation={
                name: taken(each, next_place) for name, each in self._observation.items()
            },
            next_action_mask=taken(self._action_mask, next_place),
            bootstrap=torch.from_numpy(bootstrap),
        )

    def taken(self, place: Int64Array) -> Rows:
        """A copy of N rows."""
        return {name: array[place] for name, array in self.arrays.items()}

    def put(self, place: Int64Array, rows: Rows) -> None:
        """Overwrite N rows by what `taken` returned."""
        for name, array in self.arrays.items():
            array[place] = rows[name]

    def load(self, state: State) -> tuple[int, int]:
        """Overwrite the first rows by those of `state`; the newest of them if it has more.

        Returns:
            count: of the rows.
            left: how many were left out.

        Raises:
            CheckpointError: it is of another spec.
        """
        arrays = self.arrays
        if arrays.keys() != state.keys():
            raise CheckpointError(
                f"the checkpoint's replay has {', '.join(sorted(state))}; this run's has "
                f"{', '.join(sorted(arrays))}; resume with the behaviour it was made for"
            )
        count = state["reward"].shape[0]
        left = max(0, count - len(self.reward))
        for name, array in arrays.items():
            stored = state[name]
            if stored.dtype != array.dtype or stored.shape != (count, *array.shape[1:]):
                raise CheckpointError(
                    f"the checkpoint's replay has {name} as {stored.dtype}{list(stored.shape)}, "
                    f"this run as {array.dtype}{[count, *array.shape[1:]]}; resume with the "
                    "behaviour it was made for"
                )
            for begin, end in piece_bounds((count, *array.shape[1:]), array.dtype):
                if end > left:
                    array[max(0, begin - left) : end - left] = rows_of(
                        stored, max(begin, left), end
                    )
        # Rows without a step have 0, and stay at a place that there is.
        self.next_place[: count - left] = np.maximum(self.next_place[: count - left] - left, 0)
        return count - left, left
