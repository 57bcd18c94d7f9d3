"""Hidden layers, memory and heads of a plain policy: forward, and backward into its gradient.

Shapes: R rows; G groups (policy and critic, or both as one); F features; O outputs of the action
head, V values.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
from torch import Tensor

from entrain.algorithms.fast.activations import ACTIVATION_FUNCTIONS
from entrain.algorithms.fast.memory import PlainMemory, SequenceSteps
from entrain.algorithms.fast.mingru import PlainMinGRUs
from entrain.inference.arrays import FloatArray, view
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.layers import HiddenLayers
from entrain.policy.recurrence import LibraryMemory, RecurrentMemory, ScannedMemory
from entrain.policy.trunk import RecurrentBackbone, Trunk

HIDDEN = "backbone.trunk.hidden_layers.layers"
"""Of the names of the hidden layers' weights."""

NOTHING: FloatArray = np.zeros((0, 0, 0))
"""Read by no head."""


class PlainNetwork:
    """Views of a policy's weights and of their gradient; owned by what learns.

    A forward is followed by at most one backward, which uses up what the forward kept.
    """

    def __init__(
        self, policy: ActorCritic, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor]
    ) -> None:
        """Take views.

        Args:
            policy: a plain one.
            weights: {name of a parameter: its memory}.
            gradient: {name of a parameter: where its gradient goes}.
        """
        trunk = cast("Trunk", policy.backbone.trunk)
        layers = cast("HiddenLayers", trunk.hidden_layers)
        self._activation = ACTIVATION_FUNCTIONS[layers.activation]
        self._groups = layers.groups
        self._hidden = [
            _Layer(weights, gradient, f"{HIDDEN}.{index}") for index in range(len(layers.layers))
        ]
        self._action = _Layer(weights, gradient, "action_head")
        self._value = _Layer(weights, gradient, "value_head")
        self._memory: PlainMemory | PlainMinGRUs | None = None
        if isinstance(policy.backbone, RecurrentBackbone):
            self._memory = _plain_memory(policy.backbone.memory, weights, gradient)
        self._inputs: list[FloatArray] = []
        self._kept: list[FloatArray] = []
        self._read: FloatArray = NOTHING

    def forward(
        self, features: FloatArray, steps: SequenceSteps | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """[R, F] normalised observations to [R, O] and [R, V] normalised values.

        Args:
            features: of steps, with a memory of all steps of a minibatch.
            steps: where they lie in sequences, if there is a memory.
        """
        hidden = features[np.newaxis]
        self._inputs, self._kept = [hidden], []
        for layer in self._hidden:
            x = np.matmul(hidden, layer.weight)
            x += layer.bias
            hidden, kept = self._activation.forward(x)
            self._inputs.append(hidden)
            self._kept.append(kept)
        if self._memory is not None:
            assert steps is not None
            hidden = self._memory.forward(hidden, steps)
        self._read = hidden
        outputs = hidden[0] @ self._action.weight.T
        outputs += self._action.bias
        value = hidden[-1] @ self._value.weight.T
        value += self._value.bias
        return outputs, value

    def backward(self, outputs: FloatArray, value: FloatArray, *, adds: bool) -> None:
        """Add to the gradient of every weight, or replace it.

        Args:
            outputs: [R, O] gradient of the loss with respect to the action head's outputs.
            value: [R, V] with respect to the normalised values.
            adds: whether to what is there already; false with a memory.
        """
        inputs, kept, read = self._inputs, self._kept, self._read
        # They hold on to the whole rollout, of which the first inputs are a part.
        self._inputs, self._kept, self._read = [], [], NOTHING
        _into_head(self._action, outputs, read[0], adds=adds)
        _into_head(self._value, value, read[-1], adds=adds)
        if not self.reads_weights:
            return
        gradient = self._of_features(outputs, value)
        if self._memory is not None:
            gradient = self._memory.backward(gradient)
        ones = np.ones((1, len(outputs)), gradient.dtype)
        for index in range(len(self._hidden) - 1, -1, -1):
            layer, before = self._hidden[index], inputs[index]
            gradient = self._activation.backward(gradient, inputs[index + 1], kept[index])
            # A sum over rows, which a product with ones is quicker at.
            _multiply(ones, gradient, layer.bias_gradient, adds=adds)
            _multiply(before.transpose(0, 2, 1), gradient, layer.weight_gradient, adds=adds)
            if index:
                gradient = np.matmul(gradient, layer.weight.transpose(0, 2, 1))

    def _of_features(self, outputs: FloatArray, value: FloatArray) -> FloatArray:
        """[G, R, F] gradient with respect to what the heads read."""
        policy, critic = self._action.weight, self._value.weight
        gradient = np.empty((self._groups, len(outputs), policy.shape[1]), policy.dtype)
        np.matmul(outputs, policy, out=gradient[0])
        if self._groups == 1:
            gradient[0] += value @ critic
        else:
            np.matmul(value, critic, out=gradient[1])
        return gradient

    @property
    def has_memory(self) -> bool:
        """Whether it needs all steps of a minibatch at once, in their places."""
        return self._memory is not None

    @property
    def reads_weights(self) -> bool:
        """Whether what the heads read depends on weights."""
        return bool(self._hidden) or self.has_memory

    def of_policy(self, outputs: FloatArray) -> FloatArray:
        """[R, F] gradient with respect to what the action head reads, from [R, O]."""
        gradient: FloatArray = outputs @ self._action.weight
        return gradient

    def of_critic(self, value: FloatArray) -> FloatArray:
        """[R, F] gradient with respect to what the value head reads, from [R, V]."""
        gradient: FloatArray = value @ self._value.weight
        return gradient


def _plain_memory(
    memory: RecurrentMemory, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor]
) -> PlainMemory | PlainMinGRUs:
    if isinstance(memory, ScannedMemory):
        return PlainMinGRUs(len(memory.layers), weights, gradient)
    return PlainMemory(cast("LibraryMemory", memory), weights, gradient)


class _Layer:
    """Weight and bias of a linear layer, and their gradients."""

    def __init__(
        self, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor], name: str
    ) -> None:
        self.weight: FloatArray = view(weights[f"{name}.weight"])
        self.bias: FloatArray = view(weights[f"{name}.bias"])
        self.weight_gradient: FloatArray = view(gradient[f"{name}.weight"])
        self.bias_gradient: FloatArray = view(gradient[f"{name}.bias"])


def _into_head(layer: _Layer, outputs: FloatArray, features: FloatArray, *, adds: bool) -> None:
    """Of a head: [R, O] gradient of its outputs, [R, F] what it read."""
    _multiply(outputs.T, features, layer.weight_gradient, adds=adds)
    _put(layer.bias_gradient, outputs.sum(axis=0), adds=adds)


def _multiply(left: FloatArray, right: FloatArray, out: FloatArray, *, adds: bool) -> None:
    if adds:
        out += np.matmul(left, right)
    else:
        np.matmul(left, right, out=out)


def _put(out: FloatArray, gradient: FloatArray, *, adds: bool) -> None:
    if adds:
        out += gradient
    else:
        out[...] = gradient
