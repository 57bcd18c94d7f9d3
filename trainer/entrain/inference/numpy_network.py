"""A policy's forward written in numpy, for acting: a few rows cost less than torch's calls do.

The numbers are those of `ActorCritic.forward`, up to rounding, for one timestep of vectors through
hidden layers and memory. Its weights are views of the policy's own: what is learned there is seen
here, wherever an optimizer lays them, but the policy must not be cast or moved to another device.
Nothing here is learned from, exported or saved.

Shapes: K rows, one per agent; G groups (policy and critic, or both as one), F features, H units.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from entrain.inference.numpy_distributions import quiet
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.policy.layers import Activation, GroupedLinear, Head, HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.recurrent_layers import LSTMLayer, RecurrentLayer
from entrain.policy.trunk import RecurrentBackbone, Trunk
from entrain_envs.timestep import Array, BoolArray, Float32Array

Function: TypeAlias = Callable[[Float32Array], Float32Array]
Outputs: TypeAlias = tuple[Float32Array, Float32Array, Float32Array]


def is_plain(policy: ActorNetwork) -> bool:
    """Whether an `NumpyNetwork` can stand for the policy's networks."""
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
    """The networks of one plain policy, as they are: see the module."""

    def __init__(self, policy: ActorNetwork) -> None:
        """Take views of all weights; `is_plain(policy)` must hold."""
        backbone, options = policy.backbone, policy.config.network
        trunk = backbone.trunk
        assert isinstance(trunk, Trunk)
        self._parameters = tuple(policy.parameters())
        self._addresses = self._where()
        self._normalizer = _Normalizer(trunk.normalizer)
        self._activation = _ACTIVATIONS[options.activation]
        self._groups = cast("HiddenLayers", trunk.hidden_layers).groups
        self._hidden = [
            (_view(layer.weight), _view(layer.bias))
            for layer in cast("Iterable[GroupedLinear]", trunk.hidden_layers.layers)
        ]
        layers = (
            cast("Iterable[RecurrentLayer]", backbone.memory.layers)
            if isinstance(backbone, RecurrentBackbone)
            else ()
        )
        self._memory = [_RecurrentStep(layer) for layer in layers]
        self._feature_size = backbone.feature_size
        self._action_head = _AffineMap(policy.action_head)
        self._value_head = _values(policy)

    @property
    def is_current(self) -> bool:
        """Whether the policy's weights still lie where they lay; an optimizer may move them."""
        return self._where() == self._addresses

    def _where(self) -> list[int]:
        return list(map(Tensor.data_ptr, self._parameters))

    @quiet
    def __call__(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Outputs:
        """Look at one timestep of K agents.

        Args:
            observation: {name: [K, *shape]}.
            state: [K, S] before the step; it is not changed.
            reset: [K] true where the state is cleared before the step.

        Returns:
            [K, O] what the action head puts out, [K, V] values, [K, S] state after the step.
        """
        hidden = self._normalizer(observation, len(reset))[np.newaxis]
        for weight, bias in self._hidden:
            hidden = self._activation(_affine(hidden, weight, bias))
        if not self._hidden:
            hidden = np.broadcast_to(hidden, (self._groups, *hidden.shape[1:]))
        if self._memory:
            hidden, state = self._remember(hidden, state, reset)
        return self._action_head(hidden[0]), self._value_head(hidden[-1]), state

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
    """See `ObservationNormalizer.forward`."""

    def __init__(self, normalizer: ObservationNormalizer) -> None:
        self._size_by_name = normalizer.size_by_name
        self._shift, self._scale = _view(normalizer.shift), _view(normalizer.scale)
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


class _AffineMap:
    """See `Head.forward`."""

    def __init__(self, head: Head) -> None:
        self._weight, self._bias = _view(head.weight).T, _view(head.bias)

    def __call__(self, features: Float32Array) -> Float32Array:
        return _affine(features, self._weight, self._bias)


def _values(policy: ActorNetwork) -> Callable[[Float32Array], Float32Array]:
    """[K, F] features to [K, V] values; V = 0 for an actor without a critic."""
    if isinstance(policy, ActorCritic):
        return _AffineMap(policy.value_head)
    return lambda features: np.empty((len(features), 0), np.float32)


class _RecurrentStep:
    """See `LSTMLayer.step` and `GRULayer.step`."""

    def __init__(self, layer: RecurrentLayer) -> None:
        self._weight_input = _view(layer.weight_input).transpose(0, 2, 1)
        self._weight_recurrent = _view(layer.weight_recurrent).transpose(0, 2, 1)
        self._bias = _view(layer.bias)
        self.num_parts = layer.parts
        self._advance = _lstm if isinstance(layer, LSTMLayer) else _gru

    def __call__(self, x: Float32Array, state: Float32Array) -> list[Float32Array]:
        """[G, K, F] and P parts of state, [P, G, K, H], to the parts after the step."""
        from_input = _affine(x, self._weight_input, self._bias)
        return self._advance(from_input, np.matmul(state[0], self._weight_recurrent), state)


def _lstm(
    from_input: Float32Array, from_output: Float32Array, state: Float32Array
) -> list[Float32Array]:
    from_input += from_output
    enter, forget, candidate, leave = np.split(from_input, 4, axis=-1)
    cell = _sigmoid(forget) * state[1]
    cell += _sigmoid(enter) * np.tanh(candidate)
    return [_sigmoid(leave) * np.tanh(cell), cell]


def _gru(
    from_input: Float32Array, from_output: Float32Array, state: Float32Array
) -> list[Float32Array]:
    size = state.shape[-1]
    both = _sigmoid(from_input[..., : 2 * size] + from_output[..., : 2 * size])
    reset, keep = both[..., :size], both[..., size:]
    candidate = np.tanh(from_input[..., 2 * size :] + reset * from_output[..., 2 * size :])
    output: Float32Array = candidate + keep * (state[0] - candidate)
    return [output]


def _affine(x: Float32Array, weight: Float32Array, bias: Float32Array) -> Float32Array:
    result: Float32Array = np.matmul(x, weight)
    result += bias
    return result


def _sigmoid(x: Float32Array) -> Float32Array:
    # By tanh, which overflows nowhere.
    result: Float32Array = np.tanh(x * np.float32(0.5))
    result *= np.float32(0.5)
    result += np.float32(0.5)
    return result


def _relu(x: Float32Array) -> Float32Array:
    return np.maximum(x, np.float32(0), out=x)


def _tanh(x: Float32Array) -> Float32Array:
    return np.tanh(x, out=x)


def _elu(x: Float32Array) -> Float32Array:
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def _silu(x: Float32Array) -> Float32Array:
    return x * _sigmoid(x)


_ACTIVATIONS: Mapping[Activation, Function] = {
    "tanh": _tanh,
    "relu": _relu,
    "elu": _elu,
    "silu": _silu,
}


def _view(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor's memory as an array."""
    array: npt.NDArray[Any] = tensor.detach().numpy()
    return array
