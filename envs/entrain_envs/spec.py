"""Specs: the names, shapes, dtypes and bounds of observations and actions.

A simulator sends its specs once, in the handshake. From then on both sides check every array
against them. Derived quantities are cached, since both sides read them in every exchange. This
module does not know protobuf, gRPC or episodes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from entrain_envs.errors import SpecError
from entrain_envs.observation_kinds import IMAGE_DIMENSIONS, KINDS, default_kind

DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "uint8": np.dtype("u1"),
}
"""Dtypes that an observation may have, in the byte order of the wire."""

WIDEST_BOUNDS = 2.0**31 - 1.0
"""Bounds as far apart as this only say which dtype the simulator uses; they scale nothing."""

MAX_DIMENSIONS = 16
"""Most dimensions of an observation. The limits of numpy and torch are not much higher."""

UNBOUNDED_FROM = 1e8
"""Bounds of actions from this size on are taken as none. People write the largest float32, 1e10
and the like for "unbounded", and an action of such a size would overflow somewhere."""

FALLBACKS = ("", "last", "neutral", "controller")
"""What acts for an agent whose action came too late: nothing does, because there is no deadline;
the action that was applied last; none, or the nearest to it; a controller of the simulator's own.
"""

LONGEST_DEADLINE_MS = 24 * 60 * 60 * 1000
"""A day: whoever waits longer has no deadline."""

_HEAD_BYTES = 13
"""Bytes of a row before its observations: agent id (8), step type (1) and reward (4)."""


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
    """One of `KINDS`; `default_kind` decides if it is empty."""

    low: tuple[float, ...] = field(default=(), compare=False)
    """Smallest value of each number, flattened, or one for all; -inf where there is none. Empty if
    not known. It and `high` decide how a policy scales the numbers. Simulators need not agree on
    them: those of the first one count."""

    high: tuple[float, ...] = field(default=(), compare=False)
    """Largest value of each number, as `low`."""

    def __post_init__(self) -> None:
        if not self.name:
            raise SpecError("an observation has an empty name; give each one a name")
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
        self._check_bounds()
        if not self.kind:
            object.__setattr__(self, "kind", self._default_kind)
        self._check_kind()

    def _check_bounds(self) -> None:
        counts = (len(self.low), len(self.high))
        if counts[0] != counts[1] or counts[0] not in (0, 1, self.size):
            raise SpecError(
                f"observation '{self.name}' has {counts[0]} lower and {counts[1]} upper bounds; "
                f"give none, one of each for all numbers, or one of each for all {self.size}"
            )
        for low, high in zip(self.low, self.high, strict=True):
            if not low <= high:
                raise SpecError(
                    f"observation '{self.name}' is bounded by [{low}, {high}]; "
                    "the lower bound must not be above the upper one"
                )

    def _check_kind(self) -> None:
        if self.kind not in KINDS:
            raise SpecError(
                f"observation '{self.name}' is of kind '{self.kind}'; "
                f"it must be one of {', '.join(KINDS)}"
            )
        if self.kind == "image" and len(self.shape) not in IMAGE_DIMENSIONS:
            raise SpecError(
                f"image '{self.name}' has shape {list(self.shape)}; it must be [height, width], "
                "[height, width, channels], [channels, height, width], or a stack of these: "
                "reshape it, or let its kind be vector"
            )
        if self.kind == "entities" and (len(self.shape) != 2 or self.dtype != "float32"):
            raise SpecError(
                f"entities '{self.name}' are {self.dtype}{list(self.shape)}; they must be "
                "float32[most entities, numbers of each]"
            )

    @property
    def _default_kind(self) -> str:
        return default_kind(self.shape, self.dtype, self.low, self.high)

    @cached_property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The dtype in numpy, little-endian as on the wire."""
        return DTYPES[self.dtype]

    @property
    def size(self) -> int:
        """How many numbers one agent observes."""
        return math.prod(self.shape)

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of one agent's observation on the wire."""
        return self.size * self.numpy_dtype.itemsize

    def __str__(self) -> str:
        kind = "" if self.kind == self._default_kind else f"{self.kind} "
        return f"{self.name}: {kind}{self.dtype}{list(self.shape)}"


