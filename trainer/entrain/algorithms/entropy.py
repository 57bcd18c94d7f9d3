"""What a policy is rewarded for beside the reward: being undecided.

A regularizer looks at the policy's distribution at each step and says how many nats it is worth
there. Today it enters the loss, and the return stays that of the rewards alone.
"""

from typing import Protocol

from torch import Tensor

from entrain.policy.distributions import ActionDistribution


class Regularizer(Protocol):
    """How much a distribution over actions is worth in itself."""

    def __call__(self, distribution: ActionDistribution) -> Tensor:
        """[...] nats at each step; the policy is drawn to where this is large."""
        ...


class EntropyBonus:
    """H(p(. | s)), summed over action dimensions and branches.

    In the loss it is weighed by a coefficient: loss - coefficient * H. With it, a Gaussian policy
    facing the reward -(c/2) (a - target)^2 ends at sigma^2 = coefficient / c.

    Source: Williams & Peng 1991; Mnih et al. 2016, section 4 (arXiv:1602.01783).
    """

    def __call__(self, distribution: ActionDistribution) -> Tensor:
        """[...] nats."""
        return distribution.entropy()
