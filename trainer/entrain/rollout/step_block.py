"""Gathers what is written down of many batches, so that a buffer writes it at once.

One write of a thousand rows takes hardly longer than one of a single row, and a batch of few agents
brings few rows. Nothing here knows what the values mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from entrain_envs.timestep import Array, Int64Array

Values: TypeAlias = Mapping[str, "Array | Mapping[str, Array] | int"]
"""{name: [N, ...]}, {name: {key: [N, ...]}}, or one number for all N rows."""

MOST_BATCHES = 64
"""In a block."""


class StepBlock:
    """Rows of a buffer that are not written yet. Owned by the buffer."""

    def __init__(self, *, most_rows: int) -> None:
        """Empty.

        Args:
            most_rows: with so many the block is full. It is full with `MOST_BATCHES`, too.
        """
        self._most_rows = most_rows
        self._num_rows = 0
        self._row: list[Int64Array] = []
        self._slot: list[Int64Array] = []
        self._values: list[Values] = []

    def __repr__(self) -> str:
        return f"<StepBlock: {self._num_rows} rows of {len(self._row)} batches>"

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._row

    @property
    def is_full(self) -> bool:
        """Whether it should be written now."""
        return len(self._row) >= MOST_BATCHES or self._num_rows >= self._most_rows

    def add(self, row: Int64Array, slot: Int64Array, values: Values) -> None:
        """Note what is to be written to N rows. The arrays must not be changed afterwards."""
        self._row.append(row)
        self._slot.append(slot)
        self._values.append(values)
        self._num_rows += len(slot)

    def take(self) -> tuple[Int64Array, Int64Array, dict[str, Any]]:
        """Returns rows, slots and values of all batches, joined in order, and forgets them.

        The block must not be empty.
        """
        batches = self._values
        taken = (
            np.concatenate(self._row),
            np.concatenate(self._slot),
            {name: self._joined([values[name] for values in batches]) for name in batches[0]},
        )
        self.clear()
        return taken

    def _joined(self, parts: Sequence[Any]) -> Any:
        first = parts[0]
        if isinstance(first, Mapping):
            return {key: np.concatenate([part[key] for part in parts]) for key in first}
        if isinstance(first, int):
            return np.repeat(parts, [len(slot) for slot in self._slot])
        return np.concatenate(parts)

    def clear(self) -> None:
        """Forget what was noted."""
        self._row, self._slot, self._values, self._num_rows = [], [], [], 0
