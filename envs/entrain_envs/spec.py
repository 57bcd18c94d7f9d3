"""What a behaviour observes and how it acts: names, shapes, dtypes and bounds.

A spec is said once, in the handshake; from then on both sides hold every array against it.
Nothing here knows of protobuf, gRPC or episodes.
"""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import SpecError

DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "uint8": np.dtype("u1"),
}
"""The dtypes an observation may have, as they are written on the wire."""

KINDS = ("vector", "image", "entities", "goal")
"""What an observation may be to a policy. vector: plain numbers, of any shape. image: [H, W, C] or
[C, H, W], seen by convolutions. entities: [N, F], a set of at most N things with F numbers each;
a row of zeros is an absent one. goal: what to do, rather than what is."""

MAX_DIMENSIONS = 16
"""Of an observation; numpy and torch have limits of their own, which are not much higher."""

_HEAD_BYTES = 13
"""Of a row: agent id (8), step type (1) and reward (4)."""


@dataclass(frozen=True)
class ObservationSpec:
    """One named observation of an agent."""

    name: str
    """Unique within its behaviour."""

    shape: tuple[int, ...]
    """Without the agent dimension; `()` is a scalar."""

    dtype: str = "float32"
    """A key of `DTYPES`."""

    kind: str = ""
    """One of `KINDS`; if not said, image for three dimensions and vector for any other number."""

    def __post_init__(self) -> None:
        if not self.name:
            raise SpecError("an observation has an empty name; give each one a name")
        if not self.kind:
            object.__setattr__(self, "kind", self._default_kind)
        if self.dtype not in DTYPES:
            raise SpecError(
                f"observation '{self.name}' has dtype {self.dtype}; "
                f"it must be one of {', '.join(DTYPES)}"
            )
        if len(self.shape) > MAX_DIMENSIONS:
            raise SpecError(
                f"observation '{self.name}' has {len(self.shape)} dimensions; it must have at "
                f"most {MAX_DIMENSIONS}: flatten some of them"
            )
        if any(size < 1 for size in self.shape):
            raise SpecError(
                f"observation '{self.name}' has shape {list(self.shape)}; "
                "every dimension must be at least 1"
            )
        self._check_kind()

    def _check_kind(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(
                f"observation '{self.name}' is of kind '{self.kind}'; "
                f"it must be one of {', '.join(KINDS)}"
            )
        if self.kind == "image" and len(self.shape) != 3:
            raise SpecError(
                f"image '{self.name}' has shape {list(self.shape)}; it must be [height, width, "
                "channels] or [channels, height, width]: give a grey image one channel"
            )
        if self.kind == "entities" and (len(self.shape) != 2 or self.dtype != "float32"):
            raise SpecError(
                f"entities '{self.name}' are {self.dtype}{list(self.shape)}; they must be "
                "float32[most entities, numbers of each]"
            )

    @property
    def _default_kind(self) -> str:
        return "image" if len(self.shape) == 3 else "vector"

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """Little-endian, as on the wire."""
        return DTYPES[self.dtype]

    @property
    def size(self) -> int:
        """Numbers in one agent's observation."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Of one agent's observation, on the wire."""
        return self.size * self.numpy_dtype.itemsize

    def __str__(self) -> str:
        kind = "" if self.kind == self._default_kind else f"{self.kind} "
        return f"{self.name}: {kind}{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class ActionSpec:
    """How an agent acts: continuous dimensions with bounds, discrete branches, or both."""

    low: tuple[float, ...] = ()
    """Lower bound of each continuous dimension, -inf where there is none."""

    high: tuple[float, ...] = ()
    """Upper bound of each continuous dimension, inf where there is none."""

    branches: tuple[int, ...] = ()
    """Number of choices of each discrete branch."""

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high):
            raise SpecError(
                f"the action has {len(self.low)} lower and {len(self.high)} upper bounds; "
                "give one of each for every continuous dimension"
            )
        for dimension, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            if not low < high:
                raise SpecError(
                    f"continuous action {dimension} is bounded by [{low}, {high}]; "
                    "the lower bound must be below the upper one"
                )
        if any(choices < 1 for choices in self.branches):
            raise SpecError(
                f"the discrete branches are {list(self.branches)}; each needs at least one choice"
            )
        if not self.low and not self.branches:
            raise SpecError("the action is empty; give it a continuous dimension or a branch")

    @property
    def continuous_size(self) -> int:
        """Number of continuous dimensions."""
        return len(self.low)

    @property
    def num_choices(self) -> int:
        """Choices of all branches together: the width of an action mask."""
        return sum(self.branches)

    @property
    def num_bytes(self) -> int:
        """Of one agent's action, on the wire: a float32 a dimension and an int32 a branch."""
        return 4 * (self.continuous_size + len(self.branches))

    def __str__(self) -> str:
        parts = []
        if self.low:
            parts.append(f"{self.continuous_size} continuous in {_bounds(self.low, self.high)}")
        if self.branches:
            parts.append(f"branches {list(self.branches)}")
        return " and ".join(parts)


