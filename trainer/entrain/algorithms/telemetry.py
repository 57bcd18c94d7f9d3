"""What an update says about itself, gathered without slowing it down.

During an epoch terms are only kept; at its end they are joined and become numbers in one transfer.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.losses import explained_variance, is_clipped, kl_estimate, masked_mean
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.gaussian import entropy_per_dimension

VALUE_HEADS = ("value/explained_variance", "value/entropy_explained_variance")
"""What each head's explained_variances is called: of rewards, and of entropy."""


@dataclass(frozen=True)
class LossTerms:
    """The parts of the loss at each step of a minibatch, [L, M] each, not yet weighed."""

    policy: Tensor
    """The surrogate, as minimised."""

    value: Tensor
    """The critic's squared error, of all heads together."""

    worth: Tensor
    """What the regularizer says, in nats; maximised. Without weight, the entropy."""

    scale: Tensor
    """[] what advantages were divided by, and `worth` is to be, if they hold the regularizer; or
    else 1."""

    entropy: Tensor
    """Of the policy, in nats; a constant."""

    log_ratio: Tensor
    """ln p(a) / p_old(a), before this minibatch's gradient step."""


class EpochLog:
    """The minibatches of one epoch."""

    def __init__(self) -> None:
        self._terms: list[LossTerms] = []
        self._masks: list[Tensor] = []
        self._gradient_norms: list[Tensor] = []

    def add(self, terms: LossTerms, mask: Tensor, gradient_norm: Tensor) -> None:
        """Keep one minibatch: terms and mask [L, M], norm []."""
        self._terms.append(terms)
        self._masks.append(mask)
        self._gradient_norms.append(gradient_norm)

    @torch.no_grad()
    def metrics(self, *, clip_range: float) -> Metrics:
        """Means over all steps of the epoch, masked; of the gradient norm, over minibatches."""
        mask = torch.cat(self._masks, dim=1)

        def mean(x: Tensor) -> Tensor:
            return masked_mean(x, mask)

        log_ratio = torch.cat([terms.log_ratio for terms in self._terms], dim=1)
        means = {
            "loss/policy": mean(torch.cat([terms.policy for terms in self._terms], dim=1)),
            "loss/value": mean(torch.cat([terms.value for terms in self._terms], dim=1)),
            "loss/entropy": -mean(torch.cat([terms.worth for terms in self._terms], dim=1)),
            "policy/entropy": mean(torch.cat([terms.entropy for terms in self._terms], dim=1)),
            "policy/kl": mean(kl_estimate(log_ratio)),
            "policy/clip_fraction": mean(
                is_clipped(log_ratio.exp(), clip_range=clip_range).float()
            ),
            "policy/gradient_norm": torch.stack(self._gradient_norms).mean(),
        }
        return dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))


def mean_over_epochs(epochs: list[Metrics]) -> dict[str, float]:
    """The mean of each metric over the epochs of one update."""
    return {name: sum(epoch[name] for epoch in epochs) / len(epochs) for name in epochs[0]}


@torch.no_grad()
def spread_of(policy: ActorCritic, steps: Rollout) -> Metrics:
    """How far continuous actions stray, per dimension, and how many of them the bounds cut.

    Args:
        policy: after the update. Entropy per dimension is told where tanh does not change it.
        steps: [1, N] as collected.
    """
    log_sigma_sq = policy.log_sigma_sq
    if len(log_sigma_sq) == 0:
        return {}
    measures = {"policy/sigma": torch.exp(0.5 * log_sigma_sq)}
    if policy.config.action.distribution == "gaussian":
        measures["policy/entropy"] = entropy_per_dimension(log_sigma_sq)
    metrics = {
        f"{name}/{d}": value
        for name, values in measures.items()
        for d, value in enumerate(values.tolist())
    }
    clipped = policy.bounds.is_clipped(steps.action["continuous"])
    return {**metrics, "policy/clipped_actions": clipped.float().mean().item()}


def explained_variances(value: Tensor, return_: Tensor) -> Metrics:
    """Explained variance of each value head, both [1, N, V] over the steps of a rollout."""
    return {
        name: explained_variance(value[..., head], return_[..., head]).item()
        for head, name in enumerate(VALUE_HEADS[: value.shape[-1]])
    }


def non_finite(metrics: Mapping[str, float]) -> str:
    """Those that are no finite number, in words; "" if there is none."""
    return ", ".join(
        f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)
    )
