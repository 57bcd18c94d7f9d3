"""Puts the weights of a stock checkpoint into a policy, so that it acts and values alike.

What a network of mlagents-learn computes is what ours do with these options:

    network.activation: silu         network.hidden_sizes: num_layers times hidden_units
    action.clip: 3                   network.memory: lstm of memory_size / 2
    observation_clip: 5              network.shared: shared_critic
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor

from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.critic import REWARD_STREAM
from entrain.policy.encoders import MixedEncoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.layers import GroupedLinear, HiddenLayers
from entrain.policy.recurrence import RecurrentMemory
from entrain.policy.recurrent_layers import LSTMLayer
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain.unity.models.stock_checkpoint import StockCheckpoint

PROCESSORS = "network_body.observation_encoder.processors"
BODY = "network_body._body_endoder.seq_layers"
LSTM = "network_body.lstm.lstm"
ACTIONS = "action_model"
GAUSSIAN = f"{ACTIONS}._continuous_distribution"
BRANCHES = f"{ACTIONS}._discrete_distribution.branches"
VALUES = "value_heads.value_heads"
EXTRINSIC = f"{VALUES}.extrinsic"


def apply_stock_checkpoint(checkpoint: StockCheckpoint, policy: ActorCritic) -> tuple[str, ...]:
    """Overwrite the weights of `policy`, all that are named here, or none.

    Args:
        checkpoint: of the same behaviour.
        policy: whose observations are in the order of the game's sensors.

    Returns:
        sentences about what was taken over and what was not.

    Raises:
        CheckpointError: the policy's networks are others; says which options would fit.
    """
    _require_same_kind(checkpoint, policy)
    try:
        wanted = list(_weights(checkpoint, policy))
    except (RuntimeError, IndexError) as error:  # tensors of other dimensions
        raise CheckpointError(
            f"{checkpoint.path} does not fit this policy's networks: "
            f"{str(error).partition(chr(10))[0]}; {_options_that_fit(checkpoint)}"
        ) from None
    for name, ours, theirs in wanted:
        if ours.shape != theirs.shape:
            raise CheckpointError(
                f"{checkpoint.path}: '{name}' is {list(theirs.shape)}, and this policy needs "
                f"{list(ours.shape)}; {_options_that_fit(checkpoint)}"
            )
        if not bool(torch.isfinite(theirs).all()):
            raise CheckpointError(f"{checkpoint.path}: '{name}' holds numbers that are not finite")
    with torch.no_grad():
        for _, ours, theirs in wanted:
            ours.copy_(theirs)
    return tuple(_notes(checkpoint, policy, len(wanted)))


def _require_same_kind(checkpoint: StockCheckpoint, policy: ActorCritic) -> None:
    trunk, network = policy.backbone.trunk, policy.config.network
    path = checkpoint.path
    if not isinstance(trunk, Trunk) or isinstance(trunk.encoder, MixedEncoder):
        raise CheckpointError(
            f"{path}: the policy sees images or entities, or has a network of its own, and these "
            "layers compute otherwise in mlagents-learn; only policies of vectors can be taken over"
        )
    if isinstance(trunk.hidden_layers, GoalHiddenLayers):
        raise CheckpointError(
            f"{path}: hypernetworks of goals compute otherwise in mlagents-learn; only its "
            "goal_conditioning_type none can be taken over, with goal_conditioning: concatenate"
        )
    if network.previous_action or network.previous_reward or network.layer_norm:
        raise CheckpointError(
            f"{path}: networks of mlagents-learn have no layer_norm, previous_action or "
            "previous_reward; set these to false"
        )
    if trunk.hidden_layers.activation != "silu" or network.shared != checkpoint.is_shared:
        raise CheckpointError(
            f"{path} does not fit this policy's networks; {_options_that_fit(checkpoint)}"
        )
    if _has_normalizer(checkpoint) and not policy.config.normalize_observations:
        raise CheckpointError(
            f"{path}: it was trained with normalize; set normalize_observations: true"
        )
    backbone = policy.backbone
    memory = backbone.memory if isinstance(backbone, RecurrentBackbone) else None
    has_lstm = f"{LSTM}.weight_ih_l0" in checkpoint.policy
    fits = memory is None or _is_one_lstm(memory)
    if has_lstm != (memory is not None) or not fits:
        raise CheckpointError(
            f"{path} does not fit this policy's memory; {_options_that_fit(checkpoint)}"
        )


def _is_one_lstm(memory: RecurrentMemory) -> bool:
    return len(memory.layers) == 1 and isinstance(memory.layers[0], LSTMLayer)


def _has_normalizer(checkpoint: StockCheckpoint) -> bool:
    return any(name.startswith(PROCESSORS) for name in checkpoint.policy)


def _options_that_fit(checkpoint: StockCheckpoint) -> str:
    sizes: list[int] = []
    while (name := f"{BODY}.{2 * len(sizes)}.weight") in checkpoint.policy:
        sizes.append(next(iter(checkpoint.policy[name].shape), 0))
    words = [
        "network.activation: silu",
        f"network.hidden_sizes: {sizes}",
        f"network.shared: {str(checkpoint.is_shared).lower()}",
    ]
    recurrent = checkpoint.policy.get(f"{LSTM}.weight_hh_l0")
    kind = (
        "none"
        if recurrent is None or not recurrent.dim()
        else f"{{kind: lstm, size: {recurrent.shape[-1]}}}"
    )
    return f"it needs {', '.join([*words, f'network.memory: {kind}'])}, and the same observations"


def _weights(
    checkpoint: StockCheckpoint, policy: ActorCritic
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(mlagents-learn's name, our tensor, what is to be in it) of each tensor."""
    parts = [checkpoint.policy]
    if not checkpoint.is_shared:
        parts.append(checkpoint.critic)
    for group, part in enumerate(parts):
        yield from _body(_Part(checkpoint, part), policy, group)
    actor = _Part(checkpoint, parts[0])
    yield from _head(actor, policy)
    critic = _Part(checkpoint, parts[-1])
    stream = policy.value_head.streams.index(REWARD_STREAM)
    yield f"{EXTRINSIC}.weight", policy.value_head.weight[stream], critic[f"{EXTRINSIC}.weight"][0]
    yield f"{EXTRINSIC}.bias", policy.value_head.bias[stream], critic[f"{EXTRINSIC}.bias"][0]
    # Values are in units of the reward: the head's own scale starts at 1.
    values = policy.value_head.normalizer
    yield "shift of values", values.shift, torch.zeros_like(values.shift)
    yield "scale of values", values.scale, torch.ones_like(values.scale)
    if _has_normalizer(checkpoint):
        yield from _statistics(actor, policy)


