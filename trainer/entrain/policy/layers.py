"""Fully connected layers, drawn from a generator of their own.

Shapes: G groups, R rows, F features. Policy and critic with separate layers are two groups that
run as one batch of matrices: half the calls, and for small networks the calls are the cost.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation: TypeAlias = Literal["tanh", "relu", "elu", "silu"]

ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "elu": functional.elu,
    "silu": functional.silu,
}

HIDDEN_GAIN = 2.0**0.5
"""Of the orthogonal initial weights of hidden layers, whatever the activation. (Andrychowicz et
al. 2021, arXiv:2006.05990, and the field's custom for PPO.)"""


class GroupedLinear(nn.Module):
    """G linear layers of equal shape side by side: y[g] = x[g] @ weight[g] + bias[g]."""

    def __init__(
        self, groups: int, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        """Orthogonal weights, each group drawn on its own; biases zero.

        Source: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120.
        """
        super().__init__()
        weights = torch.empty(groups, inputs, outputs)
        for weight in weights:
            nn.init.orthogonal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weights)
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[G, R, inputs] to [G, R, outputs]."""
        return torch.baddbmm(self.bias, x, self.weight)


class HiddenLayers(nn.Module):
    """The hidden layers of G networks of equal widths, which all read the same features."""

    def __init__(
        self,
        groups: int,
        inputs: int,
        sizes: Sequence[int],
        *,
        activation: Activation,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._groups = groups
        self._activation = ACTIVATIONS[activation]
        widths = (inputs, *sizes)
        self.layers = nn.ModuleList(
            GroupedLinear(groups, width, next_width, gain=HIDDEN_GAIN, generator=generator)
            for width, next_width in pairwise(widths)
        )
        self.feature_size = widths[-1]

    def keep_first_group(self) -> None:
        """Forget the others: who only wants actions needs no critic."""
        self._groups = 1
        for layer in self.layers:
            for name, parameter in list(layer.named_parameters()):
                setattr(layer, name, nn.Parameter(parameter.detach()[:1].clone()))

    def forward(self, features: Tensor) -> Tensor:
        """[R, inputs] to [G, R, feature_size]."""
        hidden = features.expand(self._groups, -1, -1)
        for layer in self.layers:
            hidden = self._activation(layer(hidden))
        return hidden


class Head(nn.Module):
    """A network's last, linear layer."""

    def __init__(
        self, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        """Orthogonal weights, bias zero; a small `gain` makes all outputs begin near zero."""
        super().__init__()
        weight = torch.empty(outputs, inputs)
        nn.init.orthogonal_(weight, gain=gain, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        return functional.linear(features, self.weight, self.bias)
