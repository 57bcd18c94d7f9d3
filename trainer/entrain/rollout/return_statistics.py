"""How the returns of one policy's episodes developed: the first hundred, the last, the best.

A hundred returns are kept at each end, whatever the number of episodes.
"""

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from entrain.rollout.slot_arrays import read_array
from entrain.state import State

WINDOW = 100
"""Episodes whose mean is taken."""


class ReturnStatistics:
    """Owned by the episode log."""

    def __init__(self) -> None:
        self.count = 0
        """Episodes that ended."""
        self.best = -math.inf
        """The highest return."""
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)

    def __repr__(self) -> str:
        return f"<ReturnStatistics: {self.count} episodes, last {self.last_mean:.3g}>"

    def add(self, returns: NDArray[np.float64]) -> None:
        """Count episodes that ended at the same moment: [N] returns, N at least 1."""
        values = returns.tolist()
        self.count += len(values)
        self.best = max(self.best, *values)
        self._first += values[: WINDOW - len(self._first)]
        self._last.extend(values)

    @property
    def first_mean(self) -> float:
        """Mean return of the first episodes, at most `WINDOW`; NaN without any."""
        return float(np.mean(self._first)) if self.count else math.nan

    @property
    def last_mean(self) -> float:
        """Mean return of the last episodes, at most `WINDOW`; NaN without any."""
        return float(np.mean(self._last)) if self.count else math.nan

    def state(self) -> State:
        """All of it, for a checkpoint."""
        return {
            "count": self.count,
            "best": self.best if self.count else 0.0,
            "first": np.array(self._first, np.float64),
            "last": np.array(self._last, np.float64),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self.count = int(state["count"])
        self.best = float(state["best"]) if self.count else -math.inf
        self._first = read_array(state, "first", np.float64, shape=(None,)).tolist()
        last = read_array(state, "last", np.float64, shape=(None,)).tolist()
        self._last = deque(last, maxlen=WINDOW)
