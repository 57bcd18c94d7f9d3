"""What a policy returns: a distribution over actions that can be masked, sampled and judged.

An action is {"continuous": [..., D], "discrete": [..., N]}, with only the keys a behaviour has.
Noise is uniform in (0, 1): first one number per continuous dimension, then one per branch.
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from entrain.policy.categorical import Branches, MultiCategorical
from entrain.policy.gaussian import DiagonalGaussian, SquashedGaussian


class ActionDistribution(Protocol):
    """Over the joint action of each of [...] rows, usually [T, B]."""

    def parameters(self) -> Mapping[str, Tensor]:
        """What determines it, by the names under which it is exported."""
        ...

    def masked(self, action_mask: Tensor) -> "ActionDistribution":
        """With only the choices where `action_mask`, [..., C] bool, is true; C = 0 if none."""
        ...

    def sample(self, noise: Tensor) -> Mapping[str, Tensor]:
        """The action at `noise`, [..., D + N] float64 in (0, 1); a pure function of it."""
        ...

    def mode(self) -> Mapping[str, Tensor]:
        """What the policy does without noise."""
        ...

    def log_prob(self, action: Mapping[str, Tensor]) -> Tensor:
        """[...] nats, of all dimensions and branches together; the action is a constant."""
        ...

    def entropy(self) -> Tensor:
        """[...] nats, summed over dimensions and branches."""
        ...


class Hybrid:
    """Continuous dimensions and discrete branches, independent of each other."""

    def __init__(self, continuous: DiagonalGaussian, discrete: MultiCategorical) -> None:
        """Join two distributions over the same [...] rows."""
        self.continuous = continuous
        self.discrete = discrete

    def parameters(self) -> Mapping[str, Tensor]:
        """Those of both parts."""
        return {**self.continuous.parameters(), **self.discrete.parameters()}

    def masked(self, action_mask: Tensor) -> "Hybrid":
        """With only the allowed choices; the continuous part is unchanged."""
        return Hybrid(self.continuous, self.discrete.masked(action_mask))

    def sample(self, noise: Tensor) -> Mapping[str, Tensor]:
        """The first D numbers of `noise` [..., D + N] draw the dimensions, the rest the choices."""
        dimensions = self.continuous.mean.shape[-1]
        return {
            **self.continuous.sample(noise[..., :dimensions]),
            **self.discrete.sample(noise[..., dimensions:]),
        }

    def mode(self) -> Mapping[str, Tensor]:
        """Both modes."""
        return {**self.continuous.mode(), **self.discrete.mode()}

    def log_prob(self, action: Mapping[str, Tensor]) -> Tensor:
        """[...] ln p(continuous) + ln p(discrete)."""
        return self.continuous.log_prob(action) + self.discrete.log_prob(action)

    def entropy(self) -> Tensor:
        """[...] H(continuous) + H(discrete)."""
        return self.continuous.entropy() + self.discrete.entropy()


__all__ = [
    "ActionDistribution",
    "Branches",
    "DiagonalGaussian",
    "Hybrid",
    "MultiCategorical",
    "SquashedGaussian",
]
