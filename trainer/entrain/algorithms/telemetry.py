"""The metrics of an update, collected without slowing it down.

During an epoch tensors are only kept; at its end they are joined and become numbers in one
transfer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.losses import explained_variance, is_clipped, kl_estimate, masked_mean
from entrain.algorithms.unrolling import unroll
from entrain.experience import Minibatch, Rollout
from entrain.metrics import (
    CLIP_FRACTION,
    CLIPPED_ACTIONS,
    CRITIC_SHARE,
    ENTROPY,
    ENTROPY_EXPLAINED_VARIANCE,
    ENTROPY_OF_DIMENSION,
    EXPLAINED_VARIANCE,
    GRADIENT_NORM,
    KL,
    LOSS_ENTROPY,
    LOSS_POLICY,
    LOSS_VALUE,
    SIGMA,
    VALUE_MEAN,
)
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.critic import ENTROPY_STREAM, REWARD_STREAM
from entrain.policy.gaussian import entropy_per_dimension
from entrain.policy.spread import ParameterSpread
from entrain.ranks import ALONE, Ranks

MEANS = (LOSS_POLICY, LOSS_VALUE, LOSS_ENTROPY, ENTROPY, KL, CLIP_FRACTION, CRITIC_SHARE)
"""Metrics that are means over the steps of an epoch, in the order in which they are computed; the
last one is of its first minibatch."""

KEPT = ("policy", "value", "regularization", "entropy", "log_ratio")
"""Terms of the loss that are kept until the end of an epoch."""

SIGMA_PREFIX, ENTROPY_PREFIX = SIGMA.prefix, ENTROPY_OF_DIMENSION.prefix

EXPLAINED_VARIANCE_OF = {
    REWARD_STREAM: EXPLAINED_VARIANCE,
    ENTROPY_STREAM: ENTROPY_EXPLAINED_VARIANCE,
}
"""{value stream: the metric of its explained variance}."""


@dataclass(frozen=True)
class LossTerms:
    """The parts of the loss at each step of a minibatch, [L, M] each, before they are weighted."""

    policy: Tensor
    """The surrogate, as minimised."""

    value: Tensor
    """The critic's squared error, of all heads together."""

    regularization: Tensor
    """The regularizer, in nats; maximised. If its coefficient is zero, the entropy."""

    scale: Tensor
    """[] what advantages were divided by, if they include the regularizer, else 1: the
    regularization is divided by it too."""

    entropy: Tensor
    """The policy's, in nats; a constant."""

    log_ratio: Tensor
    """ln p(a) / p_old(a), before this minibatch's gradient step; [L, M, A] if each dimension and
    branch has a ratio of its own."""

    features: Tensor
    """[G, L * M, F] what the heads read."""

    weight: Tensor | None = None
    """See `Estimate.weight`."""


class EpochLog:
    """Collects the minibatches of one epoch."""

    def __init__(self, *, weighs: bool = True) -> None:
        """Begin an epoch.

        Args:
            weighs: false if no step is in time: then all are measured.
        """
        self._weighs = weighs
        self._terms: list[Mapping[str, Tensor]] = []
        self._masks: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._gradient_norms: list[Tensor] = []
        self.critic_share: Tensor | None = None
        """[] of the epoch's first minibatch; None until then. See `PPOLoss.critic_share`."""

    @classmethod
    def of(
        cls,
        terms: Mapping[str, Tensor],
        gradient_norms: Sequence[Tensor],
        *,
        critic_share: float,
        weight: Tensor | None = None,
        weighs: bool = True,
    ) -> "EpochLog":
        """All of one epoch at once.

        Args:
            terms: {name: [1, N, ...]} those of `KEPT`, of the N valid steps of all minibatches.
            gradient_norms: [] each, of the minibatches.
            critic_share: of the first minibatch that has steps.
            weight: [1, N] see `Estimate.weight`.
            weighs: see `__init__`.
        """
        log = cls(weighs=weighs)
        log._gradient_norms = list(gradient_norms)
        policy = terms["policy"]
        if policy.numel():
            log._terms.append(terms)
            log._masks.append(torch.ones(policy.shape, dtype=torch.bool))
            log.critic_share = policy.new_tensor(critic_share)
            log._weights.extend([] if weight is None else [weight])
        return log

    def add(self, terms: LossTerms, mask: Tensor, gradient_norm: Tensor) -> None:
        """Keep one minibatch: terms and mask [L, M], norm [], which is the same on all ranks."""
        self._terms.append({name: getattr(terms, name) for name in KEPT})
        self._masks.append(mask)
        self._weights.extend([] if terms.weight is None else [terms.weight])
        self._gradient_norms.append(gradient_norm)

    def add_empty(self, gradient_norm: Tensor) -> None:
        """Keep a minibatch of which this rank has no step."""
        self._gradient_norms.append(gradient_norm)

    @torch.no_grad()
    def metrics(self, *, clip_range: float, ranks: Ranks = ALONE) -> Metrics:
        """Means over the valid steps of the epoch; of the gradient norm, over its minibatches.

        What is measured of the policy is so over the steps that it learns from.
        """
        norm = torch.stack(self._gradient_norms).mean()
        if self._terms:
            mask = torch.cat(self._masks, dim=1)
            means, num_steps = self._means(mask, clip_range), int(mask.sum())
        else:
            means, num_steps = norm.new_zeros(len(MEANS)), 0
        values = torch.cat([ranks.mean(means, weight=num_steps), norm.unsqueeze(0)])
        names = [metric.name for metric in (*MEANS, GRADIENT_NORM)]
        return dict(zip(names, values.tolist(), strict=True))

    def _means(self, mask: Tensor, clip_range: float) -> Tensor:
        """The values of `MEANS`, for the mask of all terms."""

        def join(name: str) -> Tensor:
            return torch.cat([terms[name] for terms in self._terms], dim=1)

        def of_policy(x: Tensor) -> Tensor:
            return masked_mean(x if weight is None else x * weight, mask)

        weight = torch.cat(self._weights, dim=1) if self._weights and self._weighs else None
        log_ratio = join("log_ratio")
        is_out = is_clipped(log_ratio.exp(), clip_range=clip_range).float()
        if log_ratio.dim() > mask.dim():
            log_ratio, is_out = log_ratio.sum(dim=-1), is_out.mean(dim=-1)
        means = [
            of_policy(join("policy")),
            masked_mean(join("value"), mask),
            -of_policy(join("regularization")),
            of_policy(join("entropy")),
            of_policy(kl_estimate(log_ratio)),
            of_policy(is_out),
            log_ratio.new_zeros(()) if self.critic_share is None else self.critic_share,
        ]
        return torch.stack(means)