@dataclass(frozen=True)
class ActionSpec:
    """How an agent acts: continuous dimensions with bounds, discrete branches, or both."""

    low: tuple[float, ...] = ()
    """Lower bound of each continuous dimension, -inf where there is none; see UNBOUNDED_FROM."""

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
        no_low = tuple(-math.inf if low <= -UNBOUNDED_FROM else low for low in self.low)
        no_high = tuple(math.inf if high >= UNBOUNDED_FROM else high for high in self.high)
        object.__setattr__(self, "low", no_low)
        object.__setattr__(self, "high", no_high)
        if any(choices < 1 for choices in self.branches):
            raise SpecError(
                f"the discrete branches are {list(self.branches)}; each needs at least one choice"
            )
        if not self.low and not self.branches:
            raise SpecError("the action is empty; give it a continuous dimension or a branch")

    @cached_property
    def continuous_size(self) -> int:
        """Number of continuous dimensions."""
        return len(self.low)

    @cached_property
    def num_choices(self) -> int:
        """Number of choices over all branches: the width of an action mask."""
        return sum(self.branches)

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of one agent's action on the wire: a float32 per dimension, an int32 per branch."""
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
    """One kind of agent. All simulators of a run give the same spec for the same name."""

    name: str
    observations: tuple[ObservationSpec, ...]
    action: ActionSpec

    deadline_ms: int = field(default=0, compare=False)
    """How long the simulator waits for these agents' actions; 0 is as long as it takes. It and
    `fallback` are the simulator's own affair: simulators of a run need not agree on them."""

    fallback: str = field(default="", compare=False)
    """One of `FALLBACKS`: what acts for an agent whose action came too late."""

    def __post_init__(self) -> None:
        if not self.name:
            raise SpecError("a behaviour has an empty name; give each one a name")
        self._check_deadline()
        if not self.observations:
            raise SpecError(f"behaviour '{self.name}' observes nothing; give it an observation")
        if len(self._observation_by_name) != len(self.observations):
            names = [observation.name for observation in self.observations]
            raise SpecError(
                f"behaviour '{self.name}' has two observations of one name: {', '.join(names)}"
            )

    def _check_deadline(self) -> None:
        if not 0 <= self.deadline_ms <= LONGEST_DEADLINE_MS:
            raise SpecError(
                f"behaviour '{self.name}' has a deadline of {self.deadline_ms} ms; it must be "
                f"between 0 (none) and {LONGEST_DEADLINE_MS:,}"
            )
        if self.fallback not in FALLBACKS:
            raise SpecError(
                f"behaviour '{self.name}' falls back to '{self.fallback}'; "
                f"it must be one of {', '.join(each for each in FALLBACKS if each)}"
            )
        if bool(self.deadline_ms) != bool(self.fallback):
            raise SpecError(
                f"behaviour '{self.name}' has deadline_ms {self.deadline_ms} and fallback "
                f"'{self.fallback}'; give both, or neither"
            )

    @cached_property
    def _observation_by_name(self) -> Mapping[str, ObservationSpec]:
        return {observation.name: observation for observation in self.observations}

    @cached_property
    def observation_names(self) -> tuple[str, ...]:
        """The names of all observations, in their order."""
        return tuple(self._observation_by_name)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one agent's timestep on the wire, with its action mask (a byte per choice)."""
        observed = sum(observation.num_bytes for observation in self.observations)
        return _HEAD_BYTES + observed + self.action.num_choices

    def state(self) -> dict[str, Any]:
        """The spec as plain values, for a file."""
        return {
            "name": self.name,
            "observations": [
                {
                    "name": observation.name,
                    "shape": list(observation.shape),
                    "dtype": observation.dtype,
                    "kind": observation.kind,
                    "low": list(observation.low),
                    "high": list(observation.high),
                }
                for observation in self.observations
            ],
            "low": list(self.action.low),
            "high": list(self.action.high),
            "branches": list(self.action.branches),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "BehaviourSpec":
        """The spec that `state` was taken of; SpecError if it contradicts itself."""
        return cls(
            state["name"],
            tuple(_observation_of(each) for each in state["observations"]),
            ActionSpec(tuple(state["low"]), tuple(state["high"]), tuple(state["branches"])),
        )

    def observation(self, name: str) -> ObservationSpec:
        """The observation with this name; SpecError if there is none."""
        try:
            return self._observation_by_name[name]
        except KeyError:
            raise SpecError(
                f"behaviour '{self.name}' has no observation '{name}' "
                f"(it has: {', '.join(self._observation_by_name)})"
            ) from None

    def __str__(self) -> str:
        observations = ", ".join(str(observation) for observation in self.observations)
        return f"'{self.name}' observes ({observations}), acts with {self.action}"


def _observation_of(state: Mapping[str, Any]) -> ObservationSpec:
    has_bounds = "low" in state
    if not has_bounds and state["dtype"] == "uint8" and state["kind"] in ("vector", "goal"):
        raise SpecError(
            f"observation '{state['name']}' was saved by entrain 0.2, which divided every uint8 by "
            "255; this version scales it otherwise: start anew, or go on with entrain 0.2"
        )
    return ObservationSpec(
        state["name"],
        tuple(state["shape"]),
        state["dtype"],
        state["kind"],
        tuple(state["low"]) if has_bounds else (),
        tuple(state["high"]) if has_bounds else (),
    )


def _bounds(low: tuple[float, ...], high: tuple[float, ...]) -> str:
    if len(set(low)) == 1 and len(set(high)) == 1:
        return f"[{low[0]:g}, {high[0]:g}]"
    return " x ".join(f"[{a:g}, {b:g}]" for a, b in zip(low, high, strict=True))
