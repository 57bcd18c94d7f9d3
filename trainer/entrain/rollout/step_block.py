"""Gathers what is written down of many batches, so that a buffer writes it at once.

One write of a thousand rows takes hardly longer than one of a single row, and a batch of few agents
brings few rows. Nothing here knows what the values mean.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

from entrain.rollout.evaluation import ALL_ROWS, Rows
from entrain_envs.timestep import Array, Int64Array


class Deferred(ABC):
    """Values that are computed when they are written, those of many batches together."""

    @classmethod
    @abstractmethod
    def joined(cls, parts: Sequence[Self]) -> Array:
        """The values of all parts, in their order."""


Value: TypeAlias = "Array | Mapping[str, Array] | Deferred | int"
"""[K, ...], or {key: [K, ...]}, or one number for all K rows."""

Values: TypeAlias = Mapping[str, Value]

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
        self._rows: list[Rows] = []

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

    def add(
        self, row: Int64Array, slot: Int64Array, values: Values, *, rows: Rows = ALL_ROWS
    ) -> None:
        """Note what is to be written to N rows. The arrays must not be changed afterwards.

        Args:
            row: [N] of the buffer.
            slot: [N] of the buffer.
            values: of K rows.
            rows: which N of those.
        """
        self._row.append(row)
        self._slot.append(slot)
        self._values.append(values)
        self._rows.append(rows)
        self._num_rows += len(slot)

    def take(self) -> tuple[Int64Array, Int64Array, dict[str, Any]]:
        """Returns rows, slots and values of all batches, joined in order, and forgets them.

        The block must not be empty.
        """
        batches = self._values
        rows = self._joined_rows()
        taken = (
            np.concatenate(self._row),
            np.concatenate(self._slot),
            {name: self._joined([values[name] for values in batches], rows) for name in batches[0]},
        )
        self.clear()
        return taken

    def _joined_rows(self) -> Rows:
        """Which rows of the joined values are wanted."""
        if all(rows is ALL_ROWS for rows in self._rows):
            return ALL_ROWS
        wanted, begin = [], 0
        for rows, values in zip(self._rows, self._values, strict=True):
            count = num_rows(values)
            wanted.append(np.arange(begin, begin + count)[rows])
            begin += count
        return np.concatenate(wanted)

    def _joined(self, parts: Sequence[Any], rows: Rows) -> Any:
        first = parts[0]
        if isinstance(first, Mapping):
            return {key: np.concatenate([part[key] for part in parts])[rows] for key in first}
        if any(isinstance(part, int) for part in parts):
            return self._joined_numbers(parts, rows)
        if isinstance(first, Deferred):
            return type(first).joined(parts)[rows]
        return np.concatenate(parts)[rows]

    def _joined_numbers(self, parts: Sequence[Any], rows: Rows) -> Array:
        """Of parts some of which, or all, are one number for all of their rows."""
        if all(isinstance(part, int) for part in parts):
            return np.repeat(parts, [len(slot) for slot in self._slot])
        pairs = zip(parts, self._values, strict=True)
        each: list[Array] = [
            np.full(num_rows(values), part) if isinstance(part, int) else part
            for part, values in pairs
        ]
        return np.concatenate(each)[rows]

    def clear(self) -> None:
        """Forget what was noted."""
        self._row, self._slot, self._values, self._rows, self._num_rows = [], [], [], [], 0


def num_rows(values: Values) -> int:
    """K, of values some of which are arrays."""
    return next(len(value) for value in values.values() if isinstance(value, np.ndarray))
