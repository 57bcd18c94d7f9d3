"""The policy's last layer: from features to a distribution over the behaviour's actions.

One linear layer computes the means of D continuous dimensions and the logits of C choices. The
variances do not depend on the observation: they are free parameters.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.config.policy import ActionConfig
from entrain.policy.action_bounds import has_range
from entrain.policy.distributions import (
    ActionDistribution,
    Branches,
    DiagonalGaussian,
    Hybrid,
    MultiCategorical,
    SquashedGaussian,
)
from entrain.policy.layers import Head
from entrain_envs.shapes import Float
from entrain_envs.spec import ActionSpec

POLICY_GAIN = 0.01
"""Of the initial weights: means near zero and choices nearly equally likely, so that the first
actions do not depend on the observation. (Andrychowicz et al. 2021, arXiv:2006.05990)"""


class ActionHead(Head):
    """Returns a Gaussian, squashed Gaussian, categorical or hybrid, as spec and options say."""

    squashed: Tensor
    """[D] 1 where the dimension is bounded on both sides, 0 elsewhere."""

    def __init__(
        self, spec: ActionSpec, config: ActionConfig, inputs: int, *, generator: torch.Generator
    ) -> None:
        outputs = spec.continuous_size + spec.num_choices
        super().__init__(inputs, outputs, gain=POLICY_GAIN, generator=generator)
        self._outputs = outputs
        self._dimensions = spec.continuous_size
        self._is_squashed = config.distribution == "squashed_gaussian"
        self.spread = _spread(spec, config) if spec.continuous_size else None
        self.branches = Branches(spec.branches) if spec.branches else None
        squashed = torch.tensor(has_range(spec), dtype=torch.float32)
        self.register_buffer("squashed", squashed, persistent=False)

    @property
    def log_sigma_sq(self) -> Float[Tensor, " D"]:
        """[D] the effective log-variances; [0] if nothing is continuous."""
        return self.bias[:0] if self.spread is None else self.spread()

    def distribution(
        self, features: Float[Tensor, "R F"], leading: torch.Size
    ) -> ActionDistribution:
        """Over actions of shape `leading`, from [R, inputs] features, R rows in all."""
        outputs = self(features).view(*leading, self._outputs)
        if self.branches is None:
            return self._gaussian(outputs)
        if self.spread is None:
            return MultiCategorical(outputs, self.branches)
        means, logits = outputs[..., : self._dimensions], outputs[..., self._dimensions :]
        return Hybrid(self._gaussian(means), MultiCategorical(logits, self.branches))

    def _gaussian(self, mean: Tensor) -> DiagonalGaussian:
        if self._is_squashed:
            return SquashedGaussian(mean, self.log_sigma_sq, self.squashed)
        return DiagonalGaussian(mean, self.log_sigma_sq)


class BoundedLogSigmaSq(nn.Module):
    """The log-variance of each of D action dimensions, kept smoothly between two bounds.

        log_sigma_sq = logaddexp(parameter, minimum) - softplus(parameter - maximum)

    lies between minimum and maximum; away from them it equals the parameter, with slope 1. A hard
    clamp would have slope 0 beyond a bound, and a dimension beyond it could never return.
    """

    def __init__(self, size: int, *, initial: float, minimum: float, maximum: float) -> None:
        """Start every dimension at exactly `initial`, which lies between the bounds.

        With m the minimum and M the maximum, the parameter that gives `initial` is

            initial + ln(1 - exp(m - initial)) - ln(1 - exp(initial - M))
        """
        super().__init__()
        parameter = (
            initial
            + math.log(-math.expm1(minimum - initial))
            - math.log(-math.expm1(initial - maximum))
        )
        self.parameter = nn.Parameter(torch.full((size,), parameter))
        self.maximum = maximum
        self.minimum: Tensor
        self.register_buffer("minimum", torch.tensor(minimum), persistent=False)

    def forward(self) -> Float[Tensor, " D"]:
        """[D] the effective log_sigma_sq."""
        above_floor = torch.logaddexp(self.parameter, self.minimum)
        return above_floor - functional.softplus(self.parameter - self.maximum)


def _spread(spec: ActionSpec, config: ActionConfig) -> BoundedLogSigmaSq:
    return BoundedLogSigmaSq(
        spec.continuous_size,
        initial=config.initial_log_sigma_sq,
        minimum=config.min_log_sigma_sq,
        maximum=config.max_log_sigma_sq,
    )
