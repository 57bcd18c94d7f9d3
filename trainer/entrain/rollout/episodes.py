"""Counts the return and length of each agent's episode, and keeps those of episodes that ended.

Returns are sums of raw rewards: not discounted, not scaled, whatever learning does with them.
Everything is an array indexed by slot; a batch costs the same statements at any size.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from entrain.metrics import (
    EPISODE_LENGTH_MEAN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    EPISODE_RETURN_STD,
    EPISODES,
)
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import Float32Array, Int64Array, StepType, UInt8Array

Float64Array = NDArray[np.float64]
_MID = int(StepType.MID)


class EpisodeLog:
    """Running return and length per slot. Owned by the collector.

    An episode is logged from its FIRST row to its end row. One whose agent leaves before the end
    never counts: the slot's next episode begins with zeros.
    """

    def __init__(self) -> None:
        self._return = np.zeros(0, np.float64)
        self._length = np.zeros(0, np.int64)
        self._ended_returns: list[Float64Array] = []
        self._ended_lengths: list[Int64Array] = []

    def __repr__(self) -> str:
        return f"<EpisodeLog: {sum(map(len, self._ended_lengths))} ended>"

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        self._return = grow(self._return, num_slots)
        self._length = grow(self._length, num_slots)

    def begin(self, slot: Int64Array) -> None:
        """An episode begins in these slots [N]."""
        self._return[slot] = 0.0
        self._length[slot] = 0

    def record(self, slot: Int64Array, step_type: UInt8Array, reward: Float32Array) -> None:
        """Add the outcomes of actions to their episodes.

        Args:
            slot: [N] no slot twice.
            step_type: [N] MID, TERMINATED or TRUNCATED.
            reward: [N] raw.
        """
        self._return[slot] += reward
        self._length[slot] += 1
        ended = slot[step_type > _MID]
        if len(ended):
            self._ended_returns.append(self._return[ended])
            self._ended_lengths.append(self._length[ended])

    def take(self) -> tuple[Float64Array, Int64Array]:
        """Returns [N] and lengths [N] (steps) of the episodes that ended since the last `take`."""
        returns = np.concatenate([np.zeros(0, np.float64), *self._ended_returns])
        lengths = np.concatenate([np.zeros(0, np.int64), *self._ended_lengths])
        self._ended_returns.clear()
        self._ended_lengths.clear()
        return returns, lengths

    def state(self) -> State:
        """Running and ended episodes."""
        return {
            "return": self._return.copy(),
            "length": self._length.copy(),
            "ended_returns": np.concatenate([np.zeros(0, np.float64), *self._ended_returns]),
            "ended_lengths": np.concatenate([np.zeros(0, np.int64), *self._ended_lengths]),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another shape."""
        return_ = read_array(state, "return", np.float64, shape=(None,))
        length = read_array(state, "length", np.int64, shape=(len(return_),))
        ended_returns = read_array(state, "ended_returns", np.float64, shape=(None,))
        ended_lengths = read_array(state, "ended_lengths", np.int64, shape=(len(ended_returns),))
        self._return, self._length = return_, length
        self._ended_returns, self._ended_lengths = [ended_returns], [ended_lengths]


def episode_metrics(returns: Float64Array, lengths: Int64Array) -> Mapping[str, float]:
    """Returns mean, spread and length of finished episodes; only their number, if there are none.

    Args:
        returns: [N] undiscounted sums of rewards.
        lengths: [N] steps.
    """
    if not len(returns):
        return {EPISODES.name: 0.0}
    return {
        EPISODES.name: float(len(returns)),
        EPISODE_RETURN_MEAN.name: float(returns.mean()),
        EPISODE_RETURN_STD.name: float(returns.std()),
        EPISODE_RETURN_MIN.name: float(returns.min()),
        EPISODE_RETURN_MAX.name: float(returns.max()),
        EPISODE_LENGTH_MEAN.name: float(lengths.mean()),
    }
