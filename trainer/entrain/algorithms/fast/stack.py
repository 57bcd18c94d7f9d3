"""Hidden layers of several networks at once: forward, and backward by hand, in memory used again.

With hundreds of units and hundreds of rows it is the memory that takes time, not the calls. So
layers write where they wrote before, and nothing is allocated or zeroed in a step.

Shapes: G networks, R rows, F features read, U units of the last layer.
"""

from collections.abc import Callable, Mapping
from typing import Final, cast

import torch
from torch import Tensor

from entrain.policy.layers import ACTIVATIONS, Activation, HiddenLayers
from entrain.policy.trunk import Trunk
from entrain_envs.shapes import Float

HIDDEN: Final = "backbone.trunk.hidden_layers.layers"
"""Of the names of the hidden layers' weights."""

Backward = Callable[[Tensor, Tensor], object]
"""Of the gradient of a layer's outputs, which becomes that of its inputs, and of its outputs."""

_aten = torch.ops.aten

BACKWARD: Final[Mapping[Activation, Backward]] = {
    "relu": lambda along, y: _aten.threshold_backward.grad_input(along, y, 0.0, grad_input=along),
    "tanh": lambda along, y: _aten.tanh_backward.grad_input(along, y, grad_input=along),
    "elu": lambda along, y: _aten.elu_backward.grad_input(
        along, 1.0, 1.0, 1.0, True, y, grad_input=along
    ),
}
"""Of activations whose slope follows from their output."""


class Memory:
    """The arrays that stacks write their outputs to; one may serve several in turn."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._arrays: dict[tuple[str, int], Tensor] = {}

    def array(self, kind: str, layer: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """The array of a layer, of that shape; what it held is lost."""
        array = self._arrays.get((kind, layer))
        if array is None or array.shape != shape or array.dtype != like.dtype:
            array = self._arrays[kind, layer] = like.new_empty(shape)
        return array


class Stack:
    """Views of the hidden layers of G networks, and of their gradient. Owned by what learns."""

    def __init__(
        self,
        layers: HiddenLayers,
        weights: Mapping[str, Tensor],
        gradient: Mapping[str, Tensor],
        memory: Memory,
    ) -> None:
        """Take views.

        Args:
            layers: one at least, with an activation of BACKWARD.
            weights: {name of a parameter: its memory}.
            gradient: {name of a parameter: where its gradient goes}; {} if it is not wanted.
            memory: for outputs; those of the newest forward stay until another stack writes there.
        """
        names = [f"{HIDDEN}.{index}" for index in range(len(layers.layers))]
        self._weights = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in names]
        self._gradients = [
            (gradient[f"{name}.weight"], gradient[f"{name}.bias"]) for name in names if gradient
        ]
        self._activate, self._backward = ACTIVATIONS[layers.activation], BACKWARD[layers.activation]
        self._groups = layers.groups
        self._memory = memory
        self._outputs: list[Tensor] = []

    def forward(self, read: Float[Tensor, "R F"]) -> Float[Tensor, "G R U"]:
        """[R, F] features, the same for all networks, to [G, R, U]."""
        hidden = read.expand(self._groups, -1, -1)
        self._outputs = [hidden]
        for index, (weight, bias) in enumerate(self._weights):
            shape = (self._groups, len(read), weight.shape[-1])
            into = self._memory.array("output", index, shape, weight)
            torch.baddbmm(bias, hidden, weight, out=into)
            hidden = self._activate(into)
            self._outputs.append(hidden)
        return hidden

    def backward(self, along: Float[Tensor, "G R U"]) -> None:
        """The gradient of all weights, in place of what was there.

        Args:
            along: [G, R, U] that of the outputs of the newest forward; it is overwritten.
        """
        for index in range(len(self._weights) - 1, -1, -1):
            of_weight, of_bias = self._gradients[index]
            self._backward(along, self._outputs[index + 1])
            torch.bmm(self._outputs[index].transpose(1, 2), along, out=of_weight)
            torch.sum(along, dim=1, keepdim=True, out=of_bias)
            if index:
                along = self._of_inputs(index, along)

    def of_read(self, along: Float[Tensor, "G R U"]) -> Float[Tensor, "R F"]:
        """[R, F] the gradient of the features; that of weights stays as it is.

        Args:
            along: as for `backward`.
        """
        for index in range(len(self._weights) - 1, -1, -1):
            self._backward(along, self._outputs[index + 1])
            along = self._of_inputs(index, along)
        return along.sum(dim=0)

    def _of_inputs(self, index: int, along: Tensor) -> Tensor:
        weight, _ = self._weights[index]
        shape = (*along.shape[:-1], weight.shape[1])
        into = self._memory.array("gradient", index, shape, weight)
        torch.bmm(along, weight.transpose(1, 2), out=into)
        return into

    def scratch(self, rows: int) -> Float[Tensor, "G R U"]:
        """[G, R, U] for the gradient of the outputs, to be written."""
        weight, _ = self._weights[-1]
        shape = (self._groups, rows, weight.shape[-1])
        return self._memory.array("gradient", len(self._weights), shape, weight)


def hidden_layers_of(trunk: Trunk) -> HiddenLayers:
    """Those of a trunk whose layers are such."""
    return cast("HiddenLayers", trunk.hidden_layers)
