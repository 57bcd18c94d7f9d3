"""Stores steps, opened by an action and closed by its outcome, and cuts them into rollouts.

One column of steps per slot. The open step of a slot, if it has one, lies in place behind the
slot's closed ones, at row `length[slot]`; closing it fills in the outcome and adds one to the
length. So columns of simulators of unequal speed end raggedly, and nothing is ever moved but, at a
cut, the open steps to the top of the next rollout. Where a step stands is decided at once; what it
holds is written with many others, before anybody reads it.

A call's `slot` never holds the same slot twice. Nothing here knows of policies or sessions.
"""

import numpy as np
import torch

from entrain.experience import Rollout
from entrain.rollout.columns import Columns, Layout
from entrain.rollout.evaluation import ALL_ROWS, Rows
from entrain.rollout.ledger import Ledger
from entrain.rollout.sequence_states import SequenceStates
from entrain.rollout.slot_arrays import grow, read_array
from entrain.rollout.step_block import StepBlock, Value, Values
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import (
    BoolArray,
    Float32Array,
    Int64Array,
    StepType,
    UInt8Array,
)

_MID = int(StepType.MID)
_TERMINATED = int(StepType.TERMINATED)
_OF_THE_OUTCOME = {"reward", "next_value", "boundary", "late"}
"""Fields that `close` writes; `open` is given all others."""

_MOST_ROWS_UNWRITTEN, _MOST_BYTES_UNWRITTEN = 1024, 2**20

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
        most_rows = max(1, _MOST_BYTES_UNWRITTEN // max(1, self._columns.bytes_per_step))
        most_rows = min(most_rows, _MOST_ROWS_UNWRITTEN)
        self._opened_steps = StepBlock(most_rows=most_rows)
        self._closed_steps = StepBlock(most_rows=most_rows)
        self._closed_slot: Int64Array | None = None
        self._closed_row = np.zeros(0, np.int64)
        """Of the steps that were closed last, while nothing has happened since: usually the same
        slots are opened next."""
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
        rows: Rows = ALL_ROWS,
        recurrent_state: Float32Array,
        **values: Value,
    ) -> None:
        """Write N steps whose outcome is awaited. A step still open in such a slot is dropped.

        Args:
            slot: [N].
            rows: which N of the K rows that the other arguments have; all of them if not given.
            recurrent_state: [K, S] before this step, before its `reset` clears it.
            values: all stored fields of a rollout but those of the outcome, by name; see
                `step_block.Value`.
        """
        if values.keys() != self._known_when_opened:
            raise TypeError(
                f"open() was given {sorted(values)}; it needs {sorted(self._known_when_opened)}"
            )
        if slot is self._closed_slot:
            row = self._closed_row + 1
        else:
            if np.count_nonzero(self._is_open[slot]):
                self.drop(slot)
            row = self._length[slot]
        self._closed_slot = None
        values["recurrent_state"] = recurrent_state
        self._opened_steps.add(row, slot, values, rows=rows)
        self._is_open[slot] = True
        self._opened += len(slot)
        if self._opened_steps.is_full or self._closed_steps.is_full:
            self._write()

    def close(
        self,
        slot: Int64Array,
        *,
        step_type: UInt8Array,
        reward: Float32Array,
        value: Float32Array,
        late: BoolArray | None = None,
    ) -> None:
        """Write the outcome of N open steps.

        Args:
            slot: [N] each with an open step.
            step_type: [N] MID, TERMINATED or TRUNCATED: of the timestep that is the outcome.
            reward: [N].
            value: [N, V] critic's values of the observation that followed. They count for nothing
                where TERMINATED; where TRUNCATED they are those of the true final observation.
            late: [N] true where the fallback acted; None if it never did.
        """
        row = self._length[slot]
        self._closed_slot, self._closed_row = slot, row
        outcome: Values = {
            "reward": reward,
            "next_value": value,
            "step_type": step_type,
            "late": 0 if late is None else late,
        }
        self._closed_steps.add(row, slot, outcome)
        self._length[slot] = row + 1
        self._is_open[slot] = False
        self._num_closed += len(slot)
        self._closed += len(slot)

    def _write(self) -> None:
        """Write down every step that was opened and closed since this was last called."""
        self._closed_slot = None
        if not self._opened_steps.is_empty:
            row, slot, values = self._opened_steps.take()
            self._reserve(int(row.max(initial=-1)) + 1)
            state = values.pop("recurrent_state")
            if self._has_states:
                self._states.open(row, slot, state)
            self._columns.write(row, slot, values)
        if not self._closed_steps.is_empty:
            row, slot, values = self._closed_steps.take()
            step_type = values.pop("step_type")
            values["boundary"] = step_type > _MID
            values["next_value"][step_type == _TERMINATED] = 0.0
            self._columns.write(row, slot, values)

    def drop(self, slot: Int64Array) -> None:
        """Forget the open steps that these slots have: their agents left.

        The last closed step of such a slot ends its sequence: what follows in its column, if
        anything, is another life. Its `next_value`, that of the dropped step's observation, stays.
        """
        dropped = slot[self._is_open[slot]]
        if len(dropped) == 0:
            return
        self._write()
        self._end_sequences(dropped)
        self._is_open[dropped] = False
        self._dropped += len(dropped)

    def cut(self) -> Rollout:
        """Return all closed steps, a column for each slot that has any; keep the open ones."""
        self._write()
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

    def multiply_rewards(self, factor: float) -> None:
        """Let the rewards of all steps, and the values of rewards, be so many times as large."""
        self._write()
        arrays = self._columns.arrays
        arrays["reward"] *= factor
        arrays["value"][..., 0] *= factor
        arrays["next_value"][..., 0] *= factor

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
        self._write()
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
        self._closed_slot = None
        self._opened_steps.clear()
        self._closed_steps.clear()
        self._reserve(_FIRST_ROWS)
