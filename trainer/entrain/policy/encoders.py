"""From named, scaled observations to one row of features per timestep.

Shapes: T steps, B columns, R = T * B rows, F features. An encoder takes the observations it is
named for; `ObservationEncoder` puts the features of all encoders side by side.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from entrain_envs.spec import BehaviourSpec, ObservationSpec


class ObservationEncoder(nn.Module):
    """All encoders of a behaviour: {name: [T, B, *shape]} to [R, F].

    Today every observation is a vector. An encoder of another kind needs `feature_size` and a
    `forward` like `VectorEncoder`'s, and `_encoders` to say which observations are its own.
    """

    def __init__(self, spec: BehaviourSpec) -> None:
        super().__init__()
        encoders = _encoders(spec.observations)
        self.encoders = nn.ModuleList(encoders)
        self.feature_size = sum(encoder.feature_size for encoder in encoders)

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """[R, F], row t * B + b for step t of column b."""
        features = [encoder(observation) for encoder in self.encoders]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)


class VectorEncoder(nn.Module):
    """Flattens observations and puts them side by side, in the spec's order."""

    def __init__(self, observations: Sequence[ObservationSpec]) -> None:
        super().__init__()
        self._size_by_name = {observation.name: observation.size for observation in observations}
        self.feature_size = sum(self._size_by_name.values())

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        """{name: [T, B, *shape]} to [R, F]."""
        vectors = [
            observation[name].reshape(math.prod(observation[name].shape[:2]), size)
            for name, size in self._size_by_name.items()
        ]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=-1)


def _encoders(observations: Sequence[ObservationSpec]) -> list[VectorEncoder]:
    return [VectorEncoder(observations)]
