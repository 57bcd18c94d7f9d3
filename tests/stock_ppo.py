"""A second definition of PPO as ML-Agents 1.1.0 has it: one number after the other, in float64.

Written from its formulas, not from the code of this project; only the network itself is shared,
and it sees one step at a time. The small constants that stock adds to its formulas are parameters
(`TINY` there): with 0 they are what they are meant to be.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.experience import PerDimensionRollout
from entrain.policy.actor_critic import ActorCritic
from slow_ppo import lengths_of, slow_outputs

TINY = 1e-7
"""That stock adds to variances, deviations and probabilities."""

ZERO = torch.zeros((), dtype=torch.float64)


@dataclass(frozen=True)
class StockStep:
    """One row of a minibatch; every tensor is []."""

    log_probs: Sequence[Tensor]
    """Of each continuous dimension, then of each branch."""

    old_log_probs: Sequence[float]
    entropy: Tensor
    value: Tensor
    old_value: float
    return_: float
    advantage: float

    mask: float
    """1, or 0 in padding."""


def stock_loss(
    steps: Sequence[StockStep], *, epsilon: float, beta: float, value_epsilon: float | None = None
) -> Tensor:
    """[] the loss of a minibatch.

    Args:
        steps: with padding.
        epsilon: of the ratios.
        beta: of the entropy.
        value_epsilon: of the values; None is what stock does, where old values are the returns.
    """
    surrogates, errors, entropies = [], [], []
    for step in steps:
        ratios = [
            (new - old).exp() for new, old in zip(step.log_probs, step.old_log_probs, strict=True)
        ]
        surrogates.append(
            [
                torch.minimum(
                    ratio * step.advantage,
                    ratio.clamp(1.0 - epsilon, 1.0 + epsilon) * step.advantage,
                )
                for ratio in ratios
            ]
        )
        is_inert = value_epsilon is None
        reach = epsilon if value_epsilon is None else value_epsilon
        old = step.return_ if is_inert else step.old_value
        near = old + (step.value - old).clamp(-reach, reach)
        errors.append([torch.maximum((step.return_ - step.value) ** 2, (step.return_ - near) ** 2)])
        entropies.append([step.entropy])
    masks = [step.mask for step in steps]
    policy = -_masked_mean(surrogates, masks)
    return policy + 0.5 * _masked_mean(errors, masks) - beta * _masked_mean(entropies, masks)


def stock_steps(
    policy: ActorCritic,
    rollout: PerDimensionRollout,
    *,
    discount: float,
    gae_lambda: float,
    horizon: int,
    tiny: float = TINY,
    normalize: Callable[[Sequence[float]], Sequence[float]] = lambda advantages: advantages,
) -> list[StockStep]:
    """Every step of a rollout, as the present weights see it, with two rows of padding behind.

    Args:
        policy: learns.
        rollout: as another acted.
        discount: of rewards.
        gae_lambda: of advantages.
        horizon: the longest chunk; 0 is as long as the rollout.
        tiny: see `TINY`.
        normalize: advantages over the rollout.
    """
    estimates = stock_advantages(rollout, discount=discount, gae_lambda=gae_lambda, horizon=horizon)
    normalized = dict(zip(estimates, normalize(list(estimates.values())), strict=True))
    steps = []
    for cell, output in slow_outputs(policy, rollout):
        parameters = {name: x[0, 0] for name, x in output.distribution.parameters().items()}
        log_probs: list[Tensor] = []
        entropy = ZERO
        if "action_mean" in parameters:
            mean, sigma = parameters["action_mean"], (0.5 * parameters["log_sigma_sq"]).exp()
            actions = rollout.action["continuous"][cell]
            log_probs += [_normal(*each, tiny) for each in zip(actions, mean, sigma, strict=True)]
            entropy = entropy + sum(_normal_entropy(each, tiny) for each in sigma) / len(sigma)
        first = 0
        for branch, size in enumerate(policy.spec.action.branches):
            logits = parameters["logits"][first : first + size]
            chances = _softmax(logits, rollout.action_mask[cell][first : first + size])
            log_probs.append((chances[int(rollout.action["discrete"][cell][branch])] + tiny).log())
            entropy = entropy - sum(p * (p + tiny).log() for p in chances if p > 0.0)
            first += size
        steps.append(
            StockStep(
                log_probs,
                rollout.log_prob_per_dimension[cell].tolist(),
                entropy,
                output.value[0, 0, 0],
                float(rollout.value[cell][0]),
                estimates[cell] + float(rollout.value[cell][0]),
                normalized[cell],
                mask=1.0,
            )
        )
    padding = StockStep([ZERO] * len(log_probs), [3.0] * len(log_probs), ZERO, ZERO, 7, -5, 9, 0.0)
    return [*steps, padding, padding]


def stock_advantages(
    rollout: PerDimensionRollout, *, discount: float, gae_lambda: float, horizon: int
) -> dict[tuple[int, int], float]:
    """{(t, b): advantage}, chunk by chunk.

    A chunk ends with an episode, after `horizon` steps, or with the rollout. Behind its last step
    stands the value of what followed, which is 0 where the episode terminated.
    """
    advantages: dict[tuple[int, int], float] = {}
    for b, length in enumerate(lengths_of(rollout)):
        chunk: list[int] = []
        for t in range(length):
            chunk.append(t)
            if rollout.boundary[t, b] or len(chunk) == horizon or t == length - 1:
                values = [float(rollout.value[u, b, 0]) for u in chunk]
                values.append(float(rollout.next_value[t, b, 0]))
                following = 0.0
                for i in reversed(range(len(chunk))):
                    reward = float(rollout.reward[chunk[i], b])
                    delta = reward + discount * values[i + 1] - values[i]
                    following = delta + discount * gae_lambda * following
                    advantages[chunk[i], b] = following
                chunk = []
    return dict(sorted(advantages.items(), key=lambda item: (item[0][1], item[0][0])))


def stock_schedule(initial: float, least: float, *, step: int, max_steps: int) -> float:
    """A linear schedule's value."""
    return (initial - least) * (1.0 - min(step, max_steps) / max_steps) + least


def _masked_mean(rows: Sequence[Sequence[Tensor]], masks: Sequence[float]) -> Tensor:
    total, count = ZERO, 0.0
    for row, mask in zip(rows, masks, strict=True):
        for x in row:
            total, count = total + x * mask, count + mask
    return total / max(count, 1.0)


def _normal(action: Tensor, mean: Tensor, sigma: Tensor, tiny: float) -> Tensor:
    distance = -((action - mean) ** 2) / (2.0 * sigma**2 + tiny)
    return distance - (sigma + tiny).log() - math.log(math.sqrt(2.0 * math.pi))


def _normal_entropy(sigma: Tensor, tiny: float) -> Tensor:
    return 0.5 * (2.0 * math.pi * math.e * sigma**2 + tiny).log()


def _softmax(logits: Tensor, allowed: Tensor) -> list[Tensor]:
    masked = [logit if ok else ZERO - 1e8 for logit, ok in zip(logits, allowed, strict=True)]
    total = sum(each.exp() for each in masked)
    return [each.exp() / total for each in masked]
