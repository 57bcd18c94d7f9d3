"""A policy's forward written in numpy: for a few rows it costs less than the calls of torch do.

The numbers are those of `ActorCritic.forward`, up to rounding, for one timestep of vectors through
hidden layers and memory. The weights are views of the policy's own, so the policy's tensors may be
written to, but not replaced, cast or moved to another device.

Shapes: K rows, one per agent; G groups (policy and critic, or both as one), F features, H units.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch

from entrain.inference.arrays import ACTIVATIONS, sigmoid, view
from entrain.inference.chunks import chunks
from entrain.inference.numpy_distributions import quiet
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.layers import GroupedLinear, Head, HiddenLayers
from entrain.policy.mingru import MinGRULayer
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.recurrent_layers import LibraryLayer, LSTMLayer, RecurrentLayer
from entrain.policy.spread import NetworkSpread
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain_envs.timestep import Array, BoolArray, Float32Array

Outputs: TypeAlias = tuple[Float32Array, Float32Array, Float32Array]

CHUNK_NUMBERS, MIN_CHUNK = 2**17, 256
"""Many rows are evaluated in chunks: as many at a time as keep the widest layer, in float32, at
half a megabyte, which is what a processor's own cache holds; but not fewer than 256."""


def is_plain(policy: ActorNetwork) -> bool:
    """Whether a `NumpyNetwork` can compute what the policy's networks compute."""
    trunk = policy.backbone.trunk
    return (
        policy.action_head.weight.device.type == "cpu"
        and policy.action_head.weight.dtype == torch.float32
        and isinstance(trunk, Trunk)
        and isinstance(trunk.encoder, ObservationNormalizer)
        and isinstance(trunk.hidden_layers, HiddenLayers)
        and not policy.config.network.layer_norm
    )


