"""Evaluates a rollout by the policy that begins its update, where an older one acted.

With `policy_lag` 1 a rollout is learned from one update after it was collected. By the
log-probabilities that were stored with it PPO's clip would hold the policy near the one that acted,
and not near the one that the update begins with; see `surrogates`. Values stay as they were stored:
those of the present critic were measured and taught no more.

Shapes: T steps, B columns; A parts of an action.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entrain import metrics
from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.losses import kl_estimate
from entrain.algorithms.minibatches import make_minibatches
from entrain.algorithms.ppo_loss import PPOLoss
from entrain.algorithms.unrolling import steps_at_once
from entrain.experience import Estimate, PerDimensionRollout, Rollout
from entrain.ranks import Ranks


@dataclass(frozen=True)
class Renewed:
    """A rollout as evaluated by the policy that begins the update."""

    log_prob: Tensor | None
    """[T, B], or [T, B, A] of the parts of actions; None if it is the policy that acted."""

    metrics: Metrics
    """How far the two policies are apart."""


class Renewal:
    """Renews the rollouts of one policy before its updates."""

    def __init__(self, loss: PPOLoss, *, device: torch.device, ranks: Ranks) -> None:
        """Take the parts of a `PPO`."""
        self._loss = loss
        self._device = device
        self._ranks = ranks
        self._has_lag = loss.policy.config.policy_lag > 0

    def __call__(self, rollout: Rollout, version: int) -> Renewed:
        """Before update `version` + 1; nothing without `policy_lag`."""
        if not self._has_lag:
            return Renewed(None, {})
        log_prob = None
        moved = torch.zeros((), dtype=torch.float64)
        if is_behind(rollout, version):
            log_prob = evaluated_again(rollout, self._loss, device=self._device)
            moved = _distance(rollout, log_prob)
        mean = self._ranks.mean(moved, weight=rollout.num_steps)
        return Renewed(log_prob, {metrics.LAG_KL.name: mean.item()})


def is_behind(rollout: Rollout, version: int) -> bool:
    """Whether an older policy than `version` acted at some of the steps."""
    return bool((rollout.policy_version != version)[rollout.valid].any())


@torch.no_grad()
def evaluated_again(rollout: Rollout, loss: PPOLoss, *, device: torch.device) -> Tensor:
    """[T, B], or [T, B, A] log-probabilities under the present policy; in padding as stored.

    Recurrent states are those that minibatches start from, so that before the first gradient step
    every ratio is 1.

    Args:
        rollout: as collected, with at least one valid step.
        loss: of the policy.
        device: where the policy is.
    """
    minibatches = make_minibatches(
        rollout,
        Estimate(rollout.reward, rollout.value),
        loss.policy,
        size=steps_at_once(rollout),
        device=device,
    )
    place = rollout.valid.flatten().nonzero().squeeze(1)
    log_prob = loss.surrogate.acted(rollout).clone()
    for rows, padded in minibatches.in_order():
        minibatch = padded.cleaned()
        mask = minibatch.mask
        _, distribution = loss.evaluate(minibatch)
        found = loss.surrogate.log_prob(distribution, minibatch.steps)
        log_prob.flatten(0, 1)[place[rows[mask.to(rows.device)]]] = found[mask].to(log_prob)
    return log_prob


def _distance(rollout: Rollout, log_prob: Tensor) -> Tensor:
    """[] nats, an estimate of KL(policy that acted || policy that begins the update)."""
    if isinstance(rollout, PerDimensionRollout):
        log_prob = log_prob.sum(dim=-1)
    return kl_estimate((log_prob - rollout.log_prob)[rollout.valid].double()).mean()
