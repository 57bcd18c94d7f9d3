"""Whose probability ratio PPO clips: that of the whole action, or of each of its dimensions.

Shapes: [L, M] steps of a minibatch; A continuous dimensions and branches of an action.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from entrain.algorithms.losses import clipped_surrogate
from entrain.config.algorithm import PPOConfig
from entrain.experience import Minibatch, PerDimensionRollout, Rollout
from entrain.policy.distributions import ActionDistribution
from entrain_envs.shapes import Float


class Surrogate(ABC):
    """The policy's loss per step, from the probabilities of the actions then and now."""

    rollout_type: type[Rollout]
    """What has to be collected for it."""

    @abstractmethod
    def log_ratio(self, distribution: ActionDistribution, minibatch: Minibatch) -> Tensor:
        """Ln p(a) / p_old(a) of all that is clipped by itself; 0 in padding.

        Args:
            distribution: of the present policy at the steps of the minibatch, masked.
            minibatch: with harmless numbers in padding.
        """

    @abstractmethod
    def loss(self, log_ratio: Tensor, advantage: Tensor, *, clip_range: float) -> Tensor:
        """[L, M] as minimised; see `clipped_surrogate`.

        Args:
            log_ratio: as `log_ratio` returns it.
            advantage: [L, M] a constant.
            clip_range: how far a ratio may leave 1.
        """


class Joint(Surrogate):
    """One ratio for each step, that of the joint action; [L, M].

    Source: Schulman et al. 2017, eq. 7.
    """

    rollout_type = Rollout

    def log_ratio(
        self, distribution: ActionDistribution, minibatch: Minibatch
    ) -> Float[Tensor, "L M"]:
        """See `Surrogate.log_ratio`."""
        steps = minibatch.steps
        log_ratio = distribution.log_prob(steps.action) - steps.log_prob
        if minibatch.is_padded:
            # exp of another number might be infinite, and zero times that is NaN.
            log_ratio = torch.where(minibatch.mask, log_ratio, 0.0)
        return log_ratio

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

    def log_ratio(
        self, distribution: ActionDistribution, minibatch: Minibatch
    ) -> Float[Tensor, "L M A"]:
        """See `Surrogate.log_ratio`."""
        steps = minibatch.steps
        if not isinstance(steps, PerDimensionRollout):
            raise TypeError(
                f"algorithm.surrogate per_dimension was given a {type(steps).__name__}; it needs a "
                "PerDimensionRollout"
            )
        log_prob = distribution.log_prob_per_dimension(steps.action)
        log_ratio = log_prob - steps.log_prob_per_dimension
        if minibatch.is_padded:
            log_ratio = torch.where(minibatch.mask.unsqueeze(-1), log_ratio, 0.0)
        return log_ratio

    def loss(
        self,
        log_ratio: Float[Tensor, "L M A"],
        advantage: Float[Tensor, "L M"],
        *,
        clip_range: float,
    ) -> Float[Tensor, "L M"]:
        """See `Surrogate.loss`."""
        each = advantage.unsqueeze(-1).expand_as(log_ratio)
        return clipped_surrogate(log_ratio.exp(), each, clip_range=clip_range).mean(dim=-1)


_SURROGATES: Mapping[str, type[Surrogate]] = {"joint": Joint, "per_dimension": PerDimension}


def make_surrogate(config: PPOConfig) -> Surrogate:
    """The surrogate that the options name."""
    return _SURROGATES[config.surrogate]()
