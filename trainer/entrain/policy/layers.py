"""Fully connected layers of several networks at once.

Shapes: G groups, R rows, F features. Policy and critic with separate layers are two groups, which
are computed as one batch of matrices: half the calls, and in small networks calls are the cost.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain_envs.shapes import Float

Activation: TypeAlias = Literal["tanh", "relu", "elu", "silu"]

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "elu": partial(functional.elu, inplace=True),
    "silu": functional.silu,
}
"""In place where the gradient follows from the result: in wide layers, memory is the cost. So what
they are given may be overwritten."""

HIDDEN_GAIN = 2.0**0.5
"""Of the orthogonal initial weights of hidden layers, whatever the activation. (Andrychowicz et
al. 2021, arXiv:2006.05990, and the field's custom for PPO.)"""


class GroupedLinear(nn.Module):
    """G linear layers of equal shape: y[g] = x[g] @ weight[g] + bias[g]."""

    def __init__(
        self, groups: int, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        """Draw orthogonal weights for each group; biases are zero.

        Source: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120.
        """
        super().__init__()
        weights = torch.empty(groups, inputs, outputs)
        for weight in weights:
            nn.init.orthogonal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs))

    def forward(self, x: Float[Tensor, "G R inputs"]) -> Float[Tensor, "G R outputs"]:
        """[G, R, inputs] to [G, R, outputs]."""
        return torch.baddbmm(self.bias, x, self.weight)


class GroupedLayerNorm(nn.Module):
    """Layer normalisation: rows of mean 0 and variance 1, then a learned scale and shift.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450.
    """

    def __init__(self, groups: int, size: int) -> None:
        super().__init__()
        self._size = size
        self.weight = nn.Parameter(torch.ones(groups, 1, size))
        self.bias = nn.Parameter(torch.zeros(groups, 1, size))

    def forward(self, x: Float[Tensor, "G R F"]) -> Float[Tensor, "G R F"]:
        """[G, R, size] to the same."""
        return torch.addcmul(self.bias, functional.layer_norm(x, (self._size,)), self.weight)


class NormalisedLinear(GroupedLinear):
    """G linear layers whose outputs are layer-normalised."""

    def __init__(
        self, groups: int, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        super().__init__(groups, inputs, outputs, gain=gain, generator=generator)
        self.norm = GroupedLayerNorm(groups, outputs)

    def forward(self, x: Float[Tensor, "G R inputs"]) -> Float[Tensor, "G R outputs"]:
        """[G, R, inputs] to [G, R, outputs]."""
        normalised: Tensor = self.norm(super().forward(x))
        return normalised


class HiddenLayers(nn.Module):
    """The hidden layers of G networks of equal widths."""

    def __init__(
        self,
        groups: int,
        inputs: int,
        sizes: Sequence[int],
        *,
        activation: Activation,
        layer_norm: bool = False,
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights: orthogonal, biases zero.

        Args:
            groups: G.
            inputs: the number of features.
            sizes: width of each layer.
            activation: after each layer.
            layer_norm: whether each layer is normalised before its activation.
            generator: of the initial weights.
        """
        super().__init__()
        self.groups = groups
        self.activation: Activation = activation
        linear = NormalisedLinear if layer_norm else GroupedLinear
        widths = (inputs, *sizes)
        self.layers = nn.ModuleList(
            linear(groups, width, next_width, gain=HIDDEN_GAIN, generator=generator)
            for width, next_width in pairwise(widths)
        )
        self.feature_size = widths[-1]

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self.groups = 1
        keep_first_group(self)

    def forward(
        self, features: Float[Tensor, "R inputs"] | Float[Tensor, "_ R inputs"]
    ) -> Float[Tensor, "G R F"]:
        """[R, inputs] for all groups, or [G, R, inputs], to [G, R, feature_size]."""
        hidden = features.expand(self.groups, -1, -1)
        activation = ACTIVATIONS[self.activation]
        for layer in self.layers:
            hidden = activation(layer(hidden))
        return hidden


def keep_first_group(module: nn.Module) -> None:
    """Reduce all parameters of `module`, [G, ...] each, to those of the first group."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            first = parameter.detach()[:1].clone()
            setattr(part, name, nn.Parameter(first, requires_grad=parameter.requires_grad))


class Head(nn.Module):
    """A network's last, linear layer."""

    def __init__(
        self, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        """Draw orthogonal weights; the bias is zero. A small `gain` makes outputs start near 0."""
        super().__init__()
        weight = torch.empty(outputs, inputs)
        nn.init.orthogonal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        """[..., inputs] to [..., outputs]."""
        return functional.linear(features, self.weight, self.bias)
