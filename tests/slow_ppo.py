"""A second definition of recurrent PPO's loss: one step of one column after the other.

Nothing is padded, nothing is batched, and no line is shared with the real one but the network
itself, which sees a single step at a time.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.config.algorithm import PPOConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic, PolicyOutput


@dataclass(frozen=True)
class SlowStep:
    """What one valid step contributes; every tensor is []."""

    surrogate: Tensor
    value_error: Tensor
    entropy: Tensor
    log_ratio: Tensor


def slow_loss(steps: Sequence[SlowStep], config: PPOConfig, entropy_coefficient: float) -> Tensor:
    """[] mean over steps of surrogate + c_v * value error - c_e * entropy."""
    total = torch.zeros((), dtype=torch.float64)
    for step in steps:
        total = total + step.surrogate + config.value_coefficient * step.value_error
        total = total - entropy_coefficient * step.entropy
    return total / len(steps)


def slow_steps(
    policy: ActorCritic,
    rollout: Rollout,
    config: PPOConfig,
    *,
    discount: float,
    beginning: ActorCritic | None = None,
) -> list[SlowStep]:
    """All valid steps of a rollout, whose advantages are normalised over all of them.

    `beginning` begins the update, if another policy acted: the ratio is to it, and each step weighs
    as much more as it was more likely to do what was done.
    """
    before = {} if beginning is None else slow_log_probs(beginning, rollout)
    estimates = slow_advantages(rollout, discount=discount, gae_lambda=config.gae_lambda)
    advantages = list(estimates.values())
    mean, std = 0.0, 1.0
    if config.advantage_normalization != "none" and len(advantages) > 1:
        mean = sum(advantages) / len(advantages)
        std = math.sqrt(sum((a - mean) ** 2 for a in advantages) / (len(advantages) - 1))
        std = std + 1e-8 * abs(mean) or 1.0
    steps = []
    for cell, output in slow_outputs(policy, rollout):
        action = {name: tensor[cell] for name, tensor in rollout.action.items()}
        log_prob, entropy = slow_distribution(policy, output, action, rollout.action_mask[cell])
        acted = rollout.log_prob[cell]
        log_ratio = log_prob - before.get(cell, acted)
        ratio = log_ratio.exp()
        weight = min(math.exp(before.get(cell, acted) - acted), 10.0)
        advantage = weight * (estimates[cell] - mean) / std
        held = ratio.clamp(1.0 - config.clip_range, 1.0 + config.clip_range)
        value, old_value = output.value[0, 0, 0], rollout.value[cell][0]
        return_ = estimates[cell] + old_value
        error = (value - return_) ** 2
        if config.value_clip_range > 0.0:
            moved = (value - old_value).clamp(-config.value_clip_range, config.value_clip_range)
            error = torch.maximum(error, (old_value + moved - return_) ** 2)
        surrogate = -torch.minimum(ratio * advantage, held * advantage)
        steps.append(SlowStep(surrogate, error, entropy, log_ratio))
    return steps


@torch.no_grad()
def slow_log_probs(policy: ActorCritic, rollout: Rollout) -> dict[tuple[int, int], Tensor]:
    """{(t, b): [] log-probability of what was done} under this policy."""
    found = {}
    for (t, b), output in slow_outputs(policy, rollout):
        action = {name: tensor[t, b] for name, tensor in rollout.action.items()}
        found[t, b], _ = slow_distribution(policy, output, action, rollout.action_mask[t, b])
    return found


def slow_advantages(
    rollout: Rollout, *, discount: float, gae_lambda: float
) -> dict[tuple[int, int], float]:
    """{(t, b): advantage} of each valid step, not normalised."""
    advantages = {}
    for b, length in enumerate(lengths_of(rollout)):
        following = 0.0
        for t in reversed(range(length)):
            value, next_value = rollout.value[t, b, 0].item(), rollout.next_value[t, b, 0].item()
            if rollout.boundary[t, b]:
                following = 0.0
            delta = rollout.reward[t, b].item() + discount * next_value - value
            following = delta + discount * gae_lambda * following
            advantages[t, b] = following
    return advantages


def slow_outputs(
    policy: ActorCritic, rollout: Rollout
) -> Iterator[tuple[tuple[int, int], PolicyOutput]]:
    """((t, b), what the policy says there), sequence by sequence from the state before each."""
    memory = policy.config.network.memory
    for b, length in enumerate(lengths_of(rollout)):
        for q, top in enumerate(range(0, length, memory.sequence_length)):
            state = _state_before(policy, rollout, q, b)
            for t in range(top, min(top + memory.sequence_length, length)):
                output = _look(policy, rollout, t, b, state)
                state = output.state
                yield (t, b), output


def slow_distribution(
    policy: ActorCritic, output: PolicyOutput, action: Mapping[str, Tensor], allowed: Tensor
) -> tuple[Tensor, Tensor]:
    """[] log-probability of `action`, {"continuous": [D], "discrete": [N]}, and [] entropy."""
    parameters = {name: tensor[0, 0] for name, tensor in output.distribution.parameters().items()}
    log_prob = entropy = torch.zeros((), dtype=torch.float64)
    if "action_mean" in parameters:
        mean, log_sigma_sq = parameters["action_mean"], parameters["log_sigma_sq"]
        for d in range(len(mean)):
            z_sq = (action["continuous"][d] - mean[d]) ** 2 / torch.exp(log_sigma_sq[d])
            log_prob = log_prob - 0.5 * (z_sq + log_sigma_sq[d] + math.log(2 * math.pi))
            entropy = entropy + 0.5 * (log_sigma_sq[d] + math.log(2 * math.pi * math.e))
    first = 0
    for n, choices in enumerate(policy.spec.action.branches):
        logits, is_allowed = (x[first : first + choices] for x in (parameters["logits"], allowed))
        total = torch.logsumexp(logits[is_allowed], 0)
        log_prob = log_prob + logits[action["discrete"][n]] - total
        for choice in is_allowed.nonzero().flatten().tolist():
            log_p = logits[choice] - total
            entropy = entropy - log_p.exp() * log_p
        first += choices
    return log_prob, entropy


def lengths_of(rollout: Rollout) -> list[int]:
    """Valid steps of each column."""
    return [int(n) for n in rollout.valid.sum(0)]


@torch.no_grad()
def _state_before(policy: ActorCritic, rollout: Rollout, q: int, b: int) -> Tensor:
    """[1, S] before sequence q of column b: stored, or made anew of the rows before."""
    memory = policy.config.network.memory
    top = q * memory.sequence_length
    known = max(0, top - memory.burn_in)
    state = rollout.sequence_state[q, b : b + 1]
    if memory.refresh_states:
        known, state = 0, rollout.sequence_state[0, b : b + 1]
    for t in range(known, top):
        state = _look(policy, rollout, t, b, state).state
    return state


def _look(policy: ActorCritic, rollout: Rollout, t: int, b: int, state: Tensor) -> PolicyOutput:
    if rollout.reset[t, b]:
        state = torch.zeros_like(state)
    output: PolicyOutput = policy(
        {name: tensor[t : t + 1, b : b + 1] for name, tensor in rollout.observation.items()},
        state,
        torch.zeros(1, 1, dtype=torch.bool),
    )
    return output
