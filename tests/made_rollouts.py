"""Rollouts for tests of learning, without a simulator: a real policy acts on random observations.

Behind the end of each column lies whatever the test wants there, so that a leak is loud.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from entrain.algorithms.ppo import PPO
from entrain.config import ActionConfig, NetworkConfig, PolicyConfig, PPOConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.state import State
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

CONTINUOUS = ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
DISCRETE = ActionSpec(branches=(2, 3))
HYBRID = ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,))


def made_policy(
    action: ActionSpec = CONTINUOUS,
    *,
    seed: int = 0,
    hidden: Sequence[int] = (8,),
    initial_log_sigma_sq: float = 0.0,
    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian",
) -> ActorCritic:
    """A small policy that observes two named vectors."""
    spec = BehaviourSpec("walker", (ObservationSpec("a", (3,)), ObservationSpec("b", ())), action)
    config = PolicyConfig(
        network=NetworkConfig(hidden_sizes=tuple(hidden)),
        action=ActionConfig(distribution=distribution, initial_log_sigma_sq=initial_log_sigma_sq),
    )
    return ActorCritic(spec, config, seed=seed)


def made_rollout(
    policy: ActorCritic,
    lengths: Sequence[int],
    *,
    seed: int = 0,
    filler: float = 0.0,
    extra_rows: int = 0,
) -> Rollout:
    """What `policy` did on random observations, for random rewards, in columns of these lengths.

    Each step ends an episode with probability 1/4, half of them by truncation.

    Args:
        policy: acts, and values.
        lengths: [B] steps of each column; 0 is a column without a step.
        seed: of observations, noise and rewards. They are drawn column by column: what a column
            holds depends neither on the padding nor on the other columns' lengths.
        filler: what float fields hold behind the end of a column.
        extra_rows: rows of padding below the longest column.
    """
    columns = [_column(policy, n, seed=1000 * seed + b) for b, n in enumerate(lengths)]
    rows = max(lengths) + extra_rows
    return Rollout(**{name: _joined(columns, name, rows, filler) for name in columns[0]})


def made_ppo(policy: ActorCritic, *, seed: int = 0, **options: Any) -> PPO:
    """Small minibatches and two epochs, unless told otherwise."""
    options = {"minibatch_size": 8, "num_epochs": 2, **options}
    return PPO(policy, PPOConfig(**options), seed=seed, device=torch.device("cpu"))


def same_state(one: State, other: State) -> bool:
    """Whether both hold the same values, bit for bit."""
    a, b = _leaves(one), _leaves(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _leaves(state: State) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            leaves |= {f"{name}/{path}": leaf for path, leaf in _leaves(value).items()}
        else:
            leaves[name] = value
    return leaves


def permuted_columns(rollout: Rollout, order: Sequence[int]) -> Rollout:
    """The same columns in another order."""
    index = torch.tensor(list(order))

    def permute(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {key: permute(tensor, key) for key, tensor in value.items()}
        return value.index_select(0 if name == "initial_state" else 1, index)

    return Rollout(
        **{
            field.name: permute(getattr(rollout, field.name), field.name)
            for field in fields(rollout)
        }
    )


def _column(policy: ActorCritic, length: int, *, seed: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(length, 1, *shape, generator=generator)

    observation = {"a": normal(3), "b": normal()}
    choices = policy.spec.action.num_choices
    # The first choice of every branch stays allowed.
    mask = torch.rand(length, 1, choices, generator=generator) < 0.7
    first = 0
    for branch in policy.spec.action.branches:
        mask[..., first] = True
        first += branch
    ending = torch.rand(length, 1, generator=generator)
    terminated, truncated = ending < 0.125, (ending >= 0.125) & (ending < 0.25)
    uniform = torch.rand(length, 1, policy.noise_size, generator=generator, dtype=torch.float64)
    after = normal()
    reset = torch.zeros(length, 1, dtype=torch.bool)
    boundary = terminated | truncated
    boundary[-1:] = True
    with torch.inference_mode():
        output = policy(observation, policy.initial_state(1), reset)
        distribution = output.distribution.masked(mask)
        action = distribution.sample(uniform.clamp(1e-9, 1.0 - 1e-9))
        return {
            "observation": observation,
            "action": {name: tensor.clone() for name, tensor in action.items()},
            "action_mask": mask,
            "log_prob": distribution.log_prob(action).clone(),
            "value": output.value.clone(),
            "reward": normal(),
            "next_value": after.masked_fill(terminated, 0.0),
            "boundary": boundary,
            "reset": reset,
            "valid": torch.ones(length, 1, dtype=torch.bool),
            "policy_version": torch.zeros(length, 1, dtype=torch.int64),
            "initial_state": policy.initial_state(1),
        }


def _joined(columns: Sequence[Mapping[str, Any]], name: str, rows: int, filler: float) -> Any:
    values = [column[name] for column in columns]
    if isinstance(values[0], Mapping):
        return {key: _joined(values, key, rows, filler) for key in values[0]}
    if name == "initial_state":
        return torch.cat(values)
    return torch.cat([_padded(value, rows, filler) for value in values], dim=1)


def _padded(tensor: Tensor, rows: int, filler: float) -> Tensor:
    # Inference tensors take no part in autograd; a copy made here does.
    padding = torch.zeros(rows - len(tensor), *tensor.shape[1:], dtype=tensor.dtype)
    if tensor.is_floating_point():
        padding.fill_(filler)
    return torch.cat([tensor, padding])
