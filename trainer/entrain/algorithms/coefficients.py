"""The numbers of a loss that change over a run: learning rate, clip range, entropy coefficient.

Learning rate and clip range follow schedules. The entropy coefficient follows a schedule too, or is
adapted so that the policy's entropy follows a target.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from entrain.algorithms.algorithm import Metrics
from entrain.config.algorithm import PPOConfig
from entrain.config.fields import Schedule
from entrain.config.policy import EntropyConfig, EntropyTargetConfig
from entrain.metrics import ENTROPY_DISTANCE, ENTROPY_TARGET
from entrain.state import State, Stateful
from entrain_envs.spec import ActionSpec

COEFFICIENT_RANGE = (1e-8, 1e8)
"""Limits of an adapted entropy coefficient: a target that cannot be reached must not drive it to
zero or infinity."""


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """Their values during one update."""

    learning_rate: float

    clip_range: float

    entropy_coefficient: float
    """Of the explicit regularization term in the loss."""

    value_clip_range: float = 0.0
    """0 does not clip values."""


def scheduled(initial: float, schedule: Schedule, *, progress: float, final: float = 0.0) -> float:
    """The present value of an option with a schedule.

        linear: (initial - final) * (1 - progress) + final

    Args:
        initial: the value at the start of the run.
        schedule: constant, or linear to `final` at the end.
        progress: in [0, 1], the part of the run's env steps that is done.
        final: may be above `initial`.
    """
    match schedule:
        case "constant":
            return initial
        case "linear":
            return (initial - final) * (1.0 - progress) + final


def interpolate(first: float, last: float | None, progress: float) -> float:
    """The value at `progress` on the line from `first` at 0 to `last` at 1."""
    return first if last is None else first + (last - first) * progress


def nats_per_dimension(config: EntropyTargetConfig, progress: float) -> float:
    """The target of one continuous dimension: `per_dimension`, or 1/2 ln(2 pi e sigma^2)."""
    first = config.per_dimension
    if config.sigma is not None:
        first = 0.5 * math.log(2.0 * math.pi * math.e * config.sigma**2)
    return interpolate(first, config.final_per_dimension, progress)


class Temperature(Stateful, Protocol):
    """Decides the entropy coefficient of each update."""

    def coefficient(self, progress: float) -> float:
        """The coefficient of the update at `progress` in [0, 1]."""
        ...

    def follow(self, entropy: float, progress: float, withheld: float = 0.0) -> Metrics:
        """Adapt to the entropy that a successful update measured.

        Args:
            entropy: nats, mean over its steps.
            progress: of the update.
            withheld: nats by which masks lowered what the choices of these steps could have.

        Returns:
            Metrics, beside the coefficient itself.
        """
        ...


class ScheduledTemperature:
    """A coefficient that follows a schedule."""

    def __init__(self, config: EntropyConfig) -> None:
        self._config = config

    def coefficient(self, progress: float) -> float:
        """See `Temperature.coefficient`."""
        config = self._config
        return scheduled(
            config.coefficient,
            config.coefficient_schedule,
            progress=progress,
            final=config.final_coefficient,
        )

    def follow(self, entropy: float, progress: float, withheld: float = 0.0) -> Metrics:
        """Nothing depends on the entropy."""
        del entropy, progress, withheld
        return {}

    def state(self) -> State:
        """Nothing: the coefficient follows from the options."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing is loaded."""


class TargetTemperature:
    """A coefficient that rises while the entropy is below its target, and falls while above.

        ln alpha += rate * (target - H)

    once an update: a gradient step, on ln alpha, of the dual of "maximise the return subject to
    H >= target". alpha stays above zero, and changes by the same factor whatever its size. The
    target is one for the entropy H, also where the regularizer is the divergence from a prior.

    Source: Haarnoja et al. 2018, section 5 (arXiv:1812.05905), there for -ln p and by Adam.
    """

    def __init__(self, coefficient: float, config: EntropyTargetConfig, action: ActionSpec) -> None:
        """Start at `coefficient`, above 0."""
        self._log_coefficient = math.log(coefficient)
        self._config = config
        self._dimensions = action.continuous_size
        self._greatest_of_branches = sum(math.log(choices) for choices in action.branches)

    def target(self, progress: float, withheld: float = 0.0) -> float:
        """Nats: for each dimension, and as a fraction of what the allowed choices could have.

            D * per_dimension + fraction * (sum_b ln(choices of b) - withheld)

        The arguments are those of `follow`.
        """
        config = self._config
        per_dimension = nats_per_dimension(config, progress)
        fraction = interpolate(config.fraction, config.final_fraction, progress)
        return per_dimension * self._dimensions + fraction * (self._greatest_of_branches - withheld)

    def coefficient(self, progress: float) -> float:
        """The result of all updates so far."""
        del progress
        return math.exp(self._log_coefficient)

    def follow(self, entropy: float, progress: float, withheld: float = 0.0) -> Metrics:
        """Adapt the coefficient; report target and distance, which is positive above the target."""
        target = self.target(progress, withheld)
        least, greatest = (math.log(bound) for bound in COEFFICIENT_RANGE)
        adapted = self._log_coefficient + self._config.rate * (target - entropy)
        self._log_coefficient = min(max(adapted, least), greatest)
        return {ENTROPY_TARGET.name: target, ENTROPY_DISTANCE.name: entropy - target}

    def state(self) -> State:
        """The coefficient's logarithm."""
        return {"log_coefficient": self._log_coefficient}

    def load_state(self, state: State) -> None:
        """Continue there; a run without this state starts at its options' coefficient."""
        self._log_coefficient = float(state.get("log_coefficient", self._log_coefficient))


def make_temperature(config: EntropyConfig, action: ActionSpec) -> Temperature:
    """The temperature of a policy with these options, which acts like `action`."""
    if config.target is None:
        return ScheduledTemperature(config)
    return TargetTemperature(config.coefficient, config.target, action)


def coefficients_at(progress: float, config: PPOConfig, temperature: Temperature) -> Coefficients:
    """The coefficients of the update at `progress` in [0, 1]."""
    return Coefficients(
        learning_rate=scheduled(
            config.learning_rate,
            config.learning_rate_schedule,
            progress=progress,
            final=config.final_learning_rate,
        ),
        clip_range=scheduled(
            config.clip_range,
            config.clip_range_schedule,
            progress=progress,
            final=config.final_clip_range,
        ),
        entropy_coefficient=temperature.coefficient(progress),
        value_clip_range=_value_clip_range(config, progress),
    )


def _value_clip_range(config: PPOConfig, progress: float) -> float:
    if config.value_clip_range == 0.0:
        return 0.0
    return scheduled(
        config.value_clip_range,
        config.value_clip_range_schedule,
        progress=progress,
        final=config.final_value_clip_range,
    )
