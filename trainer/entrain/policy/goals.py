"""Hidden layers with a hypernetwork: the goal generates the weights of the last one.

Shapes: R rows, G groups, K numbers of the goal, H numbers of its code.
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
from entrain_envs.shapes import Float

GOAL_CODE_SIZE = 32
"""H. Up to this many goals can have weights that are independent of each other."""


class HyperLinear(nn.Module):
    """G linear layers whose weights and biases are linear in a code of the goal.

        c = (1, tanh(linear(goal)))                     the code, 1 + H numbers
        y = sum_h c[h] * (x @ weight[h] + bias[h])

    so the weights of a row are sum_h c[h] * weight[h]. They are never computed, because every row
    has its own: the sum over all h is one product with the outer product of c and x.

    Source: Ha, Dai & Le 2017, "HyperNetworks", arXiv:1609.09106.
    """

    def __init__(
        self, groups: int, inputs: int, outputs: int, goal: int, *, generator: torch.Generator
    ) -> None:
        """Draw orthogonal weights; biases are zero.

        The weights that all goals share have gain 1. Those of the H numbers of the code together
        have at most gain 1, which makes sqrt(2) in all, as in any hidden layer.
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

    def forward(
        self, x: Float[Tensor, "G R inputs"], goal: Float[Tensor, "G R K"]
    ) -> Float[Tensor, "G R outputs"]:
        """[G, R, inputs] and [G, R, goal] to [G, R, outputs]."""
        code = nn.functional.pad(torch.tanh(self.code(goal)), (1, 0), value=1.0)
        outer = (code.unsqueeze(-1) * x.unsqueeze(-2)).flatten(2)
        return torch.baddbmm(torch.bmm(code, self.bias), outer, self.weight)


class GoalHiddenLayers(nn.Module):
    """Hidden layers for features that end with the goal, which only the last layer uses."""

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
            groups: G.
            inputs: the number of features other than the goal.
            goal: K, the last numbers of the features.
            sizes: width of each layer.
            activation: after each layer.
            layer_norm: whether each layer is normalised before its activation.
            generator: of the initial weights.

        Raises:
            ConfigError: there is no hidden layer, or no observation other than the goal.
        """
        super().__init__()
        if not sizes or not inputs:
            missing = "a hidden layer" if not sizes else "an observation other than the goal"
            raise ConfigError(
                f"network.goal_conditioning hypernetwork needs {missing}; "
                "add one, or choose concatenate"
            )
        self._sizes = [inputs, goal]
        self._groups = groups
        self.activation: Activation = activation
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

    def forward(
        self, features: Float[Tensor, "R inputs"] | Float[Tensor, "_ R inputs"]
    ) -> Float[Tensor, "G R F"]:
        """[R, inputs + K] for all groups, or [G, R, inputs + K], to [G, R, feature_size]."""
        expanded = features.expand(self._groups, -1, -1)
        rest, goal = torch.split(expanded, self._sizes, dim=-1)
        hidden: Tensor = self.norm(self.last(self.first(rest), goal))
        return ACTIVATIONS[self.activation](hidden)

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self._groups = 1
        self.first.keep_first_group()
        keep_first_group(self.last)
        keep_first_group(self.norm)
