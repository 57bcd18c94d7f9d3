"""What a policy is rewarded for beside the reward: being undecided, or staying near a prior.

A regularizer looks at the policy's distribution at each step and says, exactly, how many nats it is
worth there. What is made of that is an objective's affair.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from entrain.algorithms.unrolling import unrolled
from entrain.errors import ConfigError
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.distributions import ActionDistribution
from entrain.policy.divergence import kl_divergence


class Regularizer(Protocol):
    """How much a distribution over actions is worth in itself."""

    def __call__(
        self,
        distribution: ActionDistribution,
        observation: Mapping[str, Tensor],
        action_mask: Tensor,
    ) -> Tensor:
        """[T, B] nats at each step; the policy is drawn to where this is large.

        Args:
            distribution: of the policy at T steps of B columns, masked.
            observation: {name: [T, B, *shape]} it is the answer to.
            action_mask: [T, B, C] what was allowed.
        """
        ...


class Entropy:
    """H(p(. | s)), summed over action dimensions and branches.

    It is minus the KL divergence from the uniform policy, but for a constant.
    """

    def __call__(
        self,
        distribution: ActionDistribution,
        observation: Mapping[str, Tensor],
        action_mask: Tensor,
    ) -> Tensor:
        """[T, B] nats."""
        del observation, action_mask
        return distribution.entropy()


class PriorDivergence:
    """-KL(p(. | s) || prior(. | s)): at most zero, where the policy does as the prior would.

    Source: Todorov 2007, "Linearly-solvable Markov decision problems"; Galashov et al. 2019,
    "Information asymmetry in KL-regularized RL" (arXiv:1905.01240).
    """

    def __init__(self, prior: ActorCritic, policy: ActorCritic) -> None:
        """Hold on to `prior`, whose weights and statistics never change again.

        Args:
            prior: on the device where `policy` learns.
            policy: what is to stay near it.

        Raises:
            ConfigError: the two cannot be compared step by step.
        """
        _require_comparable(prior, policy)
        self._prior = prior.requires_grad_(False)

    @torch.no_grad()
    def _distribution(
        self, observation: Mapping[str, Tensor], action_mask: Tensor
    ) -> ActionDistribution:
        leading = action_mask.shape[:2]
        output = self._prior(
            {spec.name: observation[spec.name] for spec in self._prior.inputs.observations},
            self._prior.initial_state(leading[1]),
            torch.zeros(leading, dtype=torch.bool, device=action_mask.device),
        )
        distribution: ActionDistribution = output.distribution.masked(action_mask)
        return distribution

    def __call__(
        self,
        distribution: ActionDistribution,
        observation: Mapping[str, Tensor],
        action_mask: Tensor,
    ) -> Tensor:
        """[T, B] nats."""
        return -kl_divergence(distribution, self._distribution(observation, action_mask))


@torch.no_grad()
def regularization_of(policy: ActorCritic, rollout: Rollout, regularizer: Regularizer) -> Tensor:
    """[T, B] what `regularizer` says of `policy` at each step of a rollout; anything in padding."""
    device = policy.initial_state(0).device
    pieces = [
        regularizer(
            output.distribution.masked(rollout.action_mask[rows].to(device)),
            {name: tensor[rows].to(device) for name, tensor in rollout.observation.items()},
            rollout.action_mask[rows].to(device),
        )
        for rows, output in unrolled(policy, rollout)
    ]
    return torch.cat(pieces).to(rollout.reward.device)


def _require_comparable(prior: ActorCritic, policy: ActorCritic) -> None:
    name = policy.spec.name
    if prior.state_size:
        raise ConfigError(
            f"the entropy.prior of '{name}' has memory, and only what a step shows can be asked "
            "of a prior; name a run with network.memory.kind: none"
        )
    if prior.spec != policy.spec:
        raise ConfigError(
            f"the entropy.prior of '{name}' was trained for another spec: {prior.spec}; this "
            f"run's is {policy.spec}; name a run of the same simulator"
        )
    unseen = {spec.name for spec in prior.inputs.observations} - {
        spec.name for spec in policy.inputs.observations
    }
    if unseen:
        raise ConfigError(
            f"the entropy.prior of '{name}' looks at {', '.join(sorted(unseen))}, which this "
            f"policy does not; set {', '.join(f'network.{each}: true' for each in sorted(unseen))}"
        )
    ours, theirs = policy.config.action.distribution, prior.config.action.distribution
    if policy.spec.action.continuous_size and ours != theirs:
        raise ConfigError(
            f"the entropy.prior of '{name}' has action.distribution {theirs}, this policy {ours}; "
            "they must be the same"
        )
