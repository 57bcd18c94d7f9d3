"""Hidden layers whose last one depends on the goal: other goal, other weights.

Shapes: R rows, G groups, K numbers of the goal, H numbers that it is reduced to.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from entrain.errors import ConfigError
from entrain.policy.layers import (
    ACTIVATIONS,
    HIDDEN_GAIN,
    Activation,
    GroupedLayerNorm,
    GroupedLinear,
    HiddenLayers,
    keep_first_group,
)

GOAL_CODE_SIZE = 32
"""H. With as many goals as this, each can have weights that have nothing to do with another's."""


class HyperLinear(nn.Module):
    """G linear layers side by side, whose weights and biases are linear in a code of the goal.

        c = (1, tanh(linear(goal)))                     the code, 1 + H numbers
        y = sum_h c[h] * (x @ weight[h] + bias[h])

    so the weights of a row are sum_h c[h] * weight[h]. They are never written down, for each row
    has its own: x @ weight[h] for all h at once is one product with the outer product of c and x.

    Source: Ha, Dai & Le 2017, "HyperNetworks", arXiv:1609.09106.
    """

    def __init__(
        self, groups: int, inputs: int, outputs: int, goal: int, *, generator: torch.Generator
    ) -> None:
        """Orthogonal weights, biases zero.

        Weights that all goals share, of gain 1, and for each number of the code others that all
        together have at most gain 1 again: sqrt 2 in all, as in any hidden layer.
        """
        super().__init__()
        self._inputs = inputs
        self.code = GroupedLinear(
            groups, goal, GOAL_CODE_SIZE, gain=HIDDEN_GAIN, generator=generator
        )
        weights = torch.empty(groups, 1 + GOAL_CODE_SIZE, inputs, outputs)
        for group in weights:
            for index, weight in enumerate(group):
                share = 1.0 if index == 0 else GOAL_CODE_SIZE**-0.5
                nn.init.orthogonal_(weight, gain=share, generator=generator)
        self.weight = nn.Parameter(weights.flatten(1, 2))
        self.bias = nn.Parameter(torch.zeros(groups, 1 + GOAL_CODE_SIZE, outputs))

    def forward(self, x: Tensor, goal: Tensor) -> Tensor:
        """[G, R, inputs] and [G, R, goal] to [G, R, outputs]."""
        code = nn.functional.pad(torch.tanh(self.code(goal)), (1, 0), value=1.0)
        outer = (code.unsqueeze(-1) * x.unsqueeze(-2)).flatten(2)
        return torch.baddbmm(torch.bmm(code, self.bias), outer, self.weight)


class GoalHiddenLayers(nn.Module):
    """Hidden layers whose features end with the goal; only the last layer looks at it."""

    def __init__(
        self,
        groups: int,
        inputs: int,
        goal: int,
        sizes: Sequence[int],
        *,
        activation: Activation,
        layer_norm: bool,
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights.

        Args:
            groups: networks side by side.
            inputs: features beside the goal.
            goal: K, at the end of the features.
            sizes: width of each layer.
            activation: after each layer.
            layer_norm: whether each layer is normalised before its activation.
            generator: of the initial weights.

        Raises:
            ConfigError: there is no hidden layer, or nothing beside the goal.
        """
        super().__init__()
        if not sizes or not inputs:
            missing = "a hidden layer" if not sizes else "an observation beside the goal"
            raise ConfigError(
                f"network.goal_conditioning hypernetwork needs {missing}; "
                "add one, or choose concatenate"
            )
        self._sizes = [inputs, goal]
        self._groups = groups
        self._activation = ACTIVATIONS[activation]
        self.first = HiddenLayers(
            groups,
            inputs,
            sizes[:-1],
            activation=activation,
            layer_norm=layer_norm,
            generator=generator,
        )
        self.last = HyperLinear(
            groups, self.first.feature_size, sizes[-1], goal, generator=generator
        )
        self.norm = GroupedLayerNorm(groups, sizes[-1]) if layer_norm else nn.Identity()
        self.feature_size = sizes[-1]

    def forward(self, features: Tensor) -> Tensor:
        """[R, inputs + K] that all groups read, or [G, R, inputs + K], to [G, R, feature_size]."""
        expanded = features.expand(self._groups, -1, -1)
        rest, goal = torch.split(expanded, self._sizes, dim=-1)
        hidden: Tensor = self.norm(self.last(self.first(rest), goal))
        return self._activation(hidden)

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self._groups = 1
        self.first.keep_first_group()
        keep_first_group(self.last)
        keep_first_group(self.norm)
