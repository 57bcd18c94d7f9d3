"""Regularizers: what an objective counts beside reward, entropy or nearness to a prior policy.

A regularizer is computed exactly, in nats, from the policy's distribution at each step. An
objective decides how it enters returns and loss.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from entrain.algorithms.unrolling import unroll
from entrain.config.policy import EntropyConfig
from entrain.errors import ConfigError
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.distributions import ActionDistribution
from entrain.policy.divergence import kl_divergence
from entrain.policy.spread import NetworkSpread, ParameterSpread


class Regularizer(Protocol):
    """Rates a distribution over actions, whatever reward they earn."""

    def __call__(
        self,
        distribution: ActionDistribution,
        observation: Mapping[str, Tensor],
        action_mask: Tensor,
    ) -> Tensor:
        """[T, B] nats at each step, which learning increases.

        Args:
            distribution: of the policy at T steps of B columns, masked.
            observation: {name: [T, B, *shape]} that the policy was given.
            action_mask: [T, B, C] what was allowed.
        """
        ...


class Entropy:
    """H(p(. | s)), summed over action dimensions and branches.

    Up to a constant, it is minus the KL divergence from the uniform policy.
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


class MeanEntropy:
    """The mean entropy of continuous dimensions, plus the sum of the branches'.

    Each of D dimensions counts D times less than in `Entropy`, beside branches and reward.
    """

    def __call__(
        self,
        distribution: ActionDistribution,
        observation: Mapping[str, Tensor],
        action_mask: Tensor,
    ) -> Tensor:
        """[T, B] nats."""
        del observation, action_mask
        return distribution.mean_entropy()


def entropy_of(config: EntropyConfig) -> Entropy | MeanEntropy:
    """The entropy that the options name, as a regularizer."""
    return Entropy() if config.dimensions == "sum" else MeanEntropy()


class PriorDivergence:
    """-KL(p(. | s) || prior(. | s)): zero where the policy acts like the prior, else below.

    Source: Todorov 2007, "Linearly-solvable Markov decision problems"; Galashov et al. 2019,
    "Information asymmetry in KL-regularized RL" (arXiv:1905.01240).
    """

    def __init__(self, prior: ActorCritic, policy: ActorCritic) -> None:
        """Take over `prior`, whose weights and statistics never change again.

        Args:
            prior: on the device where `policy` learns.
            policy: that stays near it.

        Raises:
            ConfigError: the two cannot be compared step by step.
        """
        _require_comparable(prior, policy)
        self._prior = prior.requires_grad_(False)

    @property
    def spread(self) -> ParameterSpread | NetworkSpread | None:
        """The log-variances of the prior's continuous dimensions."""
        return self._prior.action_head.spread

    @torch.no_grad()
    def distribution(
        self, observation: Mapping[str, Tensor], action_mask: Tensor
    ) -> ActionDistribution:
        """The prior's, masked; arguments are those of `__call__`."""
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
        return -kl_divergence(distribution, self.distribution(observation, action_mask))


@torch.no_grad()
def regularize(policy: ActorCritic, rollout: Rollout, regularizer: Regularizer) -> Tensor:
    """[T, B] the regularizer of `policy` at each step of a rollout; anything in padding."""
    if rollout.valid.numel() == 0:
        return torch.zeros_like(rollout.reward)
    device = policy.initial_state(0).device
    pieces = [
        regularizer(
            output.distribution.masked(rollout.action_mask[rows].to(device)),
            {name: tensor[rows].to(device) for name, tensor in rollout.observation.items()},
            rollout.action_mask[rows].to(device),
        )
        for rows, output in unroll(policy, rollout)
    ]
    return torch.cat(pieces).to(rollout.reward.device)


def _require_comparable(prior: ActorCritic, policy: ActorCritic) -> None:
    name = policy.spec.name
    if prior.state_size:
        raise ConfigError(
            f"the entropy.prior of '{name}' has memory, which a prior must not have; name a run "
            "with network.memory.kind: none"
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
