"""Builds the spec of a behaviour from its actions and its agents' first records.

Only the records describe observations. Each sensor becomes one observation:

    goal       the game says so
    entities   two dimensions, the first of variable size
    image      three dimensions; see `Sensor`
    vector     everything else

Actions are in [-1, 1]. This module does not know messages' bytes, episodes or other behaviours.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from entrain_envs.observation_kinds import image_layout, is_channels_first
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Array, Int64Array
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.images import read_images
from entrain_envs.unity.messages import (
    TRANSLATION,
    VARIABLE_SIZE,
    AgentRecords,
    BrainParameters,
    Observation,
)

MAX_NAME_LENGTH = 200
"""Characters of a name that is kept as the game gives it; names stand in logs and files."""

CHANNELS_FIRST_SINCE = 3
"""The first number of the package's version from which on images are [C, H, W]."""


@dataclass(frozen=True)
class Sensor:
    """How the values of one sensor become an observation.

    Float images keep the game's form, [H, W, C] or [C, H, W], and PNGs become [H, W, C], if
    `image_layout` reads that shape as the game means it. Otherwise, as with 35 channels of 8 x 9
    pixels, the image becomes [C, 1, H, W]: C frames of one channel, which leaves no doubt.
    """

    spec: ObservationSpec

    declared: tuple[int, ...]
    """The shape of one agent's observation in the game's messages."""

    is_png: bool

    channels_first: bool = False
    """Whether an image's declared shape is [C, H, W]."""

    becomes_frames: bool = False
    """Whether it becomes [C, 1, H, W]."""

    @classmethod
    def of(cls, observation: Observation, name: str, *, package_version: str) -> "Sensor":
        """Read a sensor from its first observation.

        Args:
            observation: of at least one agent.
            name: of the observation.
            package_version: of the game's package, which may decide what an image's shape means.
        """
        declared, is_png = observation.shape, bool(observation.png)
        if is_png and len(declared) != 3:
            raise UnityMessageError(
                f"sensor '{name}' sends PNGs and declares the shape {list(declared)}; expected "
                "three dimensions"
            )
        if len(declared) != 3:
            return cls(ObservationSpec(name, declared, kind=_kind(observation)), declared, is_png)
        channels_first = has_channels_first(observation, package_version)
        pixels = _pixels(observation, name, channels_first=channels_first)
        kind, shape = "image", pixels.shape[1:]
        # PNGs are [H, W, C] once they are decoded.
        becomes_frames = is_channels_first(shape) is not (channels_first and not is_png)
        if becomes_frames:
            height, width, channels = declared[1:] + declared[:1] if channels_first else declared
            shape = (channels, 1, height, width)
            layout = image_layout(shape)
            if (layout.frames, layout.height, layout.width) != (channels, height, width):
                # Pixels in one row: no shape of ours tells them from channels.
                kind = "vector"
        if observation.kind == "goal":
            kind = "goal"
        spec = ObservationSpec(name, shape, str(pixels.dtype), kind)
        return cls(spec, declared, is_png, channels_first, becomes_frames)

    def read(self, observation: Observation, agents: Int64Array | Sequence[int] = ()) -> Array:
        """[K, *shape] observations of K agents.

        Args:
            observation: of this sensor.
            agents: [K] ids, for errors.

        Raises:
            UnityMessageError: the sensor has changed, or an image is damaged.
        """
        is_png = bool(observation.png)
        if observation.shape != self.declared or is_png != self.is_png:
            raise UnityMessageError(
                f"sensor '{self.spec.name}' sent {_described(is_png, observation.shape)}, and "
                f"before {_described(self.is_png, self.declared)}; a sensor's form must stay as it "
                "is while the game runs"
            )
        if not is_png and not self.becomes_frames:
            assert observation.values is not None
            return observation.values
        name, channels_first = self.spec.name, self.channels_first
        values = _pixels(observation, name, agents, channels_first=channels_first)
        if self.becomes_frames:
            if is_png or not self.channels_first:
                values = values.transpose(0, 3, 1, 2)
            values = values.reshape(len(values), *self.spec.shape)
        return values


def sensors_of(records: AgentRecords, *, package_version: str) -> tuple[Sensor, ...]:
    """How each observation of a behaviour is read, by the first records of it."""
    observations = records.observations
    names = observation_names(observation.name for observation in observations)
    return tuple(
        Sensor.of(observation, name, package_version=package_version)
        for observation, name in zip(observations, names, strict=True)
    )


def spec_of(behaviour: str, brain: BrainParameters, sensors: Sequence[Sensor]) -> BehaviourSpec:
    """The spec of a behaviour; SpecError if it observes nothing or cannot act."""
    bound = (1.0,) * brain.num_continuous
    return BehaviourSpec(
        behaviour,
        tuple(sensor.spec for sensor in sensors),
        ActionSpec(low=tuple(-each for each in bound), high=bound, branches=brain.branches),
    )


def behaviour_name(key: str) -> str:
    """The behaviour of a key of the wire: "Ball?team=1" is of "Ball"."""
    name = key.partition("?")[0]
    if not is_printable_name(name):
        raise UnityMessageError(
            f"a behaviour is called {key[:MAX_NAME_LENGTH]!r}; expected 1 to {MAX_NAME_LENGTH} "
            "printable characters: change Behavior Name of its agents in the Unity project"
        )
    return name


def is_printable_name(name: str) -> bool:
    """True if `name` can be shown in logs and files: printable, and not too long."""
    return 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()


def observation_names(given: Iterable[str]) -> list[str]:
    """The sensors' names; obs_i for sensor i where its name is empty or that of another."""
    names = list(given)
    kept = {name for name in names if names.count(name) == 1 and is_printable_name(name)}
    return [
        name if name in kept else _unused(f"obs_{index}", kept) for index, name in enumerate(names)
    ]


def _unused(name: str, taken: Collection[str]) -> str:
    return _unused(f"{name}_", taken) if name in taken else name


def _described(is_png: object, shape: tuple[int, ...]) -> str:
    return f"{'PNGs' if is_png else 'floats'} of shape {list(shape)}"


def _kind(observation: Observation) -> str:
    """The kind of an observation that is not an image."""
    if observation.kind == "goal":
        return "goal"
    properties = observation.dimension_properties
    if len(observation.shape) == 2 and properties and properties[0] & VARIABLE_SIZE:
        return "entities"
    return "vector"


def has_channels_first(observation: Observation, package_version: str) -> bool:
    """Whether an image is [C, H, W], by which of its dimensions are translation-equivariant.

    If the game does not say, its package's version decides, and then the shape.
    """
    properties = observation.dimension_properties
    if len(properties) == 3:
        first, last = (bool(properties[at] & TRANSLATION) for at in (0, 2))
        if first != last:
            return last
    major = package_version.partition(".")[0]
    if major.isdigit():
        return int(major) >= CHANNELS_FIRST_SINCE
    return is_channels_first(observation.shape)


def _pixels(
    observation: Observation,
    name: str,
    agents: Int64Array | Sequence[int] = (),
    *,
    channels_first: bool,
) -> npt.NDArray[Any]:
    """Floats [K, *shape] as they came; PNGs as [K, H, W, C]."""
    if observation.png:
        where = f"sensor '{name}'"
        return read_images(observation, channels_first=channels_first, where=where, agents=agents)
    assert observation.values is not None
    return observation.values
