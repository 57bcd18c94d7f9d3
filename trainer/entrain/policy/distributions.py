"""Action distributions, as a policy returns them: they can be masked and sampled.

An action is {"continuous": [..., D], "discrete": [..., N]}, with only the keys a behaviour has.
Noise is uniform in (0, 1): first one number per continuous dimension, then one per branch.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from entrain.policy.categorical import Branches, MultiCategorical
from entrain.policy.gaussian import DiagonalGaussian, SquashedGaussian
from entrain_envs.shapes import Bool, Float, Shaped


class ActionDistribution(Protocol):
    """Over the joint action of each of [...] rows, usually [T, B]."""

    def parameters(self) -> Mapping[str, Tensor]:
        """The tensors that determine it, by the names under which they are exported."""
        ...

    def masked(self, action_mask: Bool[Tensor, "*rows C"]) -> "ActionDistribution":
        """With only the choices where `action_mask`, [..., C] bool, is true; C may be 0."""
        ...

    def sample(
        self, noise: Float[Tensor, "*rows numbers"]
    ) -> Mapping[str, Shaped[Tensor, "*rows _"]]:
        """The action at `noise`, [..., D + N] float64 in (0, 1); a pure function of it."""
        ...

    def mode(self) -> Mapping[str, Tensor]:
        """The most likely action: what the policy does without noise."""
        ...

    def log_prob(self, action: Mapping[str, Shaped[Tensor, "*rows _"]]) -> Float[Tensor, "*rows"]:
        """[...] nats, of all dimensions and branches together; the action is a constant."""
        ...

    def log_prob_per_dimension(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Float[Tensor, "*rows parts"]:
        """[..., D + N] nats of each dimension, then of each branch; the action is a constant."""
        ...

    def entropy(self) -> Tensor:
        """[...] nats, summed over dimensions and branches."""
        ...

    def mean_entropy(self) -> Tensor:
        """[...] nats, the mean over dimensions plus the sum over branches."""
        ...


class ReparameterizedDistribution(ActionDistribution, Protocol):
    """One whose continuous sample is a differentiable function of the policy's outputs.

    Both Gaussians and `Hybrid` are such distributions. `MultiCategorical` is not: a choice is a
    whole number, which has no gradient.
    """

    def masked(self, action_mask: Bool[Tensor, "*rows C"]) -> "ReparameterizedDistribution":
        """See `ActionDistribution.masked`."""
        ...

    def rsample(
        self, noise: Float[Tensor, "*rows numbers"]
    ) -> tuple[Mapping[str, Shaped[Tensor, "*rows _"]], Float[Tensor, "*rows"]]:
        """The values of `sample(noise)` and its `log_prob`, with gradients through the action.

        Args:
            noise: [..., D + N] float64 in (0, 1), a constant.

        Returns:
            action: differentiable in the distribution's parameters where it is continuous.
            log_prob: [...] nats, differentiable directly and through the continuous action.
        """
        ...


class Hybrid:
    """Continuous dimensions and discrete branches, independent of each other."""

    def __init__(self, continuous: DiagonalGaussian, discrete: MultiCategorical) -> None:
        """Combine two distributions over the same [...] rows."""
        self.continuous = continuous
        self.discrete = discrete

    def parameters(self) -> Mapping[str, Tensor]:
        """The parameters of both parts."""
        return {**self.continuous.parameters(), **self.discrete.parameters()}

    def masked(self, action_mask: Bool[Tensor, "*rows C"]) -> "Hybrid":
        """With only the allowed choices; the continuous part is unchanged."""
        return Hybrid(self.continuous, self.discrete.masked(action_mask))

    def sample(
        self, noise: Float[Tensor, "*rows numbers"]
    ) -> Mapping[str, Shaped[Tensor, "*rows _"]]:
        """Use the first D numbers of `noise` [..., D + N] for dimensions, the rest for choices."""
        for_dimensions, for_choices = self._split(noise)
        return {**self.continuous.sample(for_dimensions), **self.discrete.sample(for_choices)}

    def rsample(
        self, noise: Float[Tensor, "*rows numbers"]
    ) -> tuple[Mapping[str, Shaped[Tensor, "*rows _"]], Float[Tensor, "*rows"]]:
        """See `ReparameterizedDistribution.rsample`; the choices are constants.

        Through the action, gradients reach mean and log_sigma_sq but no logits. An expectation
        over the choices has to be written as a sum over them, or its gradient estimated with the
        log-probability, which is differentiable in the logits as always.
        """
        for_dimensions, for_choices = self._split(noise)
        continuous, log_prob = self.continuous.rsample(for_dimensions)
        discrete = self.discrete.sample(for_choices)
        return {**continuous, **discrete}, log_prob + self.discrete.log_prob(discrete)

    def mode(self) -> Mapping[str, Tensor]:
        """The modes of both parts."""
        return {**self.continuous.mode(), **self.discrete.mode()}

    def log_prob(self, action: Mapping[str, Shaped[Tensor, "*rows _"]]) -> Float[Tensor, "*rows"]:
        """[...] ln p(continuous) + ln p(discrete)."""
        return self.continuous.log_prob(action) + self.discrete.log_prob(action)

    def log_prob_per_dimension(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Float[Tensor, "*rows parts"]:
        """[..., D + N] of the dimensions, then of the branches."""
        parts = [each.log_prob_per_dimension(action) for each in (self.continuous, self.discrete)]
        return torch.cat(parts, dim=-1)

    def entropy(self) -> Tensor:
        """[...] H(continuous) + H(discrete)."""
        return self.continuous.entropy() + self.discrete.entropy()

    def mean_entropy(self) -> Tensor:
        """[...] H(continuous) / D + H(discrete)."""
        return self.continuous.mean_entropy() + self.discrete.entropy()

    def _split(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        dimensions = self.continuous.mean.shape[-1]
        return noise[..., :dimensions], noise[..., dimensions:]


__all__ = [
    "ActionDistribution",
    "Branches",
    "DiagonalGaussian",
    "Hybrid",
    "MultiCategorical",
    "ReparameterizedDistribution",
    "SquashedGaussian",
]
