"""From named observations, as they came over the wire, to one row of features per timestep.

Vectors and goals are normalised, concatenated and shared by all groups; each image and each set of
entities has an encoder of its own in every group.

Shapes: R rows of features, one per timestep; G groups; F features.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from entrain.config.policy import NetworkConfig, PolicyConfig
from entrain.policy.auto_options import choose_image_encoder
from entrain.policy.entities import EntityEncoder
from entrain.policy.images import ImageEncoder
from entrain.policy.inputs import ACTION_TAKEN, PREVIOUS_ACTION
from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.shapes import Float, Shaped
from entrain_envs.spec import BehaviourSpec, ObservationSpec


class MixedEncoder(nn.Module):
    """Encodes any mix of observations that includes images or sets of entities."""

    def __init__(
        self, inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
    ) -> None:
        """Draw the initial weights.

        Raises:
            ConfigError: an image is too small for the encoder chosen.
        """
        super().__init__()
        self.normalizer = make_normalizer(inputs, config)
        self._groups = groups
        goal = goal_size(inputs)
        self._sizes = [self.normalizer.feature_size - goal, goal]
        encoders = [
            _encoder(spec, config.network, groups, generator)
            for spec in of_kind(inputs, "image", "entities")
        ]
        self.encoders = nn.ModuleList(encoders)
        self._names = tuple(encoder.name for encoder in encoders)
        self.feature_size = sum(self._sizes) + sum(encoder.feature_size for encoder in encoders)

    def forward(
        self, observation: Mapping[str, Shaped[Tensor, "..."]], rows: int
    ) -> Float[Tensor, "G R F"]:
        """{name: [..., *shape]}, `rows` of them, to [G, rows, F]; goals come last."""
        shared = self.normalizer(observation, rows).expand(self._groups, -1, -1)
        vectors, goals = torch.split(shared, self._sizes, dim=-1)
        encoded = [
            encoder(observation[name], rows)
            for name, encoder in zip(self._names, self.encoders, strict=True)
        ]
        return torch.cat([vectors, *encoded, goals], dim=-1)

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self._groups = 1
        for encoder in cast("Iterable[ImageEncoder | EntityEncoder]", self.encoders):
            encoder.keep_first_group()


def make_encoder(
    inputs: BehaviourSpec, config: PolicyConfig, groups: int, generator: torch.Generator
) -> ObservationNormalizer | MixedEncoder:
    """The encoder that these observations need: vectors and goals are normalised, that is all.

    Raises:
        ConfigError: an image is too small for the encoder chosen.
    """
    if of_kind(inputs, "image", "entities"):
        return MixedEncoder(inputs, config, groups, generator)
    return make_normalizer(inputs, config)


def make_normalizer(inputs: BehaviourSpec, config: PolicyConfig) -> ObservationNormalizer:
    """Of vectors, then goals. Actions are already on the networks' scale."""
    taken = {ACTION_TAKEN} & set(inputs.observation_names)
    return ObservationNormalizer(
        (*of_kind(inputs, "vector"), *of_kind(inputs, "goal")),
        normalize=config.normalize_observations,
        clip=config.observation_clip,
        fixed=taken | ({PREVIOUS_ACTION} if config.network.previous_action else set()),
        unclipped=taken,
    )


def goal_size(inputs: BehaviourSpec) -> int:
    """How many numbers the goals have together; they are the last of the features."""
    return sum(spec.size for spec in of_kind(inputs, "goal"))


def of_kind(inputs: BehaviourSpec, *kinds: str) -> Sequence[ObservationSpec]:
    """The observations of these kinds, in the spec's order."""
    return [spec for spec in inputs.observations if spec.kind in kinds]


def _encoder(
    spec: ObservationSpec, network: NetworkConfig, groups: int, generator: torch.Generator
) -> ImageEncoder | EntityEncoder:
    if spec.kind == "image":
        encoder = choose_image_encoder(spec, network)
        return ImageEncoder(spec, encoder, network.image_features, groups, generator)
    return EntityEncoder(spec, network.entity_features, network.entity_heads, groups, generator)
