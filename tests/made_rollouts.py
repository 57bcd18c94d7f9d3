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
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import (
    ActionConfig,
    EntropyConfig,
    MemoryConfig,
    NetworkConfig,
    PolicyConfig,
)
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.state import State
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

CONTINUOUS = ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
DISCRETE = ActionSpec(branches=(2, 3))
HYBRID = ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,))
NO_MEMORY = MemoryConfig()
PLAIN_BONUS = EntropyConfig()


def made_policy(
    action: ActionSpec = CONTINUOUS,
    *,
    seed: int = 0,
    hidden: Sequence[int] = (8,),
    initial_log_sigma_sq: float = 0.0,
    log_sigma_sq: Literal["parameter", "network"] = "parameter",
    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian",
    memory: MemoryConfig = NO_MEMORY,
    entropy: EntropyConfig = PLAIN_BONUS,
    network: NetworkConfig | None = None,
    **options: Any,
) -> ActorCritic:
    """A small policy that observes two named vectors; `network` comes before `hidden`, `memory`.

    `options` are others of `PolicyConfig`.
    """
    spec = BehaviourSpec("walker", (ObservationSpec("a", (3,)), ObservationSpec("b", ())), action)
    config = PolicyConfig(
        network=network or NetworkConfig(hidden_sizes=tuple(hidden), memory=memory),
        entropy=entropy,
        action=ActionConfig(
            distribution=distribution,
            log_sigma_sq=log_sigma_sq,
            initial_log_sigma_sq=initial_log_sigma_sq,
        ),
        **options,
    )
    policy = ActorCritic(spec, config, seed=seed)
    knows_its_unit(policy)
    return policy


def knows_its_unit(policy: ActorCritic) -> None:
    """Let a new critic estimate values in the unit of its outputs; it would say 0 until it learns.

    Where the test needs no statistics, values are then what the layers say.
    """
    policy.value_head.normalizer.scale.fill_(1.0)


