"""Says why the numbers of an update are not finite, and what helps against it.

What helps depends on which numbers they are: a lower learning rate helps against steps that are too
long, and against nothing that a simulator sends.
"""

import torch
from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.telemetry import non_finite
from entrain.config.algorithm import PPOConfig
from entrain.config.off_policy import OffPolicyConfig
from entrain.config.policy import PolicyConfig
from entrain.experience import Rollout
from entrain.metrics import LOSS_VALUE
from entrain.transitions import Transitions

SQUARED_IN_FLOAT32 = 1e19
"""The square of more is not finite in float32, or near it."""

KEPT = "The weights are still those before this update"


def explain_returns(rollout: Rollout, config: PolicyConfig) -> str:
    """Why returns are not finite: before a gradient was taken, so by what was collected alone."""
    reward = largest(rollout.reward[rollout.valid])
    if config.normalize_rewards:
        remedy = f"lower reward_clip (it is {config.reward_clip:g})"
    else:
        remedy = "set normalize_rewards: true"
    return (
        f"cannot be learned from: its rewards, of up to {reward:.3g}, add up to more than float32 "
        f"holds (3.4e38). {KEPT}; to resume, {remedy}, or let the simulator send smaller rewards"
    )


def unlearnable(transitions: Transitions, config: PolicyConfig) -> str:
    """Why no setting lets anything be learned from these steps; "" if something can be."""
    reward = largest(transitions.reward)
    if not reward <= SQUARED_IN_FLOAT32:
        return (
            f"cannot be learned from: rewards reach {reward:.3g}, and the squared error of that is "
            f"more than float32 holds. {KEPT}; lower reward_scale (it is {config.reward_scale:g}), "
            "or let the simulator send smaller rewards"
        )
    if config.normalize_observations:
        return ""
    for name, rows in transitions.observation.items():
        # What ends an episode is observed there, and by no step.
        observed = max(largest(rows.float()), largest(transitions.next_observation[name].float()))
        if observed > SQUARED_IN_FLOAT32:
            return (
                f"cannot be learned from: observation '{name}' reaches {observed:.3g}, which is "
                f"more than a network can square in float32. {KEPT}; start anew with "
                "normalize_observations: true, or let the simulator send smaller numbers"
            )
    return ""


def explain_steps(config: PPOConfig | OffPolicyConfig) -> str:
    """The remedy for gradient steps that are too long."""
    remedies = [f"a lower learning_rate (it is {config.learning_rate:g})"]
    if config.max_grad_norm == 0.0:
        remedies.append("with max_grad_norm above 0 (it is 0)")
    return f"{KEPT}; resume with {' or '.join(remedies)}"


def explain(
    metrics: Metrics,
    rollout: Rollout,
    config: PolicyConfig,
    algorithm: PPOConfig,
    *,
    epoch: int,
) -> str:
    """Why an update's numbers are not finite.

    Args:
        metrics: of its last epoch.
        rollout: that it learned from.
        config: of the policy.
        algorithm: of the algorithm.
        epoch: the number of that epoch.
    """
    found = non_finite(metrics)
    return f"diverged in epoch {epoch}: {found or 'weights are not finite'}. " + _cause(
        metrics, rollout, config, algorithm
    )


def _cause(metrics: Metrics, rollout: Rollout, config: PolicyConfig, algorithm: PPOConfig) -> str:
    reward = largest(rollout.reward[rollout.valid])
    if (
        LOSS_VALUE.name in non_finite(metrics)
        and reward > SQUARED_IN_FLOAT32
        and not config.normalize_values
    ):
        return (
            f"Rewards reach {reward:.3g}, and the critic's squared error of that is more than "
            f"float32 holds. {KEPT}; to resume, set normalize_values or normalize_rewards: true"
        )
    name, observed = largest_observation(rollout)
    if observed > SQUARED_IN_FLOAT32 and not config.normalize_observations:
        return (
            f"Observation '{name}' reaches {observed:.3g}, which is more than a network can square "
            f"in float32. {KEPT}; start anew with normalize_observations: true, or let the "
            "simulator send smaller numbers"
        )
    return explain_steps(algorithm)


def largest_observation(rollout: Rollout) -> tuple[str, float]:
    """The observation with the largest number, and that."""
    found = {
        name: largest(tensor[rollout.valid].float()) for name, tensor in rollout.observation.items()
    }
    return max(found.items(), key=lambda item: item[1], default=("", 0.0))


def largest(numbers: Tensor) -> float:
    """The largest absolute value; 0 of none."""
    return float(torch.nan_to_num(numbers.abs(), nan=0.0).max()) if numbers.numel() else 0.0