class _Part:
    """Tensors of one part of a checkpoint, by name; CheckpointError for one that is missing."""

    def __init__(self, checkpoint: StockCheckpoint, tensors: Mapping[str, Tensor]) -> None:
        self._checkpoint = checkpoint
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise CheckpointError(
                f"{self._checkpoint.path} has no '{name}', which this policy needs; "
                f"{_options_that_fit(self._checkpoint)}"
            )
        return self._tensors[name]


def _body(part: _Part, policy: ActorCritic, group: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    hidden = policy.backbone.trunk.hidden_layers
    assert isinstance(hidden, HiddenLayers)
    for index, layer in enumerate(cast("Iterable[GroupedLinear]", hidden.layers)):
        name = f"{BODY}.{2 * index}"
        weight = part[f"{name}.weight"]
        order = _columns(policy)
        if index == 0 and weight.dim() == 2 and weight.shape[1] == len(order):
            weight = weight[:, order]
        yield f"{name}.weight", layer.weight[group], weight.t()
        yield f"{name}.bias", layer.bias[group, 0], part[f"{name}.bias"]
    if isinstance(policy.backbone, RecurrentBackbone):
        memory = policy.backbone.memory.layers[0]
        assert isinstance(memory, LSTMLayer)
        yield f"{LSTM}.weight_ih_l0", memory.weight_input[group], part[f"{LSTM}.weight_ih_l0"]
        yield f"{LSTM}.weight_hh_l0", memory.weight_recurrent[group], part[f"{LSTM}.weight_hh_l0"]
        # Ours has one bias where torch's module has two, which are only ever added.
        bias = part[f"{LSTM}.bias_ih_l0"] + part[f"{LSTM}.bias_hh_l0"]
        yield f"{LSTM}.bias_ih_l0", memory.bias[group, 0], bias


def _columns(policy: ActorCritic) -> list[int]:
    """[F] where mlagents-learn, in the order of the sensors, has each of our features."""
    starts, start = {}, 0
    for observation in policy.spec.observations:
        starts[observation.name] = start
        start += observation.size
    sizes = policy.normalizer.size_by_name
    return [starts[name] + i for name, size in sizes.items() for i in range(size)]


def _head(part: _Part, policy: ActorCritic) -> Iterator[tuple[str, Tensor, Tensor]]:
    action, head = policy.spec.action, policy.action_head
    rows = [(f"{GAUSSIAN}.mu", action.continuous_size)] if action.continuous_size else []
    rows += [(f"{BRANCHES}.{index}", size) for index, size in enumerate(action.branches)]
    start = 0
    for name, size in rows:
        own = slice(start, start + size)
        yield f"{name}.weight", head.weight[own], part[f"{name}.weight"]
        yield f"{name}.bias", head.bias[own], part[f"{name}.bias"]
        start += size
    if head.spread is not None:
        name = f"{GAUSSIAN}.log_sigma"
        log_sigma = part[name]
        if log_sigma.dim() == 2:
            log_sigma = log_sigma[0]
        options = policy.config.action
        low, high = options.min_log_sigma_sq, options.max_log_sigma_sq
        yield name, head.spread.parameter, _spread(2.0 * log_sigma.double(), low, high)


def _spread(log_sigma_sq: Tensor, low: float, high: float) -> Tensor:
    """The parameter of `BoundedLogSigmaSq` whose value this is, within the bounds."""
    room = 1e-3 * (high - low)
    x = log_sigma_sq.clamp(low + room, high - room)
    return x + torch.log(-torch.expm1(low - x)) - torch.log(-torch.expm1(x - high))


def _statistics(part: _Part, policy: ActorCritic) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Of observations; theirs has, as ours, a count, a mean and a sum of squared deviations."""
    ours = policy.normalizer
    index = {it.name: number for number, it in enumerate(policy.spec.observations)}
    sizes = list(ours.size_by_name.values())
    pieces = zip(
        ours.size_by_name,
        torch.split(ours.mean, sizes),
        torch.split(ours.squares, sizes),
        torch.split(ours.shift, sizes),
        torch.split(ours.scale, sizes),
        strict=True,
    )
    count = torch.ones(())
    for name, mean, squares, shift, scale in pieces:
        prefix = f"{PROCESSORS}.{index[name]}.normalizer"
        count = part[f"{prefix}.normalization_steps"].double()
        their_mean = part[f"{prefix}.running_mean"].double()
        their_squares = part[f"{prefix}.running_variance"].double()
        yield f"{prefix}.running_mean", mean, their_mean
        yield f"{prefix}.running_mean", shift, their_mean
        yield f"{prefix}.running_variance", squares, their_squares
        yield f"{prefix}.running_variance", scale, (their_squares / count + 1e-8).rsqrt()
    yield "normalization_steps", ours.count, count


def _notes(checkpoint: StockCheckpoint, policy: ActorCritic, number: int) -> Iterator[str]:
    yield f"{number} parts taken over from {checkpoint.path}, after {checkpoint.steps:,} steps"
    yield "not taken over: the optimizer's state, and the statistics of episodes"
    others = [
        name.split(".")[2]
        for name in (*checkpoint.policy, *checkpoint.critic)
        if name.startswith(f"{VALUES}.") and not name.startswith(EXTRINSIC)
    ]
    if others:
        yield f"not taken over: values of {', '.join(sorted(set(others)))}, which are not built yet"
    if policy.spec.action.continuous_size and policy.config.action.clip != 3.0:
        yield f"action.clip is {policy.config.action.clip:g}; mlagents-learn's networks need 3"
    if _has_normalizer(checkpoint) and policy.config.observation_clip != 5.0:
        yield f"observation_clip is {policy.config.observation_clip:g}; mlagents-learn's is 5"
    if not _has_normalizer(checkpoint) and policy.config.normalize_observations:
        yield "it was trained without normalize; set normalize_observations: false"
