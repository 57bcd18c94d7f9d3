"""Puts the weights of a stock checkpoint into a policy, so that it acts and values alike.

A network of mlagents-learn computes the same as ours with these options:

    network.activation: silu         network.hidden_sizes: num_layers times hidden_units
    action.clip: 3                   network.memory: lstm of memory_size / 2
    observation_clip: 5              network.shared: shared_critic
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.encoders import MixedEncoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.recurrence import RecurrentMemory
from entrain.policy.recurrent_layers import LSTMLayer
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain.quoting import shortened
from entrain.state import State
from entrain.unity.models.correspondence import Link, links_of
from entrain.unity.models.observation_statistics import set_statistics, statistics_misfit
from entrain.unity.models.stock_checkpoint import StockCheckpoint
from entrain.unity.models.stock_names import (
    BODY,
    CONDITIONED_BODY,
    CRITIC,
    ENCODER,
    EXTRINSIC,
    LSTM,
    VALUES,
)

_SHOWN, _SHOWN_OF_MANY = 8, 2
"""Most tensors that are named: with a line for each, and in one message."""


@dataclass(frozen=True)
class Fitting:
    """The parts of a checkpoint that fit a policy."""

    links: tuple[Link, ...]

    has_statistics: bool
    """Whether the statistics of all observations exist and fit, or both have none."""

    misfits: tuple[str, ...]
    """A line for each part that should be taken over and does not fit."""


def apply_stock_checkpoint(
    checkpoint: StockCheckpoint, policy: ActorCritic, *, partly: bool = False
) -> tuple[str, ...]:
    """Overwrite the weights of `policy`: all, or those that fit.

    Args:
        checkpoint: of the same behaviour.
        policy: whose observations are in the order of the game's sensors.
        partly: skip what does not fit, as mlagents-learn does; otherwise everything must fit.

    Returns:
        sentences about what was taken over and what was not.

    Raises:
        CheckpointError: the policy has other networks; the message names options that fit.
    """
    _require_same_kind(checkpoint, policy)
    fitting = _fitting(checkpoint, policy)
    if not fitting.links or (fitting.misfits and not partly):
        shown, more = fitting.misfits[:_SHOWN_OF_MANY], len(fitting.misfits) - _SHOWN_OF_MANY
        words = "; ".join([*shown, *([f"{more} more tensors do not fit"] if more > 0 else [])])
        raise CheckpointError(f"{checkpoint.path}: {words}; {_options_that_fit(checkpoint)}")
    parameters = dict(policy.named_parameters())
    with torch.no_grad():
        for link in fitting.links:
            link.piece(parameters[link.ours]).copy_(link.weight(checkpoint.part(link.part)))
        if fitting.has_statistics:
            set_statistics(checkpoint.policy, policy)
        # Values are in units of the reward: the head's own scale starts at 1.
        policy.value_head.normalizer.shift.zero_()
        policy.value_head.normalizer.scale.fill_(1.0)
    return tuple(_notes(checkpoint, policy, fitting))


def optimizer_state(checkpoint: StockCheckpoint, policy: ActorCritic) -> State:
    """The state of an `Adam` that continues from the checkpoint's.

    Args:
        checkpoint: all of which fits `policy`, see `apply_stock_checkpoint`.
        policy: of the optimizer.
    """
    moments = checkpoint.moments
    state: dict[str, dict[str, Tensor]] = {
        kind: {name: torch.zeros_like(it, device="cpu") for name, it in policy.named_parameters()}
        for kind in ("mean", "mean_square")
    }
    for power, (kind, theirs) in enumerate(
        (("mean", moments.mean), ("mean_square", moments.mean_square)), start=1
    ):
        for link in links_of(policy):
            found = theirs.get(link.part, {})
            if all(name in found for name in link.names):
                piece = link.piece(state[kind][link.ours])
                piece.copy_(link.moment(found, power, checkpoint.part(link.part)))
    arrays = {kind: {k: it.numpy() for k, it in each.items()} for kind, each in state.items()}
    return {"num_steps": moments.num_steps, **arrays}


def _require_same_kind(checkpoint: StockCheckpoint, policy: ActorCritic) -> None:
    trunk, network = policy.backbone.trunk, policy.config.network
    path = checkpoint.path
    misfit = network_misfit(policy)
    if misfit:
        raise CheckpointError(f"{path}: {misfit}")
    assert isinstance(trunk, Trunk)
    if trunk.hidden_layers.activation != "silu" or network.shared != checkpoint.is_shared:
        raise CheckpointError(
            f"{path} does not fit this policy's networks; {_options_that_fit(checkpoint)}"
        )
    backbone = policy.backbone
    memory = backbone.memory if isinstance(backbone, RecurrentBackbone) else None
    has_lstm = f"{LSTM}.weight_ih_l0" in checkpoint.policy
    if has_lstm != (memory is not None):
        raise CheckpointError(
            f"{path} does not fit this policy's memory; {_options_that_fit(checkpoint)}"
        )


def checkpoint_misfit(checkpoint: StockCheckpoint) -> str:
    """Why no policy of ours computes what a checkpoint's does; "" if one can."""
    for name in checkpoint.policy:
        if name.startswith(f"{ENCODER}.") and ".normalizer." not in name:
            return "it is of a policy that sees images or entities; only those of vectors are read"
        if name.startswith(f"{CONDITIONED_BODY}."):
            return (
                "it is of a policy whose goals act by a hypernetwork; only goal_conditioning_type "
                "none can be read"
            )
    return ""


