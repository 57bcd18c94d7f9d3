"""Stores the recurrent states from which the sequences of a column are unrolled.

A column is cut into sequences of L rows from its top. Sequence q is unrolled from row

    start(q) = max(0, q * L - burn_in),

so the state before that row is kept, and no other: row r is the start of sequence
(r + burn_in) / L if that divides evenly, and row 0 is that of every q up to burn_in / L. Nothing
here knows what a state means.
"""

import numpy as np

from entrain.errors import CheckpointError
from entrain.rollout.columns import allocate
from entrain.rollout.slot_arrays import read_array
from entrain.state import State
from entrain_envs.timestep import Float32Array, Int64Array


class SequenceStates:
    """States at the starts of sequences, [Q, slots, S]. Owned by the rollout buffer.

    With S = 0, for policies without memory, every call returns at once.
    """

    def __init__(self, state_size: int, *, sequence_length: int, burn_in: int) -> None:
        """Keep states of S = `state_size` numbers.

        Args:
            state_size: 0 without memory.
            sequence_length: L, at least 1.
            burn_in: rows before its first that a sequence is unrolled from, where it has them.
        """
        self._sequence_length = sequence_length
        self._burn_in = burn_in
        self._from_top = 1 + burn_in // sequence_length
        """How many sequences start at row 0."""
        self._start = allocate((self._from_top, 0, state_size), np.float32)
        self._open = allocate((0, state_size), np.float32)

    @property
    def is_empty(self) -> bool:
        """Whether states have no numbers."""
        return not self._start.shape[2]

    def grow(self, num_slots: int) -> None:
        """Make room for exactly `num_slots`, not fewer than now."""
        self._resize(len(self._start), num_slots)

    def open(self, row: Int64Array, slot: Int64Array, state: Float32Array) -> None:
        """Steps are opened at these rows: keep the state before each that starts a sequence.

        Args:
            row: [N] of its column.
            slot: [N] no slot twice.
            state: [N, S] before the row, before a reset clears it.
        """
        if self.is_empty:
            return
        self._open[slot] = state
        sequence, offset = np.divmod(row + self._burn_in, self._sequence_length)
        starts = np.flatnonzero((offset == 0) | (row == 0))
        if len(starts) == 0:
            return
        self._reserve(int(sequence.max()) + 1)
        row, slot, state = row[starts], slot[starts], state[starts]
        # A step at the top that starts no sequence by its row writes where the next lines do.
        self._start[sequence[starts], slot] = state
        at_top = row == 0
        self._start[: self._from_top, slot[at_top]] = state[at_top]

    def carry(self, slot: Int64Array) -> None:
        """The open steps of these slots are at row 0 now."""
        if not self.is_empty:
            self._start[: self._from_top, slot] = self._open[slot]

    def taken(self, *, num_rows: int, slots: Int64Array) -> Float32Array:
        """A copy, [Q, len(slots), S], for columns of up to `num_rows` rows.

        Q is their number of sequences, and at least 1. Where a column has no q-th sequence, any
        number may stand.
        """
        count = max(1, -(-num_rows // self._sequence_length))
        if self.is_empty:
            return np.zeros((count, len(slots), 0), np.float32)
        self._reserve(count)
        return np.take(self._start[:count], slots, axis=1)

    def state(self) -> State:
        """A copy of all states, and which rows they are of."""
        return {
            "sequence_length": self._sequence_length,
            "burn_in": self._burn_in,
            "start": self._start.copy(),
            "open": self._open.copy(),
        }

    def load_state(self, state: State, *, num_slots: int) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another policy."""
        state_size = self._start.shape[2]
        start = read_array(state, "start", np.float32, shape=(None, num_slots, state_size))
        open_ = read_array(state, "open", np.float32, shape=(num_slots, state_size))
        then = (int(state["sequence_length"]), int(state["burn_in"]))
        now = (self._sequence_length, self._burn_in)
        if then != now and not self.is_empty:
            raise CheckpointError(
                "the checkpoint keeps the states of memory.sequence_length {} and "
                "memory.burn_in {}, this run needs those of {} and {}; resume with the "
                "options it was made with".format(*then, *now)
            )
        self._start, self._open = start, open_
        self._reserve(self._from_top)

    def _reserve(self, num_sequences: int) -> None:
        sequences, slots, _ = self._start.shape
        if num_sequences > sequences:
            # By doubling alone: the room is part of a checkpoint, and must not depend on how many
            # steps were written at once.
            while sequences < num_sequences:
                sequences *= 2
            self._resize(sequences, slots)

    def _resize(self, num_sequences: int, num_slots: int) -> None:
        sequences, slots, state_size = self._start.shape
        start = allocate((num_sequences, num_slots, state_size), np.float32)
        start[:sequences, :slots] = self._start
        state = allocate((num_slots, state_size), np.float32)
        state[:slots] = self._open
        self._start, self._open = start, state
