"""The curves of one policy in bounded memory, however long it learns.

A row is what one update measured. Once there are `most` rows, pairs of them become one: of each
metric the least, the mean and the largest value are kept, so that no spike is lost. From then on a
row is what twice as many updates measured.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Float64Array: TypeAlias = NDArray[np.float64]

MOST_ROWS = 400
"""Of one policy."""

MOST_NAMES = 400
"""Metrics of one policy; further ones have no curve."""

_PARTS = ("low", "mean", "high")
_LOW, _MEAN, _HIGH = range(3)


@dataclass(frozen=True)
class Curve:
    """One metric over N rows; NaN where a row has no value of it."""

    low: Float64Array
    """[N] least value of the row's updates."""

    mean: Float64Array
    """[N]."""

    high: Float64Array
    """[N] largest value."""


class Curves:
    """All curves of one policy. Owned by the event loop."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        """No rows yet, and never more than `most`, an even number."""
        self._most = most
        self._names: dict[str, int] = {}
        self._values = np.full((0, most, 3), np.nan)
        self._counts = np.zeros((0, most))
        self._first = np.zeros(most, np.int64)
        self._env_steps = np.zeros(most, np.int64)
        self._wall_time = np.zeros(most)
        self._seconds = np.zeros(most)
        self._rows = 0
        self._in_last = 0
        self._per_row = 1
        self.updates = 0
        """Updates and evaluations that were noted."""
        self.newest: Mapping[str, float] = {}
        """What the last of them that measured it did."""

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> Sequence[str]:
        """The metrics that have a curve, in the order in which they came."""
        return tuple(self._names)

    def note(
        self, metrics: Mapping[str, float], *, env_steps: int, wall_time: float, seconds: float
    ) -> None:
        """Take what one more update, or an evaluation, measured.

        Args:
            metrics: by name.
            env_steps: of the policy by then.
            wall_time: seconds since 1970, by a clock that may be set.
            seconds: of the run by then, which only grow; NaN if they are not known.
        """
        if self._in_last == self._per_row or not self._rows:
            self._begin_row()
        row = self._rows - 1
        self._env_steps[row] = env_steps
        self._wall_time[row] = wall_time
        self._seconds[row] = seconds
        self._in_last += 1
        self.updates += 1
        self.newest = {**self.newest, **metrics}
        for name, value in metrics.items():
            if math.isfinite(value):
                self._note_value(name, row, value)

    def _begin_row(self) -> None:
        if self._rows == self._most:
            self._merge_pairs()
            # The last pair may be one that a row of twice the length goes on with.
        self._first[self._rows] = self.updates
        self._rows += 1
        self._in_last = 0

    def _note_value(self, name: str, row: int, value: float) -> None:
        index = self._names.get(name)
        if index is None:
            if len(self._names) == MOST_NAMES:
                return
            index = self._names[name] = len(self._names)
            if index == len(self._values):
                self._make_room()
        count = self._counts[index, row]
        cell = self._values[index, row]
        if count:
            cell[_LOW] = min(cell[_LOW], value)
            cell[_MEAN] += (value - cell[_MEAN]) / (count + 1)
            cell[_HIGH] = max(cell[_HIGH], value)
        else:
            cell[:] = value
        self._counts[index, row] = count + 1

    def _make_room(self) -> None:
        more = 32
        empty = np.full((more, self._most, 3), np.nan)
        self._values = np.concatenate([self._values, empty])
        self._counts = np.concatenate([self._counts, np.zeros((more, self._most))])

    def _merge_pairs(self) -> None:
        """Rows 2i and 2i + 1 become row i."""
        half = self._most // 2
        counts = self._counts.reshape(len(self._counts), half, 2)
        pairs = self._values.reshape(len(self._values), half, 2, 3)
        total = counts.sum(axis=2)
        weighted = np.where(counts > 0, counts * pairs[..., _MEAN], 0.0).sum(axis=2)
        merged = np.full_like(self._values, np.nan)
        known = total > 0
        low = np.where(counts > 0, pairs[..., _LOW], np.inf).min(axis=2)
        high = np.where(counts > 0, pairs[..., _HIGH], -np.inf).max(axis=2)
        merged[:, :half, _LOW] = np.where(known, low, np.nan)
        merged[:, :half, _MEAN] = np.where(known, weighted / np.maximum(total, 1), np.nan)
        merged[:, :half, _HIGH] = np.where(known, high, np.nan)
        self._values = merged
        self._counts[:, :half], self._counts[:, half:] = total, 0.0
        self._first[:half] = self._first[: 2 * half : 2]
        for column in (self._env_steps, self._wall_time, self._seconds):
            column[:half] = column[1 : 2 * half : 2]
        self._rows = half
        self._per_row *= 2

    def rows_after(self, update: int, *, most: int) -> slice:
        """Returns the newest `most` rows that begin with that update, counted from 0, or later."""
        begin = int(np.searchsorted(self._first[: self._rows], update))
        return slice(max(begin, self._rows - most), self._rows)

    def first_updates(self, rows: slice) -> NDArray[np.int64]:
        """[N] the update, counted from 0, that each row begins with. Rows are known by it."""
        return self._first[rows].copy()

    def env_steps(self, rows: slice) -> NDArray[np.int64]:
        """[N] env steps of the policy at each row's end."""
        return self._env_steps[rows].copy()

    def wall_time(self, rows: slice) -> Float64Array:
        """[N] seconds since 1970 at each row's end."""
        return self._wall_time[rows].copy()

    def seconds(self, rows: slice) -> Float64Array:
        """[N] seconds of the run at each row's end; NaN where they are not known."""
        return self._seconds[rows].copy()

    def curve(self, name: str, rows: slice) -> Curve | None:
        """Returns one metric's values in these rows; None if it has no curve."""
        index = self._names.get(name)
        if index is None:
            return None
        low, mean, high = (self._values[index, rows, part].copy() for part in range(3))
        return Curve(low, mean, high)

    def env_steps_per_second(self) -> float:
        """Of the last tenth of the rows, at least of two; NaN if they say nothing."""
        rows = max(2, self._rows // 10)
        if self._rows < 2:
            return math.nan
        begin, end = max(0, self._rows - rows), self._rows - 1
        seconds = self._seconds[end] - self._seconds[begin]
        steps = self._env_steps[end] - self._env_steps[begin]
        return float(steps / seconds) if seconds > 0 and steps > 0 else math.nan


def coarser(rows: Sequence[int] | NDArray[np.int64], most: int) -> Iterable[int]:
    """Returns positions of at most `most` of these rows, evenly spread, the last among them."""
    count = len(rows)
    if count <= most:
        return range(count)
    spread = np.unique(np.linspace(count - 1, 0, most).round().astype(np.int64))
    return [int(position) for position in spread]
