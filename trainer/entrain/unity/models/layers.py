"""Writes the layers of a policy as ONNX nodes: the same formulas as in `policy/`, one group.

Shapes: R rows, the batch; F features; N entities at most, E features of each, A heads.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from entrain.policy.entities import EntityEncoder
from entrain.policy.goals import GOAL_CODE_SIZE, GoalHiddenLayers, HyperLinear
from entrain.policy.images import Convolution, ImageEncoder, ResidualBlock
from entrain.policy.layers import GroupedLayerNorm, GroupedLinear, HiddenLayers, NormalisedLinear
from entrain.policy.mingru import MinGRULayer
from entrain.policy.recurrence import RecurrentMemory
from entrain.policy.recurrent_layers import GRULayer, LibraryLayer, LSTMLayer, RecurrentLayer
from entrain.unity.models.graph import Graph

LAYER_NORM_EPSILON = 1e-5
"""Of torch.nn.functional.layer_norm."""

FAR = 1e6
"""Subtracted from the score of an entity that is absent: its weight is then exactly zero."""


def hidden_layers(graph: Graph, x: str, layers: HiddenLayers) -> str:
    """[R, inputs] to [R, F]."""
    for layer in layers.layers:
        x = activation(graph, grouped_linear(graph, x, cast("GroupedLinear", layer)), layers)
    return x


def goal_hidden_layers(graph: Graph, x: str, layers: GoalHiddenLayers, *, goal: int) -> str:
    """[R, inputs + goal], whose last numbers are the goal, to [R, F]."""
    size = _inputs_of(layers)
    rest, aim = graph.columns(x, 0, size), graph.columns(x, size, size + goal)
    hidden = _hyper_linear(graph, hidden_layers(graph, rest, layers.first), aim, layers.last)
    if isinstance(layers.norm, GroupedLayerNorm):
        hidden = layer_norm(graph, hidden, layers.norm, axis=1)
    return activation(graph, hidden, layers.first)


def _inputs_of(layers: GoalHiddenLayers) -> int:
    if len(layers.first.layers):
        return cast("GroupedLinear", layers.first.layers[0]).weight.shape[1]
    return layers.last.weight.shape[1] // (1 + GOAL_CODE_SIZE)


def _hyper_linear(graph: Graph, x: str, goal: str, layer: HyperLinear) -> str:
    """See `HyperLinear`; the code's constant 1 is taken out of the sum."""
    inputs = layer.weight.shape[1] // (1 + GOAL_CODE_SIZE)
    weight, bias = layer.weight[0], layer.bias[0]
    code = graph.node("Tanh", grouped_linear(graph, goal, layer.code))
    outer = graph.node(
        "MatMul", graph.reshape(code, GOAL_CODE_SIZE, 1), graph.reshape(x, 1, inputs)
    )
    shared = graph.linear(x, weight[:inputs], bias[0])
    of_code = graph.linear(code, bias[1:], torch.zeros_like(bias[0]))
    of_both = graph.linear(
        graph.reshape(outer, GOAL_CODE_SIZE * inputs), weight[inputs:], torch.zeros_like(bias[0])
    )
    return graph.node("Add", graph.node("Add", shared, of_code), of_both)


def grouped_linear(graph: Graph, x: str, layer: GroupedLinear) -> str:
    """[R, inputs] to [R, outputs], layer-normalised if the layer is."""
    y = graph.linear(x, layer.weight[0], layer.bias[0])
    if isinstance(layer, NormalisedLinear):
        y = layer_norm(graph, y, layer.norm, axis=1)
    return y


def layer_norm(graph: Graph, x: str, norm: GroupedLayerNorm, *, axis: int) -> str:
    """Over the last dimension of `x`, which is `axis`."""
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=[axis], keepdims=1))
    squared = graph.node("Mul", centred, centred)
    variance = graph.node("ReduceMean", squared, axes=[axis], keepdims=1)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(LAYER_NORM_EPSILON)))
    normalised = graph.node("Div", centred, deviation)
    scaled = graph.node("Mul", normalised, graph.constant(norm.weight[0, 0]))
    return graph.node("Add", scaled, graph.constant(norm.bias[0, 0]))


