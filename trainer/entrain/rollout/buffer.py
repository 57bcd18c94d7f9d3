"""Stores steps, opened by an action and closed by its outcome, and cuts them into rollouts.

One column of steps per slot. The open step of a slot, if it has one, lies in place behind the
slot's closed ones, at row `length[slot]`; closing it fills in the outcome and adds one to the
length. So columns of simulators of unequal speed end raggedly, and nothing is ever moved but, at a
cut, the open steps to the top of the next rollout.

A call's `slot` never holds the same slot twice. Nothing here knows of policies or sessions.
"""

from collections.abc import Mapping

import numpy as np
import torch

from entrain.experience import Rollout
from entrain.rollout.columns import Columns, Layout
from entrain.rollout.ledger import Ledger
from entrain.rollout.sequence_states import SequenceStates
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import (
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    StepType,
    UInt8Array,
)

_MID = int(StepType.MID)
_TERMINATED = int(StepType.TERMINATED)
_OF_THE_OUTCOME = {"reward", "next_value", "boundary"}
"""Fields that `close` writes; `open` is given all others."""

_FIRST_ROWS = 2
"""Room per slot to begin with; it doubles until it fits a rollout."""


class RolloutBuffer:
    """Columns of closed steps, and the open step of each slot. Owned by the collector.

    A rollout it hands out is a copy, and never changes.
    """

    def __init__(
        self,
        spec: BehaviourSpec,
        *,
        num_values: int = 1,
        state_size: int = 0,
        sequence_length: int = 1,
        burn_in: int = 0,
        rollout_type: type[Rollout] = Rollout,
    ) -> None:
        """Empty storage.

        Args:
            spec: what the policy is shown and how it acts.
            num_values: V, the critic's value heads.
            state_size: S, numbers of recurrent state; 0 without memory.
            sequence_length: rows of the sequences that columns will be cut into, and
            burn_in: rows before them from which they are unrolled: they say which rows' states a
                rollout needs. Without memory they say nothing.
            rollout_type: what `cut` makes; its fields that are marked `Stored` are what is stored.
        """
        self._rollout_type = rollout_type
        self._layout = Layout(rollout_type, spec, num_values)
        self._columns = self._layout.allocate(num_rows=_FIRST_ROWS, num_slots=0)
        self._known_when_opened = self._columns.arrays.keys() - _OF_THE_OUTCOME
        self._length = np.zeros(0, np.int64)
        self._is_open = np.zeros(0, np.bool_)
        self._states = SequenceStates(state_size, sequence_length=sequence_length, burn_in=burn_in)
        self._has_states = state_size > 0
        self._capacity = _FIRST_ROWS
        self._opened = self._closed = self._dropped = 0
        self._num_closed = 0

    def __repr__(self) -> str:
        return f"<RolloutBuffer: {self._num_closed} closed, {self.ledger.open} open steps>"

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped since training began."""
        return Ledger(self._opened, self._closed, self._dropped)

    @property
    def env_steps(self) -> int:
        """Steps closed since training began."""
        return self._closed

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
        self._opened = self._closed = env_steps

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        if num_slots <= len(self._length):
            return
        self._length = grow(self._length, num_slots)
        self._is_open = grow(self._is_open, num_slots)
        self._states.grow(len(self._length))
        rows, _ = self._columns.shape
        self._columns = self._columns.resized(num_rows=rows, num_slots=len(self._length))

    def open(
        self,
        slot: Int64Array,
        *,
        recurrent_state: Float32Array,
        **values: Array | Mapping[str, Array] | int,
    ) -> None:
        """Write N steps whose outcome is awaited. A step still open in such a slot is dropped.

        Args:
            slot: [N].
            recurrent_state: [N, S] before this step, before its `reset` clears it.
            values: all stored fields of a rollout but those of the outcome, by name: [N, ...], or
                {name: [N, ...]} for observations and actions.
        """
        if values.keys() != self._known_when_opened:
            raise TypeError(
                f"open() was given {sorted(values)}; it needs {sorted(self._known_when_opened)}"
            )
        if self._is_open[slot].any():
            self.drop(slot)
        row = self._length[slot]
        if len(row) and row.max() >= self._capacity:
            self._reserve(int(row.max()) + 1)
        for name, value in values.items():
            stored = self._columns.arrays[name]
            if type(stored) is dict:
                for key, array in stored.items():
                    array[row, slot] = value[key]  # type: ignore[index]
            else:
                stored[row, slot] = value
        if self._has_states:
            self._states.open(row, slot, recurrent_state)
        self._is_open[slot] = True
        self._opened += len(slot)

    def close(
        self, slot: Int64Array, *, step_type: UInt8Array, reward: Float32Array, value: Float32Array
    ) -> None:
        """Write the outcome of N open steps.

        Args:
            slot: [N] each with an open step.
            step_type: [N] MID, TERMINATED or TRUNCATED: of the timestep that is the outcome.
            reward: [N].
            value: [N, V] critic's values of the observation that followed. They count for nothing
                where TERMINATED; where TRUNCATED they are those of the true final observation.
        """
        row = self._length[slot]
        arrays = self._columns.arrays
        arrays["reward"][row, slot] = reward
        next_value = arrays["next_value"]
        next_value[row, slot] = value
        arrays["boundary"][row, slot] = step_type > _MID
        without_future = np.flatnonzero(step_type == _TERMINATED)
        if len(without_future):
            next_value[row[without_future], slot[without_future]] = 0.0
        self._length[slot] = row + 1
        self._is_open[slot] = False
        self._num_closed += len(slot)
        self._closed += len(slot)

    def drop(self, slot: Int64Array) -> None:
        """Forget the open steps that these slots have: their agents left.

        The last closed step of such a slot ends its sequence: what follows in its column, if
        anything, is another life. Its `next_value`, that of the dropped step's observation, stays.
        """
        dropped = slot[self._is_open[slot]]
        if len(dropped) == 0:
            return
        self._end_sequences(dropped)
        self._is_open[dropped] = False
        self._dropped += len(dropped)

    def cut(self) -> Rollout:
        """Return all closed steps, a column for each slot that has any; keep the open ones."""
        slots = np.flatnonzero(self._length)
        self._end_sequences(slots)
        rows = int(self._length.max(initial=0))
        taken = self._columns.taken(num_rows=rows, slots=slots)
        valid = np.arange(rows)[:, np.newaxis] < self._length[slots]
        sequence_state = self._states.taken(num_rows=rows, slots=slots)
        self._carry_open_steps()
        return self._rollout_type(
            **taken.changed(torch.from_numpy),
            valid=torch.from_numpy(valid),
            sequence_state=torch.from_numpy(sequence_state),
        )

    def _end_sequences(self, slot: Int64Array) -> None:
        # A slot without a closed step has nothing to end. Its row -1 is the last one in storage,
        # where it has no step either, and which closing a step overwrites.
        self._columns.arrays["boundary"][self._length[slot] - 1, slot] = True

    def _carry_open_steps(self) -> None:
        carried = np.flatnonzero(self._is_open)
        self._columns.move_to_top(self._length[carried], carried)
        self._states.carry(carried)
        self._length[:] = 0
        self._num_closed = 0

    def _reserve(self, num_rows: int) -> None:
        rows, slots = self._columns.shape
        if num_rows > rows:
            self._columns = self._columns.resized(num_rows=max(num_rows, 2 * rows), num_slots=slots)
        self._capacity = self._columns.shape[0]

    def state(self) -> State:
        """Closed and open steps, lengths and counts."""
        rows = int((self._length + self._is_open).max(initial=0))
        return {
            "columns": self._columns.state(num_rows=rows),
            "length": self._length.copy(),
            "is_open": self._is_open.copy(),
            "states": self._states.state(),
            "ledger": self.ledger.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec."""
        length = read_array(state, "length", np.int64, shape=(None,))
        slots = len(length)
        is_open = read_array(state, "is_open", np.bool_, shape=(slots,))
        columns = Columns.from_state(state["columns"], self._layout, num_slots=slots)
        self._states.load_state(state["states"], num_slots=slots)
        self._columns, self._length, self._is_open = columns, length, is_open
        ledger = Ledger(**state["ledger"])
        self._opened, self._closed, self._dropped = ledger.opened, ledger.closed, ledger.dropped
        self._num_closed = int(length.sum())
        self._reserve(_FIRST_ROWS)
