"""From named observations to the features that memory and heads work with.

Shapes: G groups (policy and critic, or both as one), R rows, one per timestep; F features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain.config import PolicyConfig
from entrain.policy.encoders import ObservationEncoder
from entrain.policy.layers import HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.spec import BehaviourSpec


class Body(nn.Module):
    """Encoders, then hidden layers, of G networks side by side."""

    def __init__(
        self, inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        network = config.network
        self.encoder = ObservationEncoder(
            inputs, normalize=config.normalize_observations, clip=config.observation_clip
        )
        self.hidden_layers = HiddenLayers(
            groups,
            self.encoder.feature_size,
            network.hidden_sizes,
            activation=network.activation,
            generator=generator,
        )
        self.feature_size = self.hidden_layers.feature_size

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """{name: [..., *shape]}, `rows` of them, to [G, rows, F]; row t * B + b is step t of b."""
        features: Tensor = self.hidden_layers(self.encoder(observation, rows))
        return features

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vector observations."""
        return self.encoder.vectors

    def keep_first_group(self) -> None:
        """Forget the others: who only wants actions needs no critic."""
        self.hidden_layers.keep_first_group()