def activation(graph: Graph, x: str, layers: HiddenLayers) -> str:
    """The one that the hidden layers have."""
    if layers.activation == "silu":
        return graph.node("Mul", x, graph.node("Sigmoid", x))
    return graph.node({"tanh": "Tanh", "relu": "Relu", "elu": "Elu"}[layers.activation], x)


def image(graph: Graph, x: str, encoder: ImageEncoder) -> str:
    """[R, C, H, W] on the network's scale to [R, F]."""
    for part in cast("nn.Sequential", encoder.towers[0]):
        x = _image_layer(graph, x, part)
    flat = encoder.linear.weight.shape[1]
    return graph.node("Relu", grouped_linear(graph, graph.reshape(x, flat), encoder.linear))


def _image_layer(graph: Graph, x: str, part: nn.Module) -> str:
    if isinstance(part, Convolution):
        weight, bias = graph.constant(part.weight), graph.constant(part.bias)
        return graph.node(
            "Conv",
            x,
            weight,
            bias,
            kernel_shape=list(part.weight.shape[2:]),
            strides=[part.stride] * 2,
            pads=[part.padding] * 4,
        )
    if isinstance(part, ResidualBlock):
        inner = _image_layer(graph, graph.node("Relu", x), part.first)
        return graph.node("Add", x, _image_layer(graph, graph.node("Relu", inner), part.second))
    if isinstance(part, nn.MaxPool2d):
        return graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return graph.node("Relu", x)


def entities(graph: Graph, x: str, encoder: EntityEncoder, *, most: int, heads: int) -> str:
    """[R, N, numbers of each] to [R, E]: see `EntityEncoder`."""
    largest = graph.node("ReduceMax", graph.node("Abs", x), axes=[2], keepdims=1)
    # [R, N, 1] 1 where an entity is there.
    is_there = graph.node("Cast", graph.node("Greater", largest, graph.constant(0.0)), to=1)
    embedded = graph.node("Relu", _each(graph, x, encoder.embedding))
    embedded = layer_norm(graph, embedded, encoder.embedding_norm, axis=2)
    seen = _attention(graph, embedded, is_there, encoder, most=most, heads=heads)
    y = layer_norm(graph, graph.node("Add", embedded, seen), encoder.output_norm, axis=2)
    total = graph.node("ReduceSum", graph.node("Mul", y, is_there), axes=[1], keepdims=0)
    number = graph.node("ReduceSum", is_there, axes=[1], keepdims=0)
    return graph.node("Div", total, graph.clip(number, 1.0, float(most)))


