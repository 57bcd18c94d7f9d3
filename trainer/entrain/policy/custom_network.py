"""A network of the user's own in place of encoders and hidden layers.

Shapes: G groups (policy and critic, or both as one), R rows, one per timestep; F features.

docs/networks.md says what such a class must be: a `torch.nn.Module` that is constructed as
`Class(observations={name: shape})`, has an integer `feature_size`, and whose `forward` maps
{name: [R, *shape]} to [R, feature_size].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError
from entrain.policy.encoders import make_normalizer, of_kind
from entrain.user_modules import import_module_of
from entrain_envs.shapes import Float, Shaped
from entrain_envs.spec import BehaviourSpec, ObservationSpec

TRIAL_ROWS = (1, 3)
"""A network is tried with so many rows of zeros before it is used."""

RANDOM_ROWS = 16
"""Then it is tried with so many random rows."""

TOLERANCE = 1e-3
"""How much a row's features may change with the other rows of its batch, relative to the largest.
Rounding stays far below this, averaging over rows does not."""


class CustomTrunk(nn.Module):
    """G networks of the user's class. Vectors and goals reach them normalised."""

    def __init__(
        self,
        network_class: type[nn.Module],
        inputs: BehaviourSpec,
        config: PolicyConfig,
        groups: int,
        generator: torch.Generator,
    ) -> None:
        """Construct and try the networks; a seed from `generator` decides their initial weights.

        Raises:
            ConfigError: the class cannot be constructed, or does not do what docs/networks.md says.
        """
        super().__init__()
        self._where = f"network.custom {network_class.__module__}:{network_class.__qualname__}"
        self._shape_by_name = {
            spec.name: spec.shape for spec in of_kind(inputs, "image", "entities")
        }
        self.normalizer = make_normalizer(inputs, config)
        seed = int(torch.randint(2**62, (), generator=generator))
        # Most modules draw their weights from torch's global generator.
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.networks = nn.ModuleList(
                self._make(network_class, inputs.observations) for _ in range(groups)
            )
            self.feature_size = self._feature_size()
            for network in self.networks:
                self._try(network, inputs.observations)

    def forward(
        self, observation: Mapping[str, Shaped[Tensor, "..."]], rows: int
    ) -> Float[Tensor, "G R F"]:
        """{name: [..., *shape]}, `rows` of them, to [G, rows, F]; row t * B + b is step t of b."""
        seen = self.normalizer.split(self.normalizer(observation, rows))
        for name, shape in self._shape_by_name.items():
            seen[name] = observation[name].reshape(rows, *shape)
        return torch.stack([network(seen) for network in self.networks])

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self.networks = self.networks[:1]

    def _make(
        self, network_class: type[nn.Module], observations: Sequence[ObservationSpec]
    ) -> nn.Module:
        shapes = {spec.name: spec.shape for spec in observations}
        try:
            return network_class(observations=shapes)
        except Exception as error:
            raise ConfigError(
                f"{self._where} cannot be constructed as Class(observations={shapes}): "
                f"{type(error).__name__}: {error}"
            ) from error

    def _feature_size(self) -> int:
        size = getattr(self.networks[0], "feature_size", None)
        if not isinstance(size, int) or size < 1:
            raise ConfigError(
                f"{self._where} has feature_size {size}; set self.feature_size to how many numbers "
                "it gives for one row, at least 1"
            )
        return size

    @torch.no_grad()
    def _try(self, network: nn.Module, observations: Sequence[ObservationSpec]) -> None:
        """Raise ConfigError if the network cannot be used."""
        for name, parameter in network.named_parameters():
            if parameter.dtype != torch.float32:
                raise ConfigError(
                    f"{self._where} has the parameter '{name}' of {parameter.dtype}; "
                    "every parameter must be torch.float32"
                )
        for rows in TRIAL_ROWS:
            zeros = {spec.name: torch.zeros(rows, *spec.shape) for spec in observations}
            self._features(network, _as_sent(zeros, observations), f"{rows} rows of zeros")
        self._try_rows(network, _as_sent(_random_rows(observations), observations))

    def _try_rows(self, network: nn.Module, observation: Mapping[str, Tensor]) -> None:
        """Random rows must give the same features again, also without every second row."""
        trial = f"{RANDOM_ROWS} random rows"
        features = self._features(network, observation, trial)
        if not torch.equal(self._features(network, observation, trial), features):
            raise ConfigError(
                f"{self._where} gives different features for the same {trial} the second time; it "
                "must be deterministic: remove dropout"
            )
        fewer = {name: values.flip(0)[::2] for name, values in observation.items()}
        others = self._features(network, fewer, f"{RANDOM_ROWS // 2} random rows")
        deviation = (others - features.flip(0)[::2]).abs().max()
        if deviation > TOLERANCE * features.abs().max():
            raise ConfigError(
                f"{self._where} gives a row different features in a batch of other rows; each row "
                "must be computed independently: use layer normalisation, not batch normalisation"
            )

    def _features(
        self, network: nn.Module, observation: Mapping[str, Tensor], trial: str
    ) -> Tensor:
        """[R, F] the network's features, checked; `trial` describes the rows in messages."""
        rows = len(next(iter(observation.values())))
        seen = self.normalizer.split(self.normalizer(observation, rows))
        expected = (rows, self.feature_size)
        try:
            features = network({**observation, **seen})
        except Exception as error:
            raise ConfigError(
                f"{self._where} fails for {trial}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(features, Tensor):
            raise ConfigError(
                f"{self._where} gives a {type(features).__name__}; it must be one tensor"
            )
        if features.shape != expected or features.dtype != torch.float32:
            raise ConfigError(
                f"{self._where} gives {features.dtype}{list(features.shape)} for {rows} rows; "
                f"expected torch.float32{list(expected)}, one row of feature_size each"
            )
        if not features.isfinite().all():
            raise ConfigError(
                f"{self._where} gives NaN or infinite features for {trial}; guard divisions, "
                "logarithms and roots, and what is masked everywhere"
            )
        return features


def _random_rows(observations: Sequence[ObservationSpec]) -> Mapping[str, Tensor]:
    """{name: [R, *shape]} float32: images from 0 to 1, all others from -1 to 1."""
    generator = torch.Generator().manual_seed(0)
    rows = {}
    for spec in observations:
        uniform = torch.rand(RANDOM_ROWS, *spec.shape, generator=generator)
        is_fraction = spec.kind == "image" or spec.dtype == "uint8"
        rows[spec.name] = uniform if is_fraction else 2.0 * uniform - 1.0
    return rows


def _as_sent(
    rows: Mapping[str, Tensor], observations: Sequence[ObservationSpec]
) -> Mapping[str, Tensor]:
    """The same rows in the dtypes that simulators send: 1.0 becomes 255 in uint8."""
    return {
        spec.name: (rows[spec.name] * 255.0).to(torch.uint8)
        if spec.dtype == "uint8"
        else rows[spec.name]
        for spec in observations
    }


def load_class(path: str) -> type[nn.Module]:
    """The class at PACKAGE.MODULE:CLASS; the module may lie in the working directory.

    Raises:
        ConfigError: it cannot be imported, or is not a `torch.nn.Module`.
    """
    where = f"network.custom {path}"
    module, class_name = import_module_of(path, where=where)
    found: Any = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        known = [
            name
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, nn.Module)
            and value.__module__ == module.__name__
        ]
        raise ConfigError(
            f"{where}: {module.__name__} has no torch.nn.Module '{class_name}' "
            f"(it has: {', '.join(known) or 'none'})"
        )
    return found
