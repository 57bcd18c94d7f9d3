"""The rows of a replay as they were at one moment, copied piece by piece while they are read.

The replay goes on meanwhile. Before it overwrites a row for the first time since, it hands over
what lay there, so that a snapshot holds a copy of those rows alone: of a replay of any size, a
checkpoint takes as much memory as is overwritten while it is written.

Shapes: M rows of the ring, of which the snapshot has N, numbered from the oldest:
their *positions*.
"""

from threading import RLock
from typing import Any

import numpy as np

from entrain.algorithms.replay_rows import ReplayRows, Rows
from entrain.state import AnyArray, PiecewiseArray, State
from entrain_envs.timestep import Int64Array


class ReplaySnapshot:
    """See the module. It lives as long as the state that it is part of."""

    def __init__(self, rows: ReplayRows, lock: RLock, *, oldest: int, end: int) -> None:
        """Be the rows with the numbers from `oldest` to `end`.

        Args:
            rows: of the replay.
            lock: held while it writes rows.
            oldest: number of the oldest row.
            end: number of the first row that does not exist yet.
        """
        self._rows = rows
        self._lock = lock
        self._oldest = oldest
        self._is_kept = np.zeros(end - oldest, np.bool_)
        """[N] of which rows the content of then is kept, for the replay has another one now."""
        self._kept: list[tuple[Int64Array, Rows]] = []
        """Positions, in order, and what lay there."""

    def __len__(self) -> int:
        return len(self._is_kept)

    def __repr__(self) -> str:
        return f"<ReplaySnapshot: {len(self):,} rows, {self._is_kept.sum():,} of them kept>"

    def keep(self, place: Int64Array, content: Rows) -> None:
        """The rows at these places hold this, and are overwritten next. The lock is held.

        Args:
            place: [R] places in the ring.
            content: {name: [R, ...]}.
        """
        position = self._position(place)
        is_here = position >= 0
        is_here[is_here] = ~self._is_kept[position[is_here]]
        here = np.flatnonzero(is_here)
        if len(here):
            here = here[np.argsort(position[here], kind="stable")]
            self._kept.append((position[here], {name: it[here] for name, it in content.items()}))
            self._is_kept[position[here]] = True

    def keep_all(self) -> None:
        """The whole replay is overwritten next. The lock is held."""
        place = (self._oldest + np.flatnonzero(~self._is_kept)) % self._rows.capacity
        self.keep(place, self._rows.taken(place))

    def _position(self, place: Int64Array) -> Int64Array:
        """[R] of places; -1 for those that hold no row of the snapshot."""
        position: Int64Array = (place - self._oldest) % self._rows.capacity
        position[position >= len(self)] = -1
        return position

    def state(self) -> State:
        """{name: [N, ...]}, to be read at any time and in any thread."""
        return {
            name: _SnapshotArray(self, name, (len(self), *array.shape[1:]), array.dtype)
            for name, array in self._rows.arrays.items()
        }

    def read(self, name: str, begin: int, end: int) -> AnyArray:
        """The rows of one array from position `begin` to `end`, as `ReplayRows.load` takes them."""
        with self._lock:
            values = self._read(name, begin, end)
            if name in self._rows.of_situations:
                return values
            is_learnable = self._read("is_learnable", begin, end)
        if name == "next_place":
            values = self._position(values)
        # An older step has left there what belongs to a step.
        values[~is_learnable] = 0
        return values

    def _read(self, name: str, begin: int, end: int) -> AnyArray:
        place = np.arange(self._oldest + begin, self._oldest + end) % self._rows.capacity
        values: AnyArray = self._rows.arrays[name][place]
        for position, content in self._kept:
            first, last = np.searchsorted(position, (begin, end))
            if first < last:
                values[position[first:last] - begin] = content[name][first:last]
        return values


class _SnapshotArray(PiecewiseArray):
    """One array of a snapshot."""

    def __init__(
        self, snapshot: ReplaySnapshot, name: str, shape: tuple[int, ...], dtype: "np.dtype[Any]"
    ) -> None:
        super().__init__(shape, dtype)
        self._snapshot = snapshot
        self._name = name

    def rows(self, begin: int, end: int) -> AnyArray:
        """See `PiecewiseArray.rows`."""
        return self._snapshot.read(self._name, begin, end)
