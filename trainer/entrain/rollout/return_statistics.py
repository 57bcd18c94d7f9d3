"""How the returns of one policy's episodes developed: the first hundred, the last, the best.

A hundred returns are kept at each end, whatever the number of episodes.
"""

import math

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
        self._first = np.zeros(0, np.float64)
        self._last = np.zeros(0, np.float64)

    def __repr__(self) -> str:
        return f"<ReturnStatistics: {self.count} episodes, last {self.last_mean:.3g}>"

    def add(self, returns: NDArray[np.float64]) -> None:
        """Count episodes that ended at the same moment: [N] returns, N at least 1."""
        self.count += len(returns)
        self.best = max(self.best, float(returns.max()))
        self._first = np.concatenate([self._first, returns])[:WINDOW]
        self._last = np.concatenate([self._last, returns])[-WINDOW:]

    @property
    def first_mean(self) -> float:
        """Mean return of the first episodes, at most `WINDOW`; NaN without any."""
        return float(self._first.mean()) if self.count else math.nan

    @property
    def last_mean(self) -> float:
        """Mean return of the last episodes, at most `WINDOW`; NaN without any."""
        return float(self._last.mean()) if self.count else math.nan

    def state(self) -> State:
        """All of it, for a checkpoint."""
        return {
            "count": self.count,
            "best": self.best if self.count else 0.0,
            "first": self._first.copy(),
            "last": self._last.copy(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self.count = int(state["count"])
        self.best = float(state["best"]) if self.count else -math.inf
        self._first = read_array(state, "first", np.float64, shape=(None,))
        self._last = read_array(state, "last", np.float64, shape=(None,))