def network_misfit(policy: ActorCritic) -> str:
    """Why mlagents-learn has no such network, whatever its sizes; "" if it has."""
    trunk, network = policy.backbone.trunk, policy.config.network
    if not isinstance(trunk, Trunk) or isinstance(trunk.encoder, MixedEncoder):
        return (
            "the policy sees images or entities, or has a network of its own, and these layers "
            "compute otherwise in mlagents-learn; only policies of vectors can be taken over"
        )
    if isinstance(trunk.hidden_layers, GoalHiddenLayers):
        return (
            "hypernetworks of goals compute otherwise in mlagents-learn; only its "
            "goal_conditioning_type none can be taken over, with goal_conditioning: concatenate"
        )
    if network.previous_action or network.previous_reward or network.layer_norm:
        return (
            "networks of mlagents-learn have no layer_norm, previous_action or previous_reward; "
            "set these to false"
        )
    if policy.config.action.distribution != "gaussian" or not policy.has_plain_spread:
        return (
            "its continuous actions are of a Gaussian with one log-variance each; set "
            "action.distribution: gaussian and action.log_sigma_sq: parameter"
        )
    backbone = policy.backbone
    if isinstance(backbone, RecurrentBackbone) and not _is_one_lstm(backbone.memory):
        return "its memory is one layer of an LSTM; set network.memory: {kind: lstm, layers: 1}"
    return ""


def _is_one_lstm(memory: RecurrentMemory) -> bool:
    return len(memory.layers) == 1 and isinstance(memory.layers[0], LSTMLayer)


def _fitting(checkpoint: StockCheckpoint, policy: ActorCritic) -> Fitting:
    """Find the parts that fit; CheckpointError if weights are not finite."""
    parameters = dict(policy.named_parameters())
    misfits = [
        (link, _misfit(link, checkpoint, link.piece(parameters[link.ours])))
        for link in links_of(policy)
    ]
    of_statistics = statistics_misfit(checkpoint.policy, policy)
    return Fitting(
        links=tuple(link for link, misfit in misfits if not misfit),
        has_statistics=not of_statistics,
        misfits=tuple(words for words in (*(it for _, it in misfits), of_statistics) if words),
    )


def _misfit(link: Link, checkpoint: StockCheckpoint, piece: Tensor) -> str:
    """Why theirs cannot become our piece; "" if it can."""
    part, needed = checkpoint.part(link.part), list(piece.shape)
    whose = "the critic's " if link.part == CRITIC else ""
    for name in link.names:
        if name not in part:
            return f"{whose}'{name}' is not there, this policy needs it as {needed}"
        if part[name].shape != piece.shape:
            return f"{whose}'{name}' is {list(part[name].shape)}, this policy needs {needed}"
        if not bool(torch.isfinite(part[name]).all()):
            raise CheckpointError(
                f"{checkpoint.path}: {whose}'{name}' holds numbers that are not finite"
            )
    return ""


def _options_that_fit(checkpoint: StockCheckpoint) -> str:
    sizes: list[int] = []
    while (name := f"{BODY}.{2 * len(sizes)}.weight") in checkpoint.policy:
        sizes.append(next(iter(checkpoint.policy[name].shape), 0))
    shared = str(checkpoint.is_shared).lower()
    words = [
        "network.activation: silu",
        f"network.hidden_sizes: {sizes} (hidden_units: {sizes[0] if sizes else 0}, num_layers: "
        f"{len(sizes)})",
        f"network.shared: {shared} (shared_critic: {shared})",
    ]
    recurrent = checkpoint.policy.get(f"{LSTM}.weight_hh_l0")
    kind = "none"
    if recurrent is not None and recurrent.dim():
        size = recurrent.shape[-1]
        kind = f"{{kind: lstm, size: {size}}} (memory_size: {2 * size})"
    return f"it needs {', '.join([*words, f'network.memory: {kind}'])}, and the same observations"


def _notes(checkpoint: StockCheckpoint, policy: ActorCritic, fitting: Fitting) -> Iterator[str]:
    yield (
        f"{len(fitting.links)} tensors taken over from {checkpoint.path}, after "
        f"{checkpoint.steps:,} steps"
    )
    for misfit in fitting.misfits[:_SHOWN]:
        yield f"not taken over: {misfit}"
    if len(fitting.misfits) > _SHOWN:
        yield f"not taken over: {len(fitting.misfits) - _SHOWN} more that do not fit"
    others = {
        name.split(".")[2]
        for name in (*checkpoint.policy, *checkpoint.critic)
        if name.startswith(f"{VALUES}.") and not name.startswith(f"{EXTRINSIC}.")
    }
    if others:
        streams = shortened(", ".join(sorted(others)), 80)
        yield f"not taken over: values of {streams}, which are not built yet"
    for part in checkpoint.others:
        yield f"not taken over: '{part}', which is of a part that is not built yet"
    if policy.spec.action.continuous_size and policy.config.action.clip != 3.0:
        yield f"action.clip is {policy.config.action.clip:g}; mlagents-learn's networks need 3"
    keeps_any = fitting.has_statistics and policy.config.normalize_observations
    if keeps_any and policy.config.observation_clip != 5.0:
        yield f"observation_clip is {policy.config.observation_clip:g}; mlagents-learn's is 5"
