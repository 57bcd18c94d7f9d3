"""Evaluates a rollout by the policy that begins its update, where an older one acted.

With `policy_lag` 1 a rollout is learned from one update after it was collected. What was stored
with it, log-probabilities and values, is as old: PPO's clip would hold the policy near the one that
acted, and not near the one that the update begins with; see `surrogates`. The critic has learned
since, too: its present values give better advantages, and its own clip is around them.

Shapes: T steps, B columns; A parts of an action.
"""

from dataclasses import dataclass, replace

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
    """A rollout as the policy that begins the update sees it."""

    rollout: Rollout
    """With its critic's values."""

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
        """A rollout as it is now, before update `version` + 1; without `policy_lag` as it came."""
        if not self._has_lag:
            return Renewed(rollout, None, {})
        renewed, log_prob = rollout, None
        moved = torch.zeros((), dtype=torch.float64)
        if is_behind(rollout, version):
            renewed, log_prob = evaluated_again(rollout, self._loss, device=self._device)
            moved = _distance(rollout, log_prob)
        mean = self._ranks.mean(moved, weight=rollout.num_steps)
        return Renewed(renewed, log_prob, {metrics.LAG_KL.name: mean.item()})


def is_behind(rollout: Rollout, version: int) -> bool:
    """Whether an older policy than `version` acted at some of the steps."""
    return bool((rollout.policy_version != version)[rollout.valid].any())


@torch.no_grad()
def evaluated_again(
    rollout: Rollout, loss: PPOLoss, *, device: torch.device
) -> tuple[Rollout, Tensor]:
    """A rollout with the present critic's values, and log-probabilities under the present policy.

    Recurrent states are those that minibatches start from, so that before the first gradient step
    every ratio is 1.

    Args:
        rollout: as collected, with at least one valid step.
        loss: of the policy.
        device: where the policy is.

    Returns:
        The rollout, and log-probabilities [T, B] or [T, B, A]; in padding both are as stored.
    """
    minibatches = make_minibatches(
        rollout,
        Estimate(rollout.reward, rollout.value),
        loss.policy,
        size=steps_at_once(rollout),
        device=device,
    )
    place = rollout.valid.flatten().nonzero().squeeze(1)
    value, log_prob = rollout.value.clone(), loss.surrogate.acted(rollout).clone()
    for rows, padded in minibatches.in_order():
        minibatch = padded.cleaned()
        mask = minibatch.mask
        output, distribution = loss.evaluate(minibatch)
        at = place[rows[mask.to(rows.device)]]
        found = loss.surrogate.log_prob(distribution, minibatch.steps)
        log_prob.flatten(0, 1)[at] = found[mask].to(log_prob)
        value.flatten(0, 1)[at] = output.value[mask].to(value)
    return replace(rollout, value=value, next_value=_next_value(rollout, value)), log_prob


def _next_value(rollout: Rollout, value: Tensor) -> Tensor:
    """[T, B, V] what followed, by the critic whose values of the steps are given.

    There is no observation of what follows a boundary. Its value is taken to have changed as much
    as that of the step before it, one step away; where an episode terminated it stays 0.
    """
    then = rollout.next_value
    next_value = torch.where(then == 0.0, then, then + (value - rollout.value))
    goes_on = (rollout.valid & ~rollout.boundary)[:-1].unsqueeze(-1)
    next_value[:-1] = torch.where(goes_on, value[1:], next_value[:-1])
    return next_value


def _distance(rollout: Rollout, log_prob: Tensor) -> Tensor:
    """[] nats, an estimate of KL(policy that acted || policy that begins the update)."""
    if isinstance(rollout, PerDimensionRollout):
        log_prob = log_prob.sum(dim=-1)
    return kl_estimate((log_prob - rollout.log_prob)[rollout.valid].double()).mean()
