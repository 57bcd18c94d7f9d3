"""Whose probability ratio PPO clips: that of the whole action, or of each of its dimensions.

With `policy_lag` the policy that acted, b, is older than the one that begins the update, p. The
clip then holds the new policy near p, and the older one only weighs the step:

    -min(r * w * A, clip(r, 1 - clip_range, 1 + clip_range) * w * A), r = pi(a) / p(a)
                                                                       w = p(a) / b(a)

Without, p is b, and w is 1.

Source: Hilton, Cobbe & Schulman 2021, "Batch size-invariance for policy gradient methods"
(arXiv:2110.00641), the decoupled clipped objective.

Shapes: [L, M] steps of a minibatch; A continuous dimensions and branches of an action.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from entrain.algorithms.losses import clipped_surrogate
from entrain.config.algorithm import PPOConfig
from entrain.experience import Minibatch, PerDimensionRollout, Rollout
from entrain.policy.distributions import ActionDistribution
from entrain_envs.shapes import Float, Shaped

MAX_WEIGHT = 10.0
"""Of a step. After an update of the usual size none comes near; after one that moved the policy
far, a few steps would otherwise decide everything."""


class Surrogate(ABC):
    """The policy's loss per step, from the probabilities of the actions then and now."""

    rollout_type: type[Rollout]
    """What has to be collected for it."""

    @abstractmethod
    def log_prob(self, distribution: ActionDistribution, steps: Rollout) -> Tensor:
        """Ln p(a) of all that is clipped by itself, under a policy of the present."""

    @abstractmethod
    def acted(self, steps: Rollout) -> Tensor:
        """The same under the policy that acted, as it was stored."""

    def log_ratio(self, distribution: ActionDistribution, minibatch: Minibatch) -> Tensor:
        """Ln of pi(a) / p(a), of all that is clipped by itself; 0 in padding.

        Args:
            distribution: of the present policy at the steps of the minibatch, masked.
            minibatch: with harmless numbers in padding.
        """
        steps, before = minibatch.steps, minibatch.estimate.log_prob
        now = self.log_prob(distribution, steps)
        log_ratio = now - (self.acted(steps) if before is None else before)
        if minibatch.is_padded:
            # exp of another number might be infinite, and zero times that is NaN.
            log_ratio = torch.where(_like(minibatch.mask, log_ratio), log_ratio, 0.0)
        return log_ratio

    def weighted(self, advantage: Float[Tensor, "L M"], minibatch: Minibatch) -> Tensor:
        """[L, M] or [L, M, A] advantages times p(a) / b(a); themselves if p is b."""
        before = minibatch.estimate.log_prob
        if before is None:
            return advantage
        weight = importance(before, self.acted(minibatch.steps))
        return _like(advantage, weight) * weight

    @abstractmethod
    def loss(self, log_ratio: Tensor, advantage: Tensor, *, clip_range: float) -> Tensor:
        """[L, M] as minimised; see `clipped_surrogate`.

        Args:
            log_ratio: as `log_ratio` returns it.
            advantage: as `weighted` returns it; a constant.
            clip_range: how far a ratio may leave 1.
        """


class Joint(Surrogate):
    """One ratio for each step, that of the joint action; [L, M].

    Source: Schulman et al. 2017, eq. 7.
    """

    rollout_type = Rollout

    def log_prob(self, distribution: ActionDistribution, steps: Rollout) -> Float[Tensor, "L M"]:
        """See `Surrogate.log_prob`."""
        return distribution.log_prob(steps.action)

    def acted(self, steps: Rollout) -> Float[Tensor, "L M"]:
        """See `Surrogate.acted`."""
        return steps.log_prob

    def loss(
        self,
        log_ratio: Float[Tensor, "L M"],
        advantage: Float[Tensor, "L M"],
        *,
        clip_range: float,
    ) -> Float[Tensor, "L M"]:
        """See `Surrogate.loss`."""
        return clipped_surrogate(log_ratio.exp(), advantage, clip_range=clip_range)


class PerDimension(Surrogate):
    """One ratio for each dimension and branch, [L, M, A]; the loss is the mean over them.

        1/A * sum_d -min(r_d * A_t, clip(r_d, 1 - clip_range, 1 + clip_range) * A_t)

    Where no ratio is clipped, its gradient is 1/A of that of `Joint` at ratio 1.
    """

    rollout_type = PerDimensionRollout

    def log_prob(self, distribution: ActionDistribution, steps: Rollout) -> Float[Tensor, "L M A"]:
        """See `Surrogate.log_prob`."""
        return distribution.log_prob_per_dimension(steps.action)

    def acted(self, steps: Rollout) -> Float[Tensor, "L M A"]:
        """See `Surrogate.acted`."""
        if not isinstance(steps, PerDimensionRollout):
            raise TypeError(
                f"algorithm.surrogate per_dimension was given a {type(steps).__name__}; it needs a "
                "PerDimensionRollout"
            )
        return steps.log_prob_per_dimension

    def loss(
        self,
        log_ratio: Float[Tensor, "L M A"],
        advantage: Shaped[Tensor, "L M ..."],
        *,
        clip_range: float,
    ) -> Float[Tensor, "L M"]:
        """See `Surrogate.loss`."""
        each = _like(advantage, log_ratio).expand_as(log_ratio)
        return clipped_surrogate(log_ratio.exp(), each, clip_range=clip_range).mean(dim=-1)


_SURROGATES: Mapping[str, type[Surrogate]] = {"joint": Joint, "per_dimension": PerDimension}


def make_surrogate(config: PPOConfig) -> Surrogate:
    """The surrogate that the options name."""
    return _SURROGATES[config.surrogate]()


def importance(before: Tensor, acted: Tensor) -> Tensor:
    """[...] p(a) / b(a), from their logarithms, or `MAX_WEIGHT` where that is less."""
    return torch.exp((before - acted).clamp(max=math.log(MAX_WEIGHT)))


def _like(steps: Tensor, parts: Tensor) -> Tensor:
    """[L, M], or [L, M, 1] if `parts` is [L, M, A]."""
    return steps.unsqueeze(-1) if steps.dim() < parts.dim() else steps
