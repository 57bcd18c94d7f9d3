"""The unit in which a policy's rewards are counted, and what a change of it leads to.

The options that scale rewards may change when a run is resumed. What was collected until then, and
waits to be learned from, is in the old unit; what follows is in the new one.
"""

from typing import Protocol

from entrain.config.policy import PolicyConfig
from entrain.state import State


class ReturnStatistics(Protocol):
    """Statistics of the returns. See `ValueNormalizer`."""

    def forget(self) -> None: ...


class RewardUnit:
    """Knows how many rollouts to come have rewards in two units. Owned by the algorithm."""

    def __init__(self, options: PolicyConfig, statistics: ReturnStatistics) -> None:
        """Begin in one unit.

        Args:
            options: of the policy; they name the unit.
            statistics: of the returns, which are forgotten when the unit changes.
        """
        self._options = options
        self._statistics = statistics
        self._num_mixed = 0

    def __repr__(self) -> str:
        return f"<RewardUnit: {self._num_mixed} rollouts to come are in two>"

    def forget_mixed(self) -> None:
        """Forget the statistics of the returns if the rollout at hand is in two units."""
        if self._num_mixed:
            self._statistics.forget()

    def note_update(self) -> None:
        """A rollout has been learned from."""
        self._num_mixed = max(0, self._num_mixed - 1)

    def state(self) -> State:
        """The options that name the unit, and how many rollouts are in two."""
        return {
            "normalizes_rewards": self._options.normalize_rewards,
            "reward_scale": self._options.reward_scale,
            "num_mixed": self._num_mixed,
        }

    def load_state(self, state: State) -> None:
        """Go on from `state`, whose parts may be absent, or note that its unit was another."""
        unit = (self._options.normalize_rewards, self._options.reward_scale)
        self._num_mixed = int(state.get("num_mixed", 0))
        its_unit = (state.get("normalizes_rewards", unit[0]), state.get("reward_scale", unit[1]))
        if its_unit != unit:
            self._num_mixed = 1 + self._options.policy_lag
            self._statistics.forget()
