"""From named observations to the features that memory and heads work with.

Shapes: G groups (policy and critic, or both as one), R rows, one per timestep; F features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.policy.custom_network import CustomTrunk, load_class
from entrain.policy.encoders import VectorEncoder, make_encoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.layers import HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.spec import BehaviourSpec


class Trunk(nn.Module):
    """Encoders, then hidden layers, of G networks side by side."""

    def __init__(
        self, inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
    ) -> None:
        """Draw the initial weights.

        Raises:
            ConfigError: an image is too small, or the goal has no layer to choose weights for.
        """
        super().__init__()
        self.encoder = make_encoder(inputs, config, groups, generator)
        self.hidden_layers = _hidden_layers(self.encoder, config, groups, generator)
        self.feature_size = self.hidden_layers.feature_size

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """{name: [..., *shape]}, `rows` of them, to [G, rows, F]; row t * B + b is step t of b."""
        features: Tensor = self.hidden_layers(self.encoder(observation, rows))
        return features

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vectors and goals."""
        return self.encoder.vectors

    def keep_first_group(self) -> None:
        """Forget the others: who only wants actions needs no critic."""
        self.encoder.keep_first_group()
        self.hidden_layers.keep_first_group()


def make_trunk(
    inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
) -> Trunk | CustomTrunk:
    """Our own layers, or the user's networks in their place; ConfigError if they do not fit."""
    if config.network.custom is None:
        return Trunk(inputs, config, groups, generator)
    return CustomTrunk(load_class(config.network.custom), inputs, config, groups, generator)


def _hidden_layers(
    encoder: VectorEncoder, config: PolicyConfig, groups: int, generator: torch.Generator
) -> HiddenLayers | GoalHiddenLayers:
    network = config.network
    if encoder.goal_size and network.goal_conditioning == "hypernetwork":
        return GoalHiddenLayers(
            groups,
            encoder.feature_size - encoder.goal_size,
            encoder.goal_size,
            network.hidden_sizes,
            activation=network.activation,
            layer_norm=network.layer_norm,
            generator=generator,
        )
    return HiddenLayers(
        groups,
        encoder.feature_size,
        network.hidden_sizes,
        activation=network.activation,
        layer_norm=network.layer_norm,
        generator=generator,
    )
