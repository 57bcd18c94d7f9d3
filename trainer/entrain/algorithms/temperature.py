"""What a nat of entropy is worth: a number that is given, or one that keeps entropy at a target."""

import math
from typing import Protocol

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.schedules import scheduled
from entrain.config.policy import EntropyConfig, EntropyTargetConfig
from entrain.state import State, Stateful
from entrain_envs.spec import ActionSpec

COEFFICIENT_RANGE = (1e-8, 1e8)
"""What a coefficient that follows a target never leaves: a target that cannot be reached must not
make it zero or infinite."""


class Temperature(Stateful, Protocol):
    """Decides the coefficient of each update."""

    def coefficient(self, progress: float) -> float:
        """Of the update at `progress` in [0, 1]."""
        ...

    def follow(self, entropy: float, progress: float) -> Metrics:
        """Learn from an update that ended well.

        Args:
            entropy: nats, mean over its steps.
            progress: of the update.

        Returns:
            What there is to report beside the coefficient.
        """
        ...


class GivenTemperature:
    """As the options say: constant, or linear to zero."""

    def __init__(self, config: EntropyConfig) -> None:
        self._config = config

    def coefficient(self, progress: float) -> float:
        """At `progress`."""
        return scheduled(
            self._config.coefficient, self._config.coefficient_schedule, progress=progress
        )

    def follow(self, entropy: float, progress: float) -> Metrics:
        """Nothing depends on the entropy."""
        del entropy, progress
        return {}

    def state(self) -> State:
        """Nothing: it follows from the options."""
        return {}

    def load_state(self, state: State) -> None:
        """There is nothing to load."""


class TargetTemperature:
    """Follows a target: worth more while the policy is too decided, worth less while it is not.

        ln alpha += rate * (target - H)

    once an update: a gradient step, on ln alpha, of the dual of "maximise the return subject to
    H >= target". alpha stays above zero, and moves by the same factor wherever it is. The target is
    one for the entropy H, also where the regularizer is the divergence from a prior.

    Source: Haarnoja et al. 2018, section 5 (arXiv:1812.05905), there for -ln p and by Adam.
    """

    def __init__(self, coefficient: float, config: EntropyTargetConfig, action: ActionSpec) -> None:
        """Start at `coefficient`, above 0."""
        self._log_coefficient = math.log(coefficient)
        self._config = config
        self._dimensions = action.continuous_size
        self._most_of_branches = sum(math.log(choices) for choices in action.branches)

    def target(self, progress: float) -> float:
        """Nats: per_dimension for each dimension, fraction of ln(choices) for each branch."""
        config = self._config
        per_dimension = interpolate(config.per_dimension, config.final_per_dimension, progress)
        fraction = interpolate(config.fraction, config.final_fraction, progress)
        return per_dimension * self._dimensions + fraction * self._most_of_branches

    def coefficient(self, progress: float) -> float:
        """As the updates so far have made it."""
        del progress
        return math.exp(self._log_coefficient)

    def follow(self, entropy: float, progress: float) -> Metrics:
        """Move the coefficient; report target and distance, which is positive above the target."""
        target = self.target(progress)
        least, most = (math.log(bound) for bound in COEFFICIENT_RANGE)
        moved = self._log_coefficient + self._config.rate * (target - entropy)
        self._log_coefficient = min(max(moved, least), most)
        return {"entropy/target": target, "entropy/distance": entropy - target}

    def state(self) -> State:
        """The coefficient's logarithm."""
        return {"log_coefficient": self._log_coefficient}

    def load_state(self, state: State) -> None:
        """Go on there; a run that had no target before begins where the options say."""
        self._log_coefficient = float(state.get("log_coefficient", self._log_coefficient))


def make_temperature(config: EntropyConfig, action: ActionSpec) -> Temperature:
    """What decides the coefficient for agents that act like `action`."""
    if config.target is None:
        return GivenTemperature(config)
    return TargetTemperature(config.coefficient, config.target, action)


def interpolate(first: float, last: float | None, progress: float) -> float:
    """On the line from `first` at 0 to `last` at 1."""
    return first if last is None else first + (last - first) * progress
