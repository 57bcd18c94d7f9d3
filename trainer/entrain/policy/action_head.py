"""The policy's last layer: from features to a distribution over the behaviour's actions.

One linear layer computes the means of D continuous dimensions and the logits of C choices. The
variances are free parameters, or computed by a linear layer of their own: see `spread`.
"""

import torch
from torch import Tensor

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
from entrain.policy.spread import make_spread
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
        self.spread = (
            make_spread(spec.continuous_size, config, inputs, generator=generator)
            if spec.continuous_size
            else None
        )
        self.branches = Branches(spec.branches) if spec.branches else None
        squashed = torch.tensor(has_range(spec), dtype=torch.float32)
        self.register_buffer("squashed", squashed, persistent=False)

    def distribution(
        self, features: Float[Tensor, "R F"], leading: torch.Size
    ) -> ActionDistribution:
        """Over actions of shape `leading`, from [R, inputs] features, R rows in all."""
        outputs = self(features).view(*leading, self._outputs)
        if self.spread is None:
            assert self.branches is not None
            return MultiCategorical(outputs, self.branches)
        log_sigma_sq = self.spread(features)
        if log_sigma_sq.dim() > 1:
            log_sigma_sq = log_sigma_sq.view(*leading, self._dimensions)
        if self.branches is None:
            return self._gaussian(outputs, log_sigma_sq)
        means, logits = outputs[..., : self._dimensions], outputs[..., self._dimensions :]
        return Hybrid(self._gaussian(means, log_sigma_sq), MultiCategorical(logits, self.branches))

    def _gaussian(self, mean: Tensor, log_sigma_sq: Tensor) -> DiagonalGaussian:
        if self._is_squashed:
            return SquashedGaussian(mean, log_sigma_sq, self.squashed)
        return DiagonalGaussian(mean, log_sigma_sq)
