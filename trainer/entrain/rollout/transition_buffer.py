"""Stores the open step of each slot, and the steps that were closed since the last cut.

An open step lies in arrays indexed by slot. Closing it gives a row of the next `Transitions`: what
lay there, and what followed. A call's `slot` never holds the same slot twice. Nothing here knows of
policies or sessions.
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain.rollout.evaluation import ALL_ROWS, Rows
from entrain.rollout.ledger import Ledger
from entrain.rollout.slot_arrays import fitting, grow, read_array, read_array_list
from entrain.state import State
from entrain.transitions import Transitions
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import (
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    StepType,
    UInt8Array,
)

_MID, _TERMINATED = int(StepType.MID), int(StepType.TERMINATED)
_TRUNCATED = int(StepType.TRUNCATED)

Row = dict[str, Any]
"""{field of `Transitions`: array, or {name: array} for observations and actions}."""


class TransitionBuffer:
    """See the module. Owned by the collector. Transitions that it hands out never change."""

    def __init__(self, spec: BehaviourSpec) -> None:
        """Empty storage.

        Args:
            spec: what the policy is shown and how it acts.
        """
        self._spec = spec
        self._branch_starts = [0, *accumulate(spec.action.branches)][:-1]
        """Of each branch's choices in a mask."""
        self._open = _cells(spec, 0)
        self._is_open = np.zeros(0, np.bool_)
        self._closed: list[Row] = []
        self._num_closed = 0
        self._counts = Ledger()

    def __repr__(self) -> str:
        return f"<TransitionBuffer: {self._num_closed} closed, {self.ledger.open} open steps>"

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped since training began."""
        return self._counts

    @property
    def env_steps(self) -> int:
        """Steps closed since training began."""
        return self._counts.closed

    @property
    def num_closed(self) -> int:
        """Steps closed since the last cut; a cut would return them."""
        return self._num_closed

    @property
    def is_open(self) -> BoolArray:
        """[slots] true where a step awaits its outcome. Not to be written."""
        return self._is_open

    def begin_at(self, env_steps: int) -> None:
        """Count so many steps as opened and closed; before the first of its own."""
        self._counts = Ledger(env_steps, env_steps)

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        self._is_open = grow(self._is_open, num_slots)
        self._open = _each(self._open, lambda array: grow(array, num_slots))

    def open(
        self,
        slot: Int64Array,
        *,
        rows: Rows = ALL_ROWS,
        observation: Mapping[str, Array],
        action: Mapping[str, Array],
        action_mask: BoolArray,
        continues: BoolArray,
        policy_version: int,
    ) -> None:
        """Write N steps whose outcome is awaited. A step still open in such a slot is dropped.

        Args:
            slot: [N].
            rows: which N of the K rows that the other arguments have; all of them if not given.
            observation: {name: [K, *shape]}.
            action: {"continuous": [K, D], "discrete": [K, branches]} as sampled.
            action_mask: [K, C].
            continues: [K] see `Transitions`.
            policy_version: of the policy that sampled the actions.
        """
        self.drop(slot)
        stored = self._open
        for name, values in observation.items():
            stored["observation"][name][slot] = values[rows]
        for name, values in action.items():
            stored["action"][name][slot] = values[rows]
        stored["action_mask"][slot] = action_mask[rows]
        stored["continues"][slot] = continues[rows]
        stored["policy_version"][slot] = policy_version
        self._is_open[slot] = True
        self._count(opened=len(slot))

    def close(
        self,
        slot: Int64Array,
        *,
        step_type: UInt8Array,
        reward: Float32Array,
        observation: Mapping[str, Array],
        action_mask: BoolArray,
        late: BoolArray | None = None,
    ) -> None:
        """Write the outcome of N open steps.

        Args:
            slot: [N] each with an open step.
            step_type: [N] MID, TERMINATED or TRUNCATED: of the timestep that is the outcome.
            reward: [N].
            observation: {name: [N, *shape]} that followed. It is kept: nobody may write to it.
            action_mask: [N, C] of that timestep; it counts for nothing where the episode
                terminated, or where a branch has no choice left after a truncation.
            late: [N] true where the fallback acted; None if it never did.
        """
        self._closed.append(
            {
                **_each(self._open, lambda array: array[slot]),
                "reward": np.asarray(reward, np.float32),
                "next_observation": dict(observation),
                "next_action_mask": self._following_mask(action_mask, step_type),
                "terminated": step_type == _TERMINATED,
                "late": np.zeros(len(slot), np.bool_) if late is None else late,
                "stream": np.array(slot, np.int64),
            }
        )
        self._is_open[slot] = False
        self._num_closed += len(slot)
        self._count(closed=len(slot))

    def _following_mask(self, mask: BoolArray, step_type: UInt8Array) -> BoolArray:
        """[N, C] of choices that count in what the situation that followed is worth."""
        following: BoolArray = mask | (step_type > _MID)[:, np.newaxis]
        truncated = np.flatnonzero(step_type == _TRUNCATED)
        if len(truncated) and self._branch_starts:
            sent = mask[truncated]
            any_left: BoolArray = np.logical_or.reduceat(sent, self._branch_starts, axis=1)
            has_choice = np.all(any_left, axis=1)
            following[truncated] = sent | ~has_choice[:, np.newaxis]
        return following

    def drop(self, slot: Int64Array) -> None:
        """Forget the open steps that these slots have: their agents left."""
        dropped = slot[self._is_open[slot]]
        self._is_open[dropped] = False
        self._count(dropped=len(dropped))

    def cut(self) -> Transitions:
        """Return all closed steps; keep the open ones."""
        taken = Transitions.from_state(self._joined())
        self._closed, self._num_closed = [], 0
        return taken

    def multiply_rewards(self, factor: float) -> None:
        """Let the rewards of all closed steps be so many times as large."""
        self._closed = [
            {**each, "reward": np.float32(factor) * each["reward"]} for each in self._closed
        ]

    def _joined(self) -> Row:
        """All closed steps as one row of arrays, which nobody else has."""
        parts = [_of_outcome(self._open, self._spec), *self._closed]
        return {
            name: {key: np.concatenate([part[name][key] for part in parts]) for key in value}
            if isinstance(value, Mapping)
            else np.concatenate([part[name] for part in parts])
            for name, value in parts[0].items()
        }

    def _count(self, *, opened: int = 0, closed: int = 0, dropped: int = 0) -> None:
        now = self._counts
        self._counts = Ledger(now.opened + opened, now.closed + closed, now.dropped + dropped)

    def state(self) -> State:
        """Closed and open steps, and counts."""
        return {
            "open": _as_lists(_each(self._open, np.copy)),
            "is_open": self._is_open.copy(),
            "closed": _as_lists(self._joined()),
            "ledger": self.ledger.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec."""
        is_open = read_array(state, "is_open", np.bool_, shape=(None,))
        opened = _read(state["open"], _cells(self._spec, 0), len(is_open))
        closed = _read(state["closed"], _of_outcome(self._open, self._spec), None)
        self._is_open, self._open = is_open, opened
        self._num_closed = len(closed["reward"])
        self._closed = [closed] if self._num_closed else []
        self._counts = Ledger(**state["ledger"])


