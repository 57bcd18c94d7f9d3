"""The unit in which a policy's rewards are counted, and what a change of it leads to.

The options that scale rewards may change when a run is resumed. After another `reward_scale` all
that is known is multiplied by `ratio`: statistics of the returns here, and what waits to be learned
from where it waits. What `normalize_rewards` divided by, or will, is not known of each step: what
was collected until then is in the old unit, and what follows in the new one.
"""

from typing import Final, Protocol

from entrain.config.policy import PolicyConfig
from entrain.state import State

_REWARD: Final = 0
"""The place of the value stream of rewards among those of a critic."""


class ReturnStatistics(Protocol):
    """Statistics of the returns. See `ValueNormalizer`."""

    def forget(self) -> None: ...
    def multiply(self, stream: int, factor: float) -> None: ...


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
        self.ratio = 1.0
        """By what rewards of before are multiplied to be in the present unit."""

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
        now = self._options
        self._num_mixed = int(state.get("num_mixed", 0))
        self.ratio = 1.0
        normalized = state.get("normalizes_rewards", now.normalize_rewards)
        scale = float(state.get("reward_scale", now.reward_scale))
        is_another = scale != now.reward_scale
        # Of what was multiplied by 0 nothing is known.
        if normalized != now.normalize_rewards or (is_another and not scale):
            self._num_mixed = 1 + now.policy_lag
            self._statistics.forget()
        elif is_another:
            self.ratio = now.reward_scale / scale
            self._statistics.multiply(_REWARD, self.ratio)
