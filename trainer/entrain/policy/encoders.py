"""From named observations, as they came over the wire, to one row of features per timestep.

Shapes: R rows of features, one per timestep; G groups; F features; K numbers of goals.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.policy.entities import EntityEncoder
from entrain.policy.images import ImageEncoder
from entrain.policy.inputs import PREVIOUS_ACTION
from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.spec import BehaviourSpec, ObservationSpec


class VectorEncoder(nn.Module):
    """For who sees vectors and goals alone: normalised, side by side, the same for all groups."""

    def __init__(self, inputs: BehaviourSpec, config: PolicyConfig) -> None:
        super().__init__()
        self.vectors = make_normalizer(inputs, config)
        self.goal_size = sum(spec.size for spec in of_kind(inputs, "goal"))
        self.feature_size = self.vectors.feature_size

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """{name: [..., *shape]} to [rows, F]; goals last, row t * B + b is step t of column b."""
        features: Tensor = self.vectors(observation, rows)
        return features

    def keep_first_group(self) -> None:
        """Nothing here belongs to a group."""


class MixedEncoder(VectorEncoder):
    """For who also sees images or sets of entities: each has an encoder of its own per group."""

    def __init__(
        self, inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
    ) -> None:
        """Draw the initial weights.

        Raises:
            ConfigError: an image is too small for the encoder chosen.
        """
        super().__init__(inputs, config)
        self._groups = groups
        self._sizes = [self.feature_size - self.goal_size, self.goal_size]
        encoders = [
            _encoder(spec, config.network, groups, generator)
            for spec in of_kind(inputs, "image", "entities")
        ]
        self.encoders = nn.ModuleList(encoders)
        self._names = tuple(encoder.name for encoder in encoders)
        self.feature_size += sum(encoder.feature_size for encoder in encoders)

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """{name: [..., *shape]} to [G, rows, F]; goals last."""
        same_for_all = super().forward(observation, rows).expand(self._groups, -1, -1)
        vectors, goals = torch.split(same_for_all, self._sizes, dim=-1)
        encoded = [
            encoder(observation[name], rows)
            for name, encoder in zip(self._names, self.encoders, strict=True)
        ]
        return torch.cat([vectors, *encoded, goals], dim=-1)

    def keep_first_group(self) -> None:
        """Forget the others: who only wants actions needs no critic."""
        self._groups = 1
        for encoder in cast("Iterable[ImageEncoder | EntityEncoder]", self.encoders):
            encoder.keep_first_group()


def make_encoder(
    inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
) -> VectorEncoder:
    """The encoder that these observations need; ConfigError if an image is too small for it."""
    if of_kind(inputs, "image", "entities"):
        return MixedEncoder(inputs, config, groups, generator)
    return VectorEncoder(inputs, config)


def make_normalizer(inputs: BehaviourSpec, config: PolicyConfig) -> ObservationNormalizer:
    """Of vectors, then goals. What the agent itself did is on the networks' scale already."""
    return ObservationNormalizer(
        (*of_kind(inputs, "vector"), *of_kind(inputs, "goal")),
        normalize=config.normalize_observations,
        clip=config.observation_clip,
        fixed={PREVIOUS_ACTION} if config.network.previous_action else frozenset(),
    )


def of_kind(inputs: BehaviourSpec, *kinds: str) -> Sequence[ObservationSpec]:
    """The observations of these kinds, in the spec's order."""
    return [spec for spec in inputs.observations if spec.kind in kinds]


def _encoder(
    spec: ObservationSpec, network: NetworkConfig, groups: int, generator: torch.Generator
) -> ImageEncoder | EntityEncoder:
    if spec.kind == "image":
        return ImageEncoder(spec, network.image_encoder, network.image_features, groups, generator)
    return EntityEncoder(spec, network.entity_features, network.entity_heads, groups, generator)
