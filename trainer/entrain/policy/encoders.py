"""From named observations, as they came over the wire, to one row of features per timestep.

Shapes: R rows of features, one per timestep; F features.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.spec import BehaviourSpec


class ObservationEncoder(nn.Module):
    """{name: [..., *shape]} to [R, F].

    Every observation is a vector today: normalised, flattened, side by side. An encoder of another
    kind takes its observations out of the vectors and puts its features beside theirs; it needs
    what the normalizer has, a `feature_size` and a `forward(observation, rows)`.
    """

    def __init__(self, spec: BehaviourSpec, *, normalize: bool, clip: float) -> None:
        super().__init__()
        self.vectors = ObservationNormalizer(spec.observations, normalize=normalize, clip=clip)
        self.feature_size = self.vectors.feature_size

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """[rows, F] features; row t * B + b is step t of column b."""
        features: Tensor = self.vectors(observation, rows)
        return features