def _attention(
    graph: Graph, x: str, is_there: str, encoder: EntityEncoder, *, most: int, heads: int
) -> str:
    size = encoder.feature_size
    shape = (most, heads, size // heads)
    # [R, A, N, E / A]. Two transpositions of the keys: importers misread both in one.
    query, key, value = (
        graph.node("Transpose", graph.reshape(_each(graph, x, layer), *shape), perm=[0, 2, 1, 3])
        for layer in (encoder.query, encoder.key, encoder.value)
    )
    key = graph.node("Transpose", key, perm=[0, 1, 3, 2])
    scale = graph.constant((size // heads) ** -0.5)
    scores = graph.node("Mul", graph.node("MatMul", query, key), scale)
    # The same for all heads and queries, [R, 1, 1, N]: 0 for who is there, else -FAR. If none is,
    # the result is not used.
    there = graph.reshape(is_there, 1, 1, most)
    away = graph.node("Add", graph.node("Mul", there, graph.constant(FAR)), graph.constant(-FAR))
    weights = graph.node("Softmax", graph.node("Add", scores, away), axis=3)
    seen = graph.node("Transpose", graph.node("MatMul", weights, value), perm=[0, 2, 1, 3])
    return _each(graph, graph.reshape(seen, most, size), encoder.output)


def _each(graph: Graph, x: str, layer: GroupedLinear) -> str:
    """A linear layer of each entity, [R, N, inputs] to [R, N, outputs]."""
    product = graph.node("MatMul", x, graph.constant(layer.weight[0]))
    return graph.node("Add", product, graph.constant(layer.bias[0, 0]))


def memory(graph: Graph, x: str, state: str, memory_: RecurrentMemory) -> tuple[str, str]:
    """One step: [R, F] and the state before it, [R, S], to features and the state after it."""
    after: list[str] = []
    size = memory_.feature_size
    starts = count(0, size)
    for layer in memory_.layers:
        layer = cast("RecurrentLayer", layer)
        before = [
            graph.columns(state, start, start + size)
            for _, start in zip(range(layer.parts), starts, strict=False)
        ]
        after += STEPS[type(layer)](graph, x, before, layer)
        x = after[-layer.parts]
    return x, graph.concat(after)


def _lstm(graph: Graph, x: str, before: list[str], layer: LibraryLayer) -> list[str]:
    output, cell = before
    size = layer.bias.shape[-1] // 4
    gates = graph.node("Add", _from_input(graph, x, layer), _from_output(graph, output, layer))
    enter, forget, candidate, leave = (
        graph.columns(gates, start, start + size) for start in range(0, 4 * size, size)
    )
    kept = graph.node("Mul", graph.node("Sigmoid", forget), cell)
    new = graph.node("Mul", graph.node("Sigmoid", enter), graph.node("Tanh", candidate))
    cell = graph.node("Add", kept, new)
    return [graph.node("Mul", graph.node("Sigmoid", leave), graph.node("Tanh", cell)), cell]


def _gru(graph: Graph, x: str, before: list[str], layer: LibraryLayer) -> list[str]:
    (output,) = before
    size = layer.bias.shape[-1] // 3
    from_input, from_output = _from_input(graph, x, layer), _from_output(graph, output, layer)
    reset, keep = (
        graph.node(
            "Sigmoid",
            graph.node(
                "Add",
                graph.columns(from_input, start, start + size),
                graph.columns(from_output, start, start + size),
            ),
        )
        for start in (0, size)
    )
    recalled = graph.node("Mul", reset, graph.columns(from_output, 2 * size, 3 * size))
    offered = graph.columns(from_input, 2 * size, 3 * size)
    candidate = graph.node("Tanh", graph.node("Add", offered, recalled))
    change = graph.node("Mul", keep, graph.node("Sub", output, candidate))
    return [graph.node("Add", candidate, change)]


def _mingru(graph: Graph, x: str, before: list[str], layer: MinGRULayer) -> list[str]:
    (output,) = before
    size = layer.bias.shape[-1] // 2
    gates = _from_input(graph, x, layer)
    update = graph.node("Sigmoid", graph.columns(gates, 0, size))
    candidate = graph.columns(gates, size, 2 * size)
    change = graph.node("Mul", update, graph.node("Sub", candidate, output))
    return [graph.node("Add", output, change)]


def _from_input(graph: Graph, x: str, layer: RecurrentLayer) -> str:
    return graph.linear(x, layer.weight_input[0].t(), layer.bias[0])


def _from_output(graph: Graph, output: str, layer: LibraryLayer) -> str:
    weight: Tensor = layer.weight_recurrent[0]
    return graph.linear(output, weight.t(), weight.new_zeros(len(weight)))


Step: TypeAlias = Callable[[Graph, str, list[str], Any], list[str]]
"""Of a layer's input and the parts of its state, and the layer, to the parts after the step."""

STEPS: Mapping[type[RecurrentLayer], Step] = {
    LSTMLayer: _lstm,
    GRULayer: _gru,
    MinGRULayer: _mingru,
}
