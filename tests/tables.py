"""Tabular policies for toy tasks, with one weight per observation and choice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from entrain.algorithms.entropy import Entropy, Regularizer
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import ActionConfig, EntropyConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, PolicyOutput
from entrain.policy.distributions import DiagonalGaussian, MultiCategorical
from entrain_envs.environment import Environment
from in_process import Learned, learn
from made_rollouts import knows_its_unit

NO_ENTROPY = EntropyConfig()
UNIT_SIGMA = ActionConfig()


def table_config(
    *,
    updates: int = 1,
    entropy: EntropyConfig = NO_ENTROPY,
    action: ActionConfig = UNIT_SIGMA,
    rollout_steps: int = 2048,
    discount: float = 0.99,
    **ppo: Any,
) -> PolicyConfig:
    """Of a table that learns with advantages in units of the reward, unless told otherwise."""
    algorithm = PPOConfig(
        **{
            "learning_rate": 0.05,
            "num_epochs": 2,
            "advantage_normalization": "none",
            "max_grad_norm": 0.0,
            **ppo,
        }
    )
    return PolicyConfig(
        total_steps=updates * rollout_steps,
        rollout_steps=rollout_steps,
        discount=discount,
        network=NetworkConfig(hidden_sizes=()),
        normalize_observations=False,
        entropy=entropy,
        action=action,
        algorithm=algorithm,
    )


def learn_table(
    environment: Environment,
    *,
    seed: int = 0,
    prepare: Callable[[ActorCritic], None] = lambda policy: None,
    regularize: Callable[[ActorCritic], Regularizer] = lambda policy: Entropy(),
    **options: Any,
) -> Learned:
    """Learn with the `options` of `table_config`."""
    config = table_config(**options)
    return learn(environment, config, seed=seed, prepare=prepare, regularize=regularize)


@torch.no_grad()
def set_choices(policy: ActorCritic, chances: Tensor) -> None:
    """Make the table choose with the `chances`, [states, choices], of its one branch."""
    policy.action_head.weight.copy_(chances.log().T)
    policy.action_head.bias.zero_()


@torch.no_grad()
def set_values(policy: ActorCritic, values: Tensor) -> None:
    """Make the table say the `values`, [states, V]."""
    knows_its_unit(policy)
    policy.value_head.weight.copy_(values.T)
    policy.value_head.bias.zero_()


def outlook(policy: ActorNetwork, seen: Tensor) -> PolicyOutput:
    """What the policy says of observations [N, size], as one step of N columns."""
    with torch.no_grad():
        output: PolicyOutput = policy(
            {"seen": seen[None]},
            policy.initial_state(len(seen)),
            torch.zeros(1, len(seen), dtype=torch.bool),
        )
    return output


def probabilities(policy: ActorNetwork, seen: Tensor) -> Tensor:
    """[N, choices]."""
    distribution = outlook(policy, seen).distribution
    assert isinstance(distribution, MultiCategorical)
    return distribution.log_probs.exp()[0, :, 0]


def normal(policy: ActorNetwork, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [N, D] and variance [D]."""
    distribution = outlook(policy, seen).distribution
    assert isinstance(distribution, DiagonalGaussian)
    return distribution.mean[0], distribution.sigma_sq


def values(policy: ActorNetwork, seen: Tensor) -> Tensor:
    """[N, V]."""
    return outlook(policy, seen).value[0]
