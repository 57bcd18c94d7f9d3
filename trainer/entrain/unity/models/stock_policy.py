"""Makes of a stock checkpoint the policy of ours that computes what it does.

A network of mlagents-learn computes the same as ours with these options:

    network.activation: silu         network.hidden_sizes: num_layers times hidden_units
    action.clip: 3                   network.memory: lstm of memory_size / 2
    observation_clip: 5              network.shared: shared_critic
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.unity.models.correspondence import Link, links_of
from entrain.unity.models.observation_statistics import (
    sensor_sizes,
    set_statistics,
    statistics_misfit,
)
from entrain.unity.models.stock_checkpoint import StockCheckpoint
from entrain.unity.models.stock_names import BODY, BRANCHES, CRITIC, EXTRINSIC, GAUSSIAN, LSTM
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


@dataclass(frozen=True)
class Sizes:
    """The sizes of a checkpoint's layers, which fit each other."""

    hidden: tuple[int, ...]
    """Outputs of each hidden layer."""

    inputs: int
    """Of the first hidden layer: numbers that it observes."""

    memory: int
    """Of its LSTM; 0 without one."""

    dimensions: int
    """Of continuous actions."""

    branches: tuple[int, ...]
    """Choices of each branch of actions."""


def sizes_of(checkpoint: StockCheckpoint) -> Sizes:
    """The sizes that its tensors have; CheckpointError if they do not fit each other."""
    hidden: list[int] = []
    features = inputs = 0
    while (name := f"{BODY}.{2 * len(hidden)}.weight") in checkpoint.policy:
        outputs, columns = _matrix(checkpoint, name, features)
        inputs, features = inputs or columns, outputs
        hidden.append(outputs)
    if not hidden:
        raise CheckpointError(f"{checkpoint.path}: it has no '{BODY}.0.weight'; it is damaged")
    memory = 0
    if f"{LSTM}.weight_ih_l0" in checkpoint.policy:
        gates, _ = _matrix(checkpoint, f"{LSTM}.weight_ih_l0", features)
        rows, memory = _matrix(checkpoint, f"{LSTM}.weight_hh_l0", gates // 4)
        if rows != gates or gates != 4 * memory:
            raise CheckpointError(
                f"{checkpoint.path}: '{LSTM}.weight_hh_l0' is [{rows}, {memory}], which is none of "
                f"an LSTM with {gates} gates; it is damaged"
            )
        features = memory
    dimensions = 0
    branches: list[int] = []
    if (name := f"{GAUSSIAN}.mu.weight") in checkpoint.policy:
        dimensions, _ = _matrix(checkpoint, name, features)
    while (name := f"{BRANCHES}.{len(branches)}.weight") in checkpoint.policy:
        branches.append(_matrix(checkpoint, name, features)[0])
    if not dimensions and not branches:
        raise CheckpointError(f"{checkpoint.path}: it has no layer of actions; it is damaged")
    return Sizes(tuple(hidden), inputs, memory, dimensions, tuple(branches))


def _matrix(checkpoint: StockCheckpoint, name: str, columns: int) -> tuple[int, int]:
    """(rows, columns) of a tensor; CheckpointError unless it has these columns; 0 are any."""
    shape = tuple(checkpoint.policy[name].shape) if name in checkpoint.policy else ()
    if len(shape) != 2 or 0 in shape or columns not in (0, shape[1]):
        raise CheckpointError(
            f"{checkpoint.path}: '{name}' is {list(shape)}, and must be a matrix"
            f"{f' of {columns} columns' if columns else ''}; it is damaged"
        )
    return shape[0], shape[1]


def stock_policy(checkpoint: StockCheckpoint, policy: ActorCritic) -> ActorNetwork:
    """The policy of a checkpoint: an actor with its critic, or alone if no values are of rewards.

    Args:
        checkpoint: of the same behaviour.
        policy: whose observations are in the order of the game's sensors. Observations of the same
            sizes are taken to be the same; options that no network is made of are as its own.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    sizes = sizes_of(checkpoint)
    observed = sensor_sizes(checkpoint.policy)
    if observed and (0 in observed or sum(observed) != sizes.inputs):
        raise CheckpointError(
            f"{checkpoint.path}: it has statistics of {list(observed)} numbers, and its first "
            f"layer reads {sizes.inputs}; it is damaged"
        )
    seen = _observations(observed, sizes.inputs, policy.spec.observations)
    bound = (1.0,) * sizes.dimensions
    action = ActionSpec(tuple(-it for it in bound), bound, sizes.branches)
    config = _config(policy.config, sizes, checkpoint, normalizes=bool(observed))
    trained = ActorCritic(BehaviourSpec(policy.spec.name, seen, action), config, seed=0)
    if misfit := statistics_misfit(checkpoint.policy, trained):
        raise CheckpointError(f"{checkpoint.path}: {misfit}; it is damaged")
    set_statistics(checkpoint.policy, trained)
    is_whole = _fill(trained, checkpoint)
    return trained if is_whole else trained.without_critic()


def _observations(
    sensors: Sequence[int], inputs: int, own: Sequence[ObservationSpec]
) -> tuple[ObservationSpec, ...]:
    """The observations of a checkpoint: vectors of `own` if they have the same sizes, or others.

    Args:
        sensors: their sizes; empty if they are not known.
        inputs: of all sensors together.
        own: observations of the policy to be.
    """
    vectors = tuple(it for it in own if it.kind in ("vector", "goal"))
    sizes = [it.size for it in vectors]
    if sizes == list(sensors) or (not sensors and sum(sizes) == inputs):
        return vectors
    names = [it.name for it in vectors]
    sizes = list(sensors) or [inputs]
    if len(names) != len(sizes):
        names = [f"sensor {index}" for index in range(len(sizes))]
    return tuple(ObservationSpec(name, (size,)) for name, size in zip(names, sizes, strict=True))


def _config(
    own: PolicyConfig, sizes: Sizes, checkpoint: StockCheckpoint, *, normalizes: bool
) -> PolicyConfig:
    """The options with which a policy computes what the checkpoint's does; others as `own`."""
    memory = {"kind": "lstm", "size": sizes.memory} if sizes.memory else {"kind": "none"}
    network = {
        "hidden_sizes": sizes.hidden,
        "activation": "silu",
        "layer_norm": False,
        "shared": checkpoint.is_shared,
        "memory": own.network.memory.model_copy(update={**memory, "layers": 1}),
        "previous_action": False,
        "previous_reward": False,
        "goal_conditioning": "concatenate",
        "custom": None,
    }
    action = {"distribution": "gaussian", "log_sigma_sq": "parameter", "clip": 3.0}
    return own.model_copy(
        update={
            "network": own.network.model_copy(update=network),
            "action": own.action.model_copy(update=action),
            "entropy": own.entropy.model_copy(update={"objective": "bonus"}),
            "normalize_observations": normalizes,
            "observation_clip": 5.0,
            "normalize_values": False,
        }
    )


def _fill(trained: ActorCritic, checkpoint: StockCheckpoint) -> bool:
    """Give it all weights of the checkpoint; returns whether the last layer of values is there."""
    parameters = dict(trained.named_parameters())
    has_values = any(it.startswith(f"{EXTRINSIC}.") for it in checkpoint.critic)
    for link in links_of(trained):
        if has_values or not link.names[0].startswith(f"{EXTRINSIC}."):
            part, piece = checkpoint.part(link.part), link.piece(parameters[link.ours].detach())
            _require_whole(link, part, piece, checkpoint.path)
            piece.copy_(link.weight(part))
    return has_values


def _require_whole(link: Link, part: Mapping[str, Tensor], piece: Tensor, path: Path) -> None:
    for name in link.names:
        named = f"{path}: {'the critic' if link.part == CRITIC else 'the actor'}'s '{name}'"
        arrived = list(part[name].shape) if name in part else "not there"
        if arrived != list(piece.shape):
            raise CheckpointError(
                f"{named} is {arrived}, its other tensors need {list(piece.shape)}; it is damaged"
            )
        if not bool(torch.isfinite(part[name].float()).all()):
            raise CheckpointError(f"{named} holds numbers that are not finite")
