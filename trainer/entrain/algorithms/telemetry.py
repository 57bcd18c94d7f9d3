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

MEANS = (LOSS_POLICY, LOSS_VALUE, LOSS_ENTROPY, ENTROPY, KL, CLIP_FRACTION)
"""Metrics that are means over the steps of an epoch, in the order in which they are computed."""

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
        self.head_squares: Tensor | None = None
        """[2] of the epoch's first minibatch; None until then. See `PPOLoss.head_squares`."""

    @classmethod
    def of(
        cls,
        terms: Mapping[str, Tensor],
        gradient_norms: Sequence[Tensor],
        *,
        head_squares: Tensor | None = None,
        weight: Tensor | None = None,
        weighs: bool = True,
    ) -> "EpochLog":
        """All of one epoch at once.

        Args:
            terms: {name: [1, N, ...]} those of `KEPT`, of the N valid steps of all minibatches.
            gradient_norms: [] each, of the minibatches.
            head_squares: [2] of the first minibatch that has steps.
            weight: [1, N] see `Estimate.weight`.
            weighs: see `__init__`.
        """
        log = cls(weighs=weighs)
        log._gradient_norms = list(gradient_norms)
        log.head_squares = head_squares
        policy = terms["policy"]
        if policy.numel():
            log._terms.append(terms)
            log._masks.append(torch.ones(policy.shape, dtype=torch.bool))
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
        share = critic_share(self.head_squares, device=norm.device, ranks=ranks)
        return {**dict(zip(names, values.tolist(), strict=True)), CRITIC_SHARE.name: share}

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
        ]
        return torch.stack(means)


def critic_share(
    head_squares: Tensor | None, *, device: torch.device, ranks: Ranks = ALONE
) -> float:
    """The critic's share of the squared gradient of what both heads read.

        |g_v|^2 / (|g_v|^2 + |g_p|^2)

    Behind shared layers both gradients go on by the same chain rule, so this is about the share
    that the critic has in them. 0 where the policy has none, as when all advantages are equal:
    nothing is taken from it.

    Args:
        head_squares: [2] see `PPOLoss.head_squares`; None on a rank without a step.
        device: of the policy.
        ranks: over whose steps.
    """
    nothing = torch.zeros(2, dtype=torch.float64, device=device)
    of_critic, of_policy = ranks.sum(nothing if head_squares is None else head_squares).tolist()
    return of_critic / (of_critic + of_policy) if of_policy > 0.0 else 0.0


def mean_over_epochs(epochs: list[Metrics]) -> dict[str, float]:
    """The mean of each metric over the epochs of one update."""
    return {name: sum(epoch[name] for epoch in epochs) / len(epochs) for name in epochs[0]}


def rollout_metrics(
    policy: ActorCritic, rollout: Rollout, all_steps: Minibatch, *, ranks: Ranks = ALONE
) -> Metrics:
    """Of the steps of a rollout: how widely actions vary now, what the critic said when acting.

    Args:
        policy: after the update.
        rollout: of this rank.
        all_steps: [1, N] its valid steps; see `value_metrics`.
        ranks: over whose steps.
    """
    action, log_sigma_sq = all_steps.steps.action, log_sigma_sq_over(policy, rollout)
    return {
        **exploration_metrics(policy, log_sigma_sq, action, ranks=ranks),
        **value_metrics(policy, all_steps, ranks=ranks),
    }


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
    policy: ActorNetwork,
    log_sigma_sq: Tensor,
    action: Mapping[str, Tensor],
    *,
    ranks: Ranks = ALONE,
) -> Metrics:
    """How widely continuous actions vary, by dimension, and how many of them the bounds cut.

    Args:
        policy: without tanh its entropy per dimension is reported too.
        log_sigma_sq: [N, D] of N steps, over which means are taken; or [1, D] of all.
        action: {name: [..., D]} of N steps, as sampled.
        ranks: over whose steps means are taken; N may be 0 on some.
    """
    dimensions = log_sigma_sq.shape[-1]
    if not dimensions:
        return {}
    by_dimension = {SIGMA_PREFIX: torch.exp(0.5 * log_sigma_sq)}
    if policy.config.action.distribution == "gaussian":
        by_dimension[ENTROPY_PREFIX] = entropy_per_dimension(log_sigma_sq)
    names = [f"{prefix}{d}" for prefix in by_dimension for d in range(dimensions)]
    continuous = action["continuous"].reshape(-1, dimensions)
    is_clipped = policy.bounds.is_clipped(continuous).to(log_sigma_sq.dtype)
    means = [values.sum(dim=0) / max(1, len(values)) for values in by_dimension.values()]
    means.append(is_clipped.sum().reshape(1).to(log_sigma_sq.device) / max(1, is_clipped.numel()))
    of_all = ranks.mean(torch.cat(means), weight=len(continuous)).tolist()
    return dict(zip([*names, CLIPPED_ACTIONS.name], of_all, strict=True))


def value_metrics(policy: ActorCritic, all_steps: Minibatch, *, ranks: Ranks = ALONE) -> Metrics:
    """The critic's mean values over a rollout, and how much of the returns they explain.

    Args:
        policy: whose statistics of returns are those that normalised `all_steps`.
        all_steps: [1, N].
        ranks: over whose steps; N may be 0 on some.
    """
    head, value = policy.value_head, all_steps.steps.value
    rewards = value[..., head.streams.index(REWARD_STREAM)].double()
    mean = ranks.mean(rewards.sum() / max(1, rewards.numel()), weight=rewards.numel())
    explained = explained_variance(
        head.normalizer.normalized(value).flatten(0, 1),
        all_steps.estimate.return_.flatten(0, 1),
        ranks=ranks,
    )
    of_streams = zip(head.streams, explained.tolist(), strict=True)
    return {
        VALUE_MEAN.name: mean.item(),
        **{EXPLAINED_VARIANCE_OF[name].name: share for name, share in of_streams},
    }


def non_finite(metrics: Mapping[str, float]) -> str:
    """The metrics that are not finite, for a message; "" if all are."""
    return ", ".join(
        f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)
    )
