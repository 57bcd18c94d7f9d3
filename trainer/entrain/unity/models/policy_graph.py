"""A policy as the ONNX graph that ML-Agents games load: see `names`.

Raw observations go in, actions in the game's units come out: normalizer, bounds and noise are
inside. An image comes in as a game hands it to its model, [C, H, W] of 0 to 1, whatever form it had
on the wire.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from entrain.errors import ExportError
from entrain.policy.action_bounds import SquashedActionBounds
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.encoders import MixedEncoder, goal_size, of_kind
from entrain.policy.entities import EntityEncoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.images import ImageEncoder, pixel_range
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.spread import NetworkSpread, ParameterSpread
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain.unity.models import layers, names
from entrain.unity.models.graph import Graph
from entrain_envs.observation_kinds import image_layout
from entrain_envs.spec import ObservationSpec

BLOCKED = 1e8
"""Subtracted from the logit of a choice that is masked."""


def require_exportable(policy: ActorNetwork) -> None:
    """ExportError, with the reason, if a game cannot run the policy."""
    network = policy.config.network
    for name in ("previous_action", "previous_reward"):
        if getattr(network, name):
            raise ExportError(
                f"network.{name} is on, and an ML-Agents game gives its model observations, masks "
                f"and memory, but no {name.replace('_', ' ')}; train without it"
            )
    if network.custom is not None:
        raise ExportError(
            f"network.custom {network.custom} cannot be written in the few ONNX operations that "
            "ML-Agents games read; use the built-in networks, or export without --format unity"
        )


def model_inputs(policy: ActorNetwork) -> Mapping[str, tuple[int, ...]]:
    """{input: shape without the batch}, in order."""
    observations = policy.spec.observations
    inputs = {names.observation_name(i): input_shape(it) for i, it in enumerate(observations)}
    if policy.spec.action.branches:
        inputs[names.MASKS] = (policy.spec.action.num_choices,)
    if policy.state_size:
        inputs[names.MEMORY_IN] = (1, policy.without_critic().state_size)
    return inputs


def input_shape(observation: ObservationSpec) -> tuple[int, ...]:
    """As the model takes it: images [C, H, W], a single number [1], others as they are."""
    if observation.kind == "image":
        layout = image_layout(observation.shape)
        return layout.frames * layout.channels, layout.height, layout.width
    return observation.shape or (1,)


def to_input(observation: ObservationSpec, values: Tensor) -> Tensor:
    """[R, *shape], as it comes over the wire, as the model takes it."""
    if observation.kind == "image":
        order = image_layout(observation.shape).to_channels_first
        values = values.permute(0, *(1 + axis for axis in order))
    scale = 255.0 if _is_scaled(observation) else 1.0
    return values.reshape(len(values), *input_shape(observation)).float() / scale


def write_graph(policy: ActorNetwork, metadata: Mapping[str, str]) -> bytes:
    """The bytes of the file.

    Args:
        policy: on the CPU; its critic, if it has one, is left out.
        metadata: text that is written into the file.

    Raises:
        ExportError: see `require_exportable`.
    """
    require_exportable(policy)
    actor = policy.without_critic()
    graph = Graph()
    inputs = model_inputs(policy)
    for name, shape in inputs.items():
        graph.input(name, shape)
    with torch.no_grad():
        features, state = _backbone(graph, actor)
        mean, logits = _head(graph, actor, features)
        graph.constant_output(names.VERSION_NUMBER, np.array([names.VERSION], np.float32))
        graph.constant_output(names.MEMORY_SIZE, np.array([actor.state_size], np.float32))
        if mean:
            _continuous(graph, actor, mean, _sigma(graph, actor, features))
        if logits:
            _discrete(graph, actor, logits)
        if state:
            graph.output(names.MEMORY_OUT, state, (1, actor.state_size))
    return graph.model(metadata)


def _backbone(graph: Graph, actor: ActorNetwork) -> tuple[str, str]:
    """[R, F] features, and the state after the step, [R, 1, S]; "" without memory."""
    trunk = cast("Trunk", actor.backbone.trunk)
    features = _encoded(graph, actor, trunk.encoder)
    hidden = trunk.hidden_layers
    if isinstance(hidden, GoalHiddenLayers):
        features = layers.goal_hidden_layers(graph, features, hidden, goal=goal_size(actor.inputs))
    else:
        features = layers.hidden_layers(graph, features, hidden)
    if not isinstance(actor.backbone, RecurrentBackbone):
        return features, ""
    before = graph.reshape(names.MEMORY_IN, actor.state_size)
    features, after = layers.memory(graph, features, before, actor.backbone.memory)
    return features, graph.reshape(after, 1, actor.state_size)


def _encoded(
    graph: Graph, actor: ActorNetwork, encoder: ObservationNormalizer | MixedEncoder
) -> str:
    """[R, F]: vectors, then images and entities, then goals."""
    observations = actor.spec.observations
    input_of = {it.name: names.observation_name(i) for i, it in enumerate(observations)}
    parts = _normalised(graph, actor, input_of)
    goals = len(of_kind(actor.inputs, "goal"))
    split = len(parts) - goals
    encoded = []
    if isinstance(encoder, MixedEncoder):
        by_name = {it.name: it for it in observations}
        encoded = [
            _encoded_alone(graph, actor, by_name[each.name], each, input_of[each.name])
            for each in cast("list[ImageEncoder | EntityEncoder]", list(encoder.encoders))
        ]
    return graph.concat([*parts[:split], *encoded, *parts[split:]])


def _normalised(graph: Graph, actor: ActorNetwork, input_of: Mapping[str, str]) -> list[str]:
    """Each vector, then each goal, flat and normalised by its part of the statistics."""
    normalizer = actor.normalizer
    sizes = list(normalizer.size_by_name.values())
    shapes = {it.name: input_shape(it) for it in actor.spec.observations}
    parts = []
    for name, shift, scale in zip(
        normalizer.size_by_name,
        torch.split(normalizer.shift, sizes),
        torch.split(normalizer.scale, sizes),
        strict=True,
    ):
        x = input_of[name]
        if len(shapes[name]) > 1:
            x = graph.reshape(x, len(shift))
        if bool((shift != 0.0).any()):
            x = graph.node("Sub", x, graph.constant(shift))
        x = graph.affine(x, scale, torch.zeros(()))
        parts.append(graph.clip(x, -normalizer.clip, normalizer.clip))
    return parts


def _encoded_alone(
    graph: Graph,
    actor: ActorNetwork,
    observation: ObservationSpec,
    encoder: ImageEncoder | EntityEncoder,
    x: str,
) -> str:
    if isinstance(encoder, EntityEncoder):
        heads = actor.config.network.entity_heads
        return layers.entities(graph, x, encoder, most=observation.shape[0], heads=heads)
    scale, shift = _pixel_scale(observation)
    pixels = graph.affine(x, torch.tensor(scale), torch.tensor(shift))
    return layers.image(graph, pixels, encoder)


def _is_scaled(observation: ObservationSpec) -> bool:
    """Whether the wire has bytes where the model gets numbers from 0 to 1."""
    return observation.kind == "image" and observation.dtype == "uint8"


def _pixel_scale(image: ObservationSpec) -> tuple[float, float]:
    """(scale, shift) from the model's input to the encoder's scale: (wire - low) / (high - low)."""
    low, high = pixel_range(image) or (0.0, 1.0)
    per_input = 255.0 if _is_scaled(image) else 1.0
    return per_input / (high - low), -low / (high - low)


def _head(graph: Graph, actor: ActorNetwork, features: str) -> tuple[str, str]:
    """[R, D] means and [R, C] logits; "" for what the behaviour has none of."""
    head, dimensions = actor.action_head, actor.spec.action.continuous_size
    weight, bias = head.weight, head.bias
    parts = []
    for part in (slice(0, dimensions), slice(dimensions, len(bias))):
        has_any = len(bias[part]) > 0
        parts.append(graph.linear(features, weight[part].t(), bias[part]) if has_any else "")
    return parts[0], parts[1]


def _sigma(graph: Graph, actor: ActorNetwork, features: str) -> str:
    """[1, D] or [R, D]: see `policy.spread`."""
    spread = actor.action_head.spread
    if isinstance(spread, ParameterSpread):
        return graph.constant((0.5 * spread()).exp().unsqueeze(0))
    assert isinstance(spread, NetworkSpread)
    unbounded = graph.linear(features, spread.weight.t(), spread.bias)
    # logaddexp(p, minimum) = minimum + softplus(p - minimum)
    above, beyond = (
        graph.node("Softplus", graph.node("Sub", unbounded, graph.constant(torch.tensor([bound]))))
        for bound in (float(spread.minimum), spread.maximum)
    )
    raised = graph.node("Add", above, graph.constant(spread.minimum.reshape(1)))
    log_sigma_sq = graph.node("Sub", raised, beyond)
    return graph.node("Exp", graph.node("Mul", log_sigma_sq, graph.constant(torch.tensor([0.5]))))


def _continuous(graph: Graph, actor: ActorNetwork, mean: str, sigma: str) -> None:
    size = actor.spec.action.continuous_size
    noise = graph.node("Mul", graph.node("RandomNormalLike", mean, dtype=1), sigma)
    sampled = _bounded(graph, actor, graph.node("Add", mean, noise))
    graph.output(names.CONTINUOUS, sampled, (size,))
    graph.constant_output(names.CONTINUOUS_SHAPE, np.array([size], np.float32))
    graph.output(names.DETERMINISTIC_CONTINUOUS, _bounded(graph, actor, mean), (size,))


def _bounded(graph: Graph, actor: ActorNetwork, action: str) -> str:
    """[R, D] in the game's units: see `ActionBounds`. With bounds -1 and 1, clip(a, -c, c) / c."""
    bounds = actor.bounds
    if isinstance(bounds, SquashedActionBounds):
        inside = graph.node("Tanh", action)
        if not bool(bounds.squashed.all()):
            # Where there is no range, the number itself.
            part = bounds.squashed.float()
            inside = graph.node("Mul", inside, graph.constant(part))
            outside = graph.node("Mul", action, graph.constant(1.0 - part))
            inside = graph.node("Add", inside, outside)
        action = inside
    scaled = graph.affine(action, bounds.half_range / bounds.unit, bounds.center)
    low, high = bounds.low, bounds.high
    if len(set(low.tolist())) == 1 and len(set(high.tolist())) == 1:
        return graph.clip(scaled, float(low[0]), float(high[0]))
    largest = torch.finfo(torch.float32).max
    scaled = graph.node("Max", scaled, graph.constant(low.clamp(min=-largest)))
    return graph.node("Min", scaled, graph.constant(high.clamp(max=largest)))


def _discrete(graph: Graph, actor: ActorNetwork, logits: str) -> None:
    branches = actor.spec.action.branches
    # 1 where a choice is allowed. Nothing is allowed while Sentis loads a model: it tries it on
    # zeros, and no number may become infinite or NaN then.
    allowed = graph.node("Mul", logits, names.MASKS)
    blocked = graph.node("Mul", names.MASKS, graph.constant(BLOCKED))
    masked = graph.node("Add", allowed, graph.node("Add", blocked, graph.constant(-BLOCKED)))
    sampled, likeliest, start = [], [], 0
    for size in branches:
        branch = graph.columns(masked, start, start + size)
        start += size
        log_probabilities = graph.node("Log", graph.node("Softmax", branch, axis=1))
        sampled.append(graph.node("Multinomial", log_probabilities, dtype=7, sample_size=1))
        likeliest.append(graph.node("ArgMax", branch, axis=1, keepdims=1))
    count = (len(branches),)
    graph.output(names.DISCRETE, graph.concat(sampled), count, kind="INT64")
    graph.constant_output(names.DISCRETE_SHAPE, np.array([branches], np.float32))
    graph.output(names.DETERMINISTIC_DISCRETE, graph.concat(likeliest), count, kind="INT64")