class NumpyNetwork:
    """The networks of one plain policy: see the module."""

    def __init__(self, policy: ActorNetwork) -> None:
        """Take views of all weights; `is_plain(policy)` must hold."""
        backbone, trunk = policy.backbone, policy.backbone.trunk
        assert isinstance(trunk, Trunk)
        self._normalizer = _Normalizer(trunk.normalizer)
        hidden_layers = cast("HiddenLayers", trunk.hidden_layers)
        self._activation = ACTIVATIONS[hidden_layers.activation]
        self._groups = hidden_layers.groups
        self._hidden = [
            (view(layer.weight), view(layer.bias))
            for layer in cast("Iterable[GroupedLinear]", hidden_layers.layers)
        ]
        layers = (
            cast("Iterable[RecurrentLayer]", backbone.memory.layers)
            if isinstance(backbone, RecurrentBackbone)
            else ()
        )
        self._memory = [_step_of(layer) for layer in layers]
        self._feature_size = backbone.feature_size
        heads = [policy.action_head, policy.action_head.spread]
        self._action_heads = [
            _head(head) for head in heads if isinstance(head, (Head, NetworkSpread))
        ]
        self._num_outputs = sum(len(bias) for _, bias in self._action_heads)
        self._value_weight = np.zeros((backbone.feature_size, 0), np.float32)
        self._value_bias = self._value_shift = self._value_scale = np.zeros(0, np.float32)
        if isinstance(policy, ActorCritic):
            self._value_weight, self._value_bias = _head(policy.value_head)
            units = policy.value_head.normalizer
            self._value_shift, self._value_scale = view(units.shift), view(units.scale)
        widths = [self._feature_size, *(layer.width for layer in self._memory)]
        widths += [len(bias.ravel()) // self._groups for _, bias in self._hidden]
        self._chunk = max(MIN_CHUNK, CHUNK_NUMBERS // (self._groups * max(widths)))

    @quiet
    def __call__(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Outputs:
        """One forward over one timestep of K agents.

        Args:
            observation: {name: [K, *shape]}.
            state: [K, S] before the step; it is not changed.
            reset: [K] true where the state is cleared before the step.

        Returns:
            [K, O] what the action head puts out, then log-variances if its network computes them;
            [K, V] values; [K, S] state after the step.
        """
        if len(reset) > self._chunk:
            return self._in_chunks(observation, state, reset)
        return self._forward(observation, state, reset)

    def _in_chunks(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Outputs:
        rows = len(reset)
        outputs = np.empty((rows, self._num_outputs), np.float32)
        value = np.empty((rows, len(self._value_bias)), np.float32)
        after = np.empty_like(state)
        for part in chunks(rows, self._chunk):
            outputs[part], value[part], after[part] = self._forward(
                {name: values[part] for name, values in observation.items()},
                state[part],
                reset[part],
            )
        return outputs, value, after

    def _forward(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Outputs:
        hidden = self._normalizer(observation, len(reset))[np.newaxis]
        activation = self._activation
        for weight, bias in self._hidden:
            hidden = np.matmul(hidden, weight)
            hidden += bias
            hidden = activation(hidden, hidden)
        if not self._hidden:
            hidden = np.broadcast_to(hidden, (self._groups, *hidden.shape[1:]))
        if self._memory:
            hidden, state = self._remember(hidden, state, reset)
        parts = []
        for weight, bias in self._action_heads:
            outputs = np.matmul(hidden[0], weight)
            outputs += bias
            parts.append(outputs)
        if len(parts) > 1:
            outputs = np.concatenate(parts, axis=1)
        value = np.matmul(hidden[-1], self._value_weight)
        value += self._value_bias
        value *= self._value_scale
        value += self._value_shift
        return outputs, value, state

    def _remember(
        self, hidden: Float32Array, state: Float32Array, reset: BoolArray
    ) -> tuple[Float32Array, Float32Array]:
        before = np.where(reset[:, np.newaxis], np.float32(0), state)
        # [layers, parts, G, K, H]
        layers, num_parts = len(self._memory), self._memory[0].num_parts
        shape = (len(reset), self._groups, layers, num_parts, self._feature_size)
        parts = before.reshape(shape).transpose(2, 3, 1, 0, 4)
        after: list[Float32Array] = []
        for step, layer_parts in zip(self._memory, parts, strict=True):
            layer_after = step(hidden, layer_parts)
            hidden = layer_after[0]
            after += layer_after
        return hidden, np.stack(after, axis=2).transpose(1, 0, 2, 3).reshape(state.shape)


class _Normalizer:
    """`ObservationNormalizer.forward` in numpy."""

    def __init__(self, normalizer: ObservationNormalizer) -> None:
        self._size_by_name = normalizer.size_by_name
        self._shift, self._scale = view(normalizer.shift), view(normalizer.scale)
        self._clip = np.float32(normalizer.clip)

    def __call__(self, observation: Mapping[str, Array], rows: int) -> Float32Array:
        """{name: [K, *shape]}, `rows` of them, to [K, F]."""
        vectors = [
            observation[name].reshape(rows, size) for name, size in self._size_by_name.items()
        ]
        values = vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1)
        features: Float32Array = np.subtract(values, self._shift, dtype=self._shift.dtype)
        features *= self._scale
        np.minimum(features, self._clip, out=features)
        return np.maximum(features, -self._clip, out=features)


class _RecurrentStep:
    """`LSTMLayer.step` or `GRULayer.step` in numpy."""

    def __init__(self, layer: LibraryLayer) -> None:
        self._weight_input = view(layer.weight_input).transpose(0, 2, 1)
        self._weight_recurrent = view(layer.weight_recurrent).transpose(0, 2, 1)
        self._bias = view(layer.bias)
        self.num_parts = layer.parts
        self.width = self._bias.shape[-1]
        self._advance = _lstm if isinstance(layer, LSTMLayer) else _gru

    def __call__(self, x: Float32Array, state: Float32Array) -> list[Float32Array]:
        """[G, K, F] and P parts of state, [P, G, K, H], to the parts after the step."""
        from_input: Float32Array = np.matmul(x, self._weight_input)
        from_input += self._bias
        return self._advance(from_input, np.matmul(state[0], self._weight_recurrent), state)


class _MinGRUStep:
    """`MinGRULayer.step` in numpy."""

    num_parts = MinGRULayer.parts

    def __init__(self, layer: MinGRULayer) -> None:
        self._weight_input = view(layer.weight_input).transpose(0, 2, 1)
        self._bias = view(layer.bias)
        self.width = self._bias.shape[-1]

    def __call__(self, x: Float32Array, state: Float32Array) -> list[Float32Array]:
        """[G, K, F] and [1, G, K, H] to the output after the step."""
        gates: Float32Array = np.matmul(x, self._weight_input)
        gates += self._bias
        size = state.shape[-1]
        output = gates[..., size:] - state[0]
        output *= sigmoid(gates[..., :size])
        output += state[0]
        return [output]


def _step_of(layer: RecurrentLayer) -> _RecurrentStep | _MinGRUStep:
    if isinstance(layer, MinGRULayer):
        return _MinGRUStep(layer)
    return _RecurrentStep(cast("LibraryLayer", layer))


def _lstm(
    from_input: Float32Array, from_output: Float32Array, state: Float32Array
) -> list[Float32Array]:
    from_input += from_output
    enter, forget, candidate, leave = np.split(from_input, 4, axis=-1)
    cell = sigmoid(forget) * state[1]
    cell += sigmoid(enter) * np.tanh(candidate)
    return [sigmoid(leave) * np.tanh(cell), cell]


def _gru(
    from_input: Float32Array, from_output: Float32Array, state: Float32Array
) -> list[Float32Array]:
    size = state.shape[-1]
    both = sigmoid(from_input[..., : 2 * size] + from_output[..., : 2 * size])
    reset, keep = both[..., :size], both[..., size:]
    candidate = np.tanh(from_input[..., 2 * size :] + reset * from_output[..., 2 * size :])
    output: Float32Array = candidate + keep * (state[0] - candidate)
    return [output]


def _head(head: Head | NetworkSpread) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Weight [inputs, outputs] and bias of an output layer; see `Head.forward`."""
    return view(head.weight).T, view(head.bias)