def _cells(spec: BehaviourSpec, num_slots: int) -> Row:
    """Storage of what is known of a step when it is opened."""

    def cells(dtype: npt.DTypeLike, *shape: int) -> npt.NDArray[Any]:
        return np.zeros((num_slots, *shape), dtype)

    action = spec.action
    actions: dict[str, npt.NDArray[Any]] = {}
    if action.continuous_size:
        actions["continuous"] = cells(np.float32, action.continuous_size)
    if action.branches:
        actions["discrete"] = cells(np.int64, len(action.branches))
    return {
        "observation": {o.name: cells(o.numpy_dtype, *o.shape) for o in spec.observations},
        "action": actions,
        "action_mask": cells(np.bool_, action.num_choices),
        "continues": cells(np.bool_),
        "policy_version": cells(np.int64),
    }


def _of_outcome(opened: Row, spec: BehaviourSpec) -> Row:
    """No steps at all, with every field of `Transitions`."""
    none = _each(opened, lambda array: array[:0])
    return {
        **none,
        "reward": np.zeros(0, np.float32),
        "next_observation": none["observation"],
        "next_action_mask": np.zeros((0, spec.action.num_choices), np.bool_),
        "terminated": np.zeros(0, np.bool_),
        "late": np.zeros(0, np.bool_),
        "stream": np.zeros(0, np.int64),
    }


def _each(row: Row, change: Any) -> Row:
    """Every array changed."""
    return {
        name: {key: change(array) for key, array in value.items()}
        if isinstance(value, Mapping)
        else change(value)
        for name, value in row.items()
    }


def _as_lists(row: Row) -> State:
    """Mappings become lists, in the spec's order."""
    return {
        name: list(value.values()) if isinstance(value, Mapping) else value
        for name, value in row.items()
    }


def _read(state: State, like: Row, length: int | None) -> Row:
    """The arrays that `_as_lists` was given; CheckpointError unless they are shaped as `like`."""
    row: Row = {}
    for name, value in like.items():
        if not isinstance(value, Mapping):
            row[name] = read_array(state, name, value.dtype, shape=(length, *value.shape[1:]))
            continue
        arrays = read_array_list(state, name, length=len(value))
        row[name] = {
            key: fitting(array, f"{name} '{key}'", each.dtype, shape=(length, *each.shape[1:]))
            for (key, each), array in zip(value.items(), arrays, strict=True)
        }
    return row