@dataclass(frozen=True)
class BehaviourSpec:
    """One kind of agent. The same name means the same spec for all simulators of a run."""

    name: str
    observations: tuple[ObservationSpec, ...]
    action: ActionSpec
    _observation_by_name: Mapping[str, ObservationSpec] = field(
        init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        if not self.name:
            raise SpecError("a behaviour has an empty name; give each one a name")
        if not self.observations:
            raise SpecError(f"behaviour '{self.name}' observes nothing; give it an observation")
        by_name = {observation.name: observation for observation in self.observations}
        if len(by_name) != len(self.observations):
            names = [observation.name for observation in self.observations]
            raise SpecError(
                f"behaviour '{self.name}' has two observations of one name: {', '.join(names)}"
            )
        object.__setattr__(self, "_observation_by_name", by_name)

    @property
    def observation_names(self) -> Set[str]:
        """The names of all observations."""
        return self._observation_by_name.keys()

    @property
    def row_bytes(self) -> int:
        """Of one agent's timestep, on the wire, with its action mask (one byte a choice)."""
        observed = sum(observation.num_bytes for observation in self.observations)
        return _HEAD_BYTES + observed + self.action.num_choices

    def observation(self, name: str) -> ObservationSpec:
        """The observation of that name; SpecError if there is none."""
        try:
            return self._observation_by_name[name]
        except KeyError:
            raise SpecError(
                f"behaviour '{self.name}' has no observation '{name}' "
                f"(it has: {', '.join(self._observation_by_name)})"
            ) from None

    def check_observation(self, name: str, values: npt.NDArray[np.generic], *, rows: int) -> None:
        """Raise SpecError unless `values` is `rows` of this observation, all finite.

        Args:
            name: of the observation.
            values: [rows, *shape] of the spec's dtype.
            rows: how many timesteps the message has.
        """
        spec = self.observation(name)
        expected = (rows, *spec.shape)
        if values.shape != expected or values.dtype != spec.numpy_dtype:
            raise SpecError(
                f"behaviour '{self.name}', observation '{name}' is "
                f"{values.dtype}{list(values.shape)}, expected {spec.dtype}{list(expected)}"
            )
        if spec.dtype != "uint8" and not is_finite(values):
            check_finite(values, f"behaviour '{self.name}', observation '{name}'")

    def __str__(self) -> str:
        observations = ", ".join(str(observation) for observation in self.observations)
        return f"'{self.name}' observes ({observations}), acts with {self.action}"


def is_finite(values: npt.NDArray[np.generic]) -> bool:
    """Whether all float32 `values` are finite."""
    # One reduction instead of a boolean array: float32 cannot overflow a float64 sum, so the
    # sum is finite only if every term is. An inf beside a -inf is no cause for a warning here.
    with np.errstate(invalid="ignore"):
        return math.isfinite(values.sum(dtype=np.float64))


def check_finite(values: npt.NDArray[np.generic], where: str) -> None:
    """Raise SpecError naming the first row of `values` that is NaN or infinite."""
    bad = ~np.isfinite(values.astype(np.float64)).reshape(len(values), -1)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        flat = values.reshape(len(values), -1)[row]
        number = flat[int(bad[row].argmax())]
        raise SpecError(
            f"{where}, row {row} holds {number}; all numbers must be finite: find where the "
            "simulator divides by zero or lets a body leave the world"
        )


def _bounds(low: tuple[float, ...], high: tuple[float, ...]) -> str:
    if len(set(low)) == 1 and len(set(high)) == 1:
        return f"[{low[0]:g}, {high[0]:g}]"
    return " x ".join(f"[{a:g}, {b:g}]" for a, b in zip(low, high, strict=True))
