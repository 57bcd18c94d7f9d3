"""Scales rewards: by a factor, after dividing them by the deviation of their discounted sum.

Each of the two is an option. For the division, per slot a discounted sum of the rewards so far runs
along,

    sum[slot] = discount * sum[slot] + reward,   starting from 0 in each episode,

and every value it takes goes into one running mean and variance. Rewards are divided by

    sqrt(variance + mean^2 / count)

and clipped; their mean is left alone, for its sign is what the task is about. The second summand
matters for the first few rewards only, which say little about a variance yet. It stands where
others add 1e-8, and has the unit of the rewards: those of 1e-12 are scaled as those of 1e12 are.

Source: Engstrom et al. 2020, "Implementation Matters in Deep Policy Gradients"
(arXiv:2005.12729), section 3; as `VecNormalize` of OpenAI Baselines and `NormalizeReward` of Gym do
it. The running variance is Chan et al. 1979, "Updating Formulae and a Pairwise Algorithm".
"""

import math
from typing import Protocol

import numpy as np

from entrain.rollout.slot_arrays import grow, read_array
from entrain.rounds import NO_NUMBERS, Moments
from entrain.state import State
from entrain_envs.timestep import Float32Array, Int64Array


class RewardScaling(Protocol):
    """How a reward is changed before it is stored."""

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        ...

    def begin(self, slot: Int64Array) -> None:
        """An episode begins in these slots."""
        ...

    def scale(self, slot: Int64Array, reward: Float32Array) -> Float32Array:
        """[N] what to store for `reward` [N], which the agents of `slot` [N] just earned."""
        ...

    @property
    def moments(self) -> Moments:
        """Of all numbers that decide how rewards are scaled."""
        ...

    def add(self, moments: Moments) -> None:
        """Let further numbers decide, too."""
        ...

    def state(self) -> State:
        """The statistics that decide how later rewards are scaled."""
        ...

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; a run may be resumed with another scaling."""
        ...


class RawRewards:
    """Rewards as they are, but for a factor."""

    def __init__(self, *, factor: float = 1.0) -> None:
        self._factor = np.float32(factor)

    def grow(self, num_slots: int) -> None:
        """Do nothing."""

    def begin(self, slot: Int64Array) -> None:
        """Do nothing."""

    def scale(self, slot: Int64Array, reward: Float32Array) -> Float32Array:  # noqa: ARG002
        """`reward` itself, or times the factor."""
        return reward if self._factor == 1.0 else self._factor * reward

    @property
    def moments(self) -> Moments:
        """None are needed."""
        return NO_NUMBERS

    def add(self, moments: Moments) -> None:
        """Do nothing."""

    def state(self) -> State:
        """Empty."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing, also if rewards were scaled until now."""


class RewardScaler:
    """Divides rewards by the running deviation of their discounted sum. Owned by the collector."""

    def __init__(self, *, discount: float, clip: float, factor: float = 1.0) -> None:
        self._discount = discount
        self._clip = clip
        self._factor = factor
        self._sum = np.zeros(0, np.float64)
        self._count = 0.0
        self._mean = 0.0
        self._variance = 0.0

    def __repr__(self) -> str:
        return f"<RewardScaler: divides by {self.divisor:g}>"

    @property
    def divisor(self) -> float:
        """The number that rewards are divided by now; 1 while all have been zero."""
        if self._count == 0.0:
            return 1.0
        return math.sqrt(self._variance + self._mean * self._mean / self._count) or 1.0

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        self._sum = grow(self._sum, num_slots)

    def begin(self, slot: Int64Array) -> None:
        """An episode begins in these slots: their sums start from zero."""
        self._sum[slot] = 0.0

    def scale(self, slot: Int64Array, reward: Float32Array) -> Float32Array:
        """Add [N] rewards to the statistics, then scale them.

        Args:
            slot: [N] no slot twice.
            reward: [N] as the simulators gave it.

        Returns:
            [N] reward / divisor, within plus and minus the clip, times the factor.
        """
        if len(reward) == 0:
            return reward
        discounted = self._discount * self._sum[slot] + reward
        self._sum[slot] = discounted
        mean = float(discounted.sum()) / len(discounted)
        deviation = discounted - mean
        self._add(len(discounted), mean, float(deviation @ deviation) / len(discounted))
        # In float64: the divisor may be less than float32 holds, and the quotient more.
        scaled = reward / np.float64(self.divisor)
        clipped = np.clip(scaled, -self._clip, self._clip, out=scaled)
        return (self._factor * clipped).astype(np.float32)

    @property
    def moments(self) -> Moments:
        """Of the discounted sums."""
        return self._count, self._mean, self._variance

    def add(self, moments: Moments) -> None:
        """Count the discounted sums of other ranks, too."""
        if moments[0]:
            self._add(*moments)

    def _add(self, count: float, mean: float, variance: float) -> None:
        # With d = mean_b - mean_a and n = n_a + n_b (Chan et al.):
        #   mean     = mean_a + d * n_b / n
        #   variance = (n_a variance_a + n_b variance_b + d^2 n_a n_b / n) / n
        total = self._count + count
        distance = mean - self._mean
        spread = distance * distance * self._count * count / total
        self._variance = (self._count * self._variance + count * variance + spread) / total
        self._mean += distance * count / total
        self._count = total

    def state(self) -> State:
        """Running sums and statistics."""
        return {
            "sum": self._sum.copy(),
            "count": self._count,
            "mean": self._mean,
            "variance": self._variance,
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; begin here if rewards were not scaled until now."""
        if not state:
            return
        self._sum = read_array(state, "sum", np.float64, shape=(None,))
        self._count = float(state["count"])
        self._mean = float(state["mean"])
        self._variance = float(state["variance"])
