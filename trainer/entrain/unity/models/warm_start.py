"""Puts the weights of a stock checkpoint into a policy, so that it acts and values alike.

A checkpoint is made a policy of ours (`stock_policy`), and that is taken over as any other one is
(`transfer`).
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.encoders import MixedEncoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.recurrence import RecurrentMemory
from entrain.policy.recurrent_layers import LSTMLayer
from entrain.policy.transfer import TakenOver, take_over
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain.quoting import shortened
from entrain.state import State
from entrain.unity.models.correspondence import links_of
from entrain.unity.models.stock_checkpoint import StockCheckpoint
from entrain.unity.models.stock_names import CONDITIONED_BODY, ENCODER, EXTRINSIC, VALUES
from entrain.unity.models.stock_policy import sizes_of, stock_policy

_SHOWN = 2
"""Misfits that one message names."""


def apply_stock_checkpoint(
    checkpoint: StockCheckpoint, policy: ActorCritic, *, partly: bool = False
) -> tuple[str, ...]:
    """Overwrite the weights of `policy`: all, or those of layers that fit.

    Args:
        checkpoint: of the same behaviour.
        policy: whose observations are in the order of the game's sensors.
        partly: skip what does not fit, as mlagents-learn does; otherwise everything must fit.

    Returns:
        sentences about what was taken over and what was not.

    Raises:
        CheckpointError: the checkpoint is damaged, or the policy has other networks; the message
            names options that fit. Nothing was changed.
    """
    trained, begun = stock_policy(checkpoint, policy), copy.deepcopy(policy)
    try:
        taken = take_over(trained, begun)
        misfits = () if partly else _misfits(trained, policy, taken)
    except CheckpointError as error:
        misfits = (str(error),)
    if misfits:
        shown, more = misfits[:_SHOWN], len(misfits) - _SHOWN
        all_of_them = "; ".join([*shown, *([f"and {more} more"] if more > 0 else [])])
        # What mlagents-learn has not says more than that layers differ.
        words = network_misfit(policy) or all_of_them
        raise CheckpointError(f"{checkpoint.path}: {words}; {_options_that_fit(checkpoint)}")
    policy.load_state_dict(begun.state_dict())
    return tuple(_notes(checkpoint, taken))


def _misfits(trained: ActorNetwork, policy: ActorCritic, taken: TakenOver) -> tuple[str, ...]:
    """Why a policy does not go on as the one that was trained."""
    misfits = [*taken.left]
    if misfit := network_misfit(policy):
        misfits.append(misfit)
    normalizes = trained.config.normalize_observations
    if normalizes != policy.config.normalize_observations:
        was, remedy = ("with", "true") if normalizes else ("without", "false")
        misfits.append(f"it was trained {was} normalize; set normalize_observations: {remedy}")
    elif trained.spec.observations != policy.spec.observations:
        misfits += taken.changed
    return tuple(misfits)


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


def _options_that_fit(checkpoint: StockCheckpoint) -> str:
    sizes, shared = sizes_of(checkpoint), str(checkpoint.is_shared).lower()
    units, memory = [*sizes.hidden], sizes.memory
    kind = f"{{kind: lstm, size: {memory}}} (memory_size: {2 * memory})" if memory else "none"
    return (
        f"it needs network.activation: silu, network.hidden_sizes: {units} (hidden_units: "
        f"{units[0]}, num_layers: {len(units)}), network.shared: {shared} (shared_critic: "
        f"{shared}), network.memory: {kind}, and the same observations"
    )


def _notes(checkpoint: StockCheckpoint, taken: TakenOver) -> Iterator[str]:
    yield (
        f"{taken.number} tensors taken over from {checkpoint.path}, after "
        f"{checkpoint.steps:,} steps"
    )
    yield from taken.left
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
    yield from taken.changed