def made_rollout(
    policy: ActorCritic,
    lengths: Sequence[int],
    *,
    seed: int = 0,
    filler: float = 0.0,
    extra_rows: int = 0,
    late: float = 0.0,
    rollout_type: type[Rollout] = Rollout,
) -> Rollout:
    """What `policy` did on random observations, for random rewards, in columns of these lengths.

    Each step ends an episode with probability 1/4, half of them by truncation. The first step of
    a column goes on with an episode: its recurrent state is not that of a beginning.

    Args:
        policy: acts, and values.
        lengths: [B] steps of each column; 0 is a column without a step.
        seed: of observations, noise and rewards. They are drawn column by column: what a column
            holds depends neither on the padding nor on the other columns' lengths.
        filler: what float fields hold behind the end of a column.
        extra_rows: rows of padding below the longest column.
        late: probability that a step is late.
        rollout_type: `PerDimensionRollout`, or one that needs no more than `Rollout`.
    """
    # A policy need not be able to look at no step at all: a column without steps is made of one.
    columns = [
        _first_rows(_column(policy, max(1, n), seed=1000 * seed + b, late=late), n)
        for b, n in enumerate(lengths)
    ]
    rows = max(lengths) + extra_rows
    sequences = max(1, -(-rows // policy.config.network.memory.sequence_length))
    return rollout_type(
        **{
            name: _joined(columns, name, sequences if name == "sequence_state" else rows, filler)
            for name in columns[0]
            if name in rollout_type.__dataclass_fields__
        }
    )


def made_ppo(policy: ActorCritic, *, seed: int = 0, discount: float = 0.99, **options: Any) -> PPO:
    """Small minibatches and two epochs, unless told otherwise."""
    options = {"minibatch_size": 8, "num_epochs": 2, **options}
    return PPO(
        policy,
        PPOConfig(**options),
        discount=discount,
        seed=seed,
        device=torch.device("cpu"),
    )


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

    def permute(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: permute(tensor) for key, tensor in value.items()}
        return value.index_select(1, index)

    return type(rollout)(
        **{field.name: permute(getattr(rollout, field.name)) for field in fields(rollout)}
    )


def _column(policy: ActorCritic, length: int, *, seed: int, late: float) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(length, 1, *shape, generator=generator)

    observation = {each.name: normal(*each.shape) for each in policy.inputs.observations}
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
    after = normal(policy.num_values)
    reward = normal()
    boundary = terminated | truncated
    reset = boundary.roll(1, 0)
    reset[:1] = False
    boundary[-1:] = True
    state = 0.5 * torch.randn(1, policy.state_size, generator=generator)
    # Last, so that a rollout without late steps is otherwise the same one.
    is_late = torch.rand(length, 1, generator=generator) < late
    acted, states = _acted(policy, observation, mask, uniform.clamp(1e-9, 1.0 - 1e-9), state, reset)
    return {
        **acted,
        "observation": observation,
        "action_mask": mask,
        "reward": reward,
        "next_value": after.masked_fill(terminated[..., None], 0.0),
        "boundary": boundary,
        "reset": reset,
        "late": is_late,
        "valid": torch.ones(length, 1, dtype=torch.bool),
        "policy_version": torch.zeros(length, 1, dtype=torch.int64),
        "sequence_state": _at_sequence_starts(policy, states),
    }


def _acted(
    policy: ActorCritic,
    observation: Mapping[str, Tensor],
    mask: Tensor,
    noise: Tensor,
    state: Tensor,
    reset: Tensor,
) -> tuple[dict[str, Any], Tensor]:
    """What the policy says of a column, and the states [T, 1, S] before its rows.

    With memory it looks at one row after the other, as in acting; without, at all of them at once.
    """
    rows = len(reset)
    pieces = [slice(t, t + 1) for t in range(rows)] if policy.state_size else [slice(rows)]
    states, said = [], []
    with torch.inference_mode():
        for piece in pieces:
            states.append(state.expand(piece.stop - (piece.start or 0), 1, -1))
            seen = {name: values[piece] for name, values in observation.items()}
            output = policy(seen, state, reset[piece])
            state = output.state
            distribution = output.distribution.masked(mask[piece])
            action = distribution.sample(noise[piece])
            parts = distribution.log_prob_per_dimension(action)
            said.append((action, distribution.log_prob(action), parts, output.value))
    actions, log_probs, parts, values = zip(*said, strict=True)
    return {
        "action": {name: torch.cat([action[name] for action in actions]) for name in actions[0]},
        "log_prob": torch.cat(log_probs),
        "log_prob_per_dimension": torch.cat(parts),
        "value": torch.cat(values),
    }, torch.cat(states)


def _at_sequence_starts(policy: ActorCritic, states: Tensor) -> Tensor:
    """[Q, 1, S] of [T, 1, S] states before rows: those that a rollout holds."""
    memory = policy.config.network.memory
    tops = range(0, len(states), memory.sequence_length)
    return torch.stack([states[max(0, top - memory.burn_in)] for top in tops])


def _first_rows(column: dict[str, Any], length: int) -> dict[str, Any]:
    def first(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: first(tensor) for key, tensor in value.items()}
        return value[:length]

    return {
        name: value if name == "sequence_state" else first(value) for name, value in column.items()
    }


def _joined(columns: Sequence[Mapping[str, Any]], name: str, rows: int, filler: float) -> Any:
    values = [column[name] for column in columns]
    if isinstance(values[0], Mapping):
        return {key: _joined(values, key, rows, filler) for key in values[0]}
    return torch.cat([_padded(value, rows, filler) for value in values], dim=1)


def _padded(tensor: Tensor, rows: int, filler: float) -> Tensor:
    # Inference tensors take no part in autograd; a copy made here does.
    padding = torch.zeros(rows - len(tensor), *tensor.shape[1:], dtype=tensor.dtype)
    if tensor.is_floating_point():
        padding.fill_(filler)
    return torch.cat([tensor, padding])