def mean_over_epochs(epochs: list[Metrics]) -> dict[str, float]:
    """The mean of each metric over the epochs of one update."""
    return {name: sum(epoch[name] for epoch in epochs) / len(epochs) for name in epochs[0]}


@torch.no_grad()
def log_sigma_sq_over(policy: ActorCritic, rollout: Rollout) -> Tensor:
    """[N, D] log-variances at the valid steps of a rollout; [1, D] if they are the same in all."""
    spread = policy.action_head.spread
    if spread is None:
        return policy.action_head.bias.new_zeros(1, 0)
    if isinstance(spread, ParameterSpread):
        same_in_all: Tensor = spread()
        return same_in_all.unsqueeze(0)
    pieces = [
        output.distribution.parameters()["log_sigma_sq"][rollout.valid[rows].to(spread.bias.device)]
        for rows, output in unroll(policy, rollout)
    ]
    return torch.cat(pieces)


@torch.no_grad()
def exploration_metrics(
    policy: ActorNetwork, log_sigma_sq: Tensor, action: Mapping[str, Tensor]
) -> Metrics:
    """How widely continuous actions vary, by dimension, and how many of them the bounds cut.

    Args:
        policy: without tanh its entropy per dimension is reported too.
        log_sigma_sq: [N, D] of N steps, over which means are taken; or [1, D] of all.
        action: {name: [..., numbers]} as sampled.
    """
    if log_sigma_sq.numel() == 0:
        return {}
    by_dimension = {SIGMA_PREFIX: torch.exp(0.5 * log_sigma_sq)}
    if policy.config.action.distribution == "gaussian":
        by_dimension[ENTROPY_PREFIX] = entropy_per_dimension(log_sigma_sq)
    metrics = {
        f"{prefix}{d}": value
        for prefix, values in by_dimension.items()
        for d, value in enumerate(values.mean(dim=0).tolist())
    }
    continuous = action["continuous"]
    if continuous.numel():
        metrics[CLIPPED_ACTIONS.name] = policy.bounds.is_clipped(continuous).float().mean().item()
    return metrics


def value_metrics(policy: ActorCritic, all_steps: Minibatch) -> Metrics:
    """The critic's mean values over a rollout, and how much of the returns they explain.

    Args:
        policy: whose statistics of returns are those that normalised `all_steps`.
        all_steps: [1, N].
    """
    head, value = policy.value_head, all_steps.steps.value
    return_ = all_steps.estimate.return_
    return {
        **mean_value(head.streams, value),
        **explained_variances(head.streams, head.normalizer.normalized(value), return_),
    }


def explained_variances(streams: Sequence[str], value: Tensor, return_: Tensor) -> Metrics:
    """The explained variance of each value stream over the steps of a rollout.

    Args:
        streams: V names, in the order of the critic's outputs.
        value: [1, N, V].
        return_: [1, N, V].
    """
    if return_.numel() == 0:
        return {}
    return {
        EXPLAINED_VARIANCE_OF[name].name: explained_variance(
            value[..., index], return_[..., index]
        ).item()
        for index, name in enumerate(streams)
    }


def mean_value(streams: Sequence[str], value: Tensor) -> Metrics:
    """The mean predicted reward to come over the steps of a rollout.

    Args:
        streams: V names, in the order of the critic's outputs.
        value: [1, N, V] in units of the reward.
    """
    if value.numel() == 0:
        return {}
    return {VALUE_MEAN.name: value[..., streams.index(REWARD_STREAM)].mean().item()}


def non_finite(metrics: Mapping[str, float]) -> str:
    """The metrics that are not finite, for a message; "" if all are."""
    return ", ".join(
        f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)
    )
