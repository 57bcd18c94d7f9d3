"""What an ML-Agents game's agents observe and do, read from the first message about them."""

import dataclasses

import numpy as np
import pytest

from entrain_envs.errors import SpecError
from entrain_envs.observation_kinds import image_layout
from entrain_envs.spec import ActionSpec, ObservationSpec
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import BrainParameters, Observation, ObservationKind
from entrain_envs.unity.specs import Sensor, behaviour_name, observation_names, spec_of
from support.unity_game import png_of

H_W_C, C_H_W = (2, 2, 1), (1, 2, 2)
"""Properties of an image's dimensions: along which it may be moved (2), and along which not (1)."""


def seen(
    *shape: int,
    properties: tuple[int, ...] = (),
    kind: ObservationKind = "default",
    name: str = "",
) -> Observation:
    """Of two agents: the numbers 0, 1, 2, ..."""
    values = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    return Observation(name, shape, kind, properties, values=values)


def sensor(observation: Observation, package_version: str = "3.0.0") -> Sensor:
    return Sensor.of(observation, "eyes", package_version=package_version)


@pytest.mark.parametrize(
    ("observation", "kind"),
    [
        (seen(8), "vector"),
        (seen(8, properties=(1,)), "vector"),
        (seen(4, 3), "vector"),
        (seen(4, 3, properties=(4, 1)), "entities"),
        (seen(8, kind="goal"), "goal"),
        (seen(20, 20, 3, properties=H_W_C), "image"),
        (seen(3, 20, 20, properties=C_H_W), "image"),
        (seen(3, 20, 20, properties=C_H_W, kind="goal"), "goal"),
    ],
)
def test_a_sensor_is_what_the_game_says_or_its_dimensions(
    observation: Observation, kind: str
) -> None:
    spec = sensor(observation).spec
    assert (spec.kind, spec.shape, spec.dtype) == (kind, observation.shape, "float32")


@pytest.mark.parametrize(
    ("shape", "properties", "version"),
    [
        ((20, 30, 3), H_W_C, ""),
        ((3, 20, 30), C_H_W, ""),
        # Without properties the package's version decides.
        ((20, 30, 3), (), "2.3.0-exp.3"),
        ((3, 20, 30), (), "3.0.0-exp.1"),
        ((3, 20, 30), (), "4.0.3"),
        # Without either, the shape.
        ((20, 30, 3), (), ""),
        ((3, 20, 30), (), ""),
        # Shapes that look like the other layout.
        ((9, 8, 35), H_W_C, ""),
        ((35, 9, 8), C_H_W, ""),
        ((20, 30, 64), (), "2.0.1"),
        ((64, 20, 30), (), "3.0.0"),
        ((3, 3, 3), C_H_W, ""),
        ((3, 3, 3), H_W_C, ""),
        ((1, 1, 5), H_W_C, ""),
    ],
)
def test_a_policy_sees_the_pixel_where_the_game_means_it(
    shape: tuple[int, ...], properties: tuple[int, ...], version: str
) -> None:
    observation = seen(*shape, properties=properties)
    is_first = properties == C_H_W or version[:1] in {"3", "4"} or shape[0] == 3 < shape[1]
    assert observation.values is not None
    meant = observation.values if is_first else observation.values.transpose(0, 3, 1, 2)
    it = sensor(observation, version)
    read, layout = it.read(observation), image_layout(it.spec.shape)
    assert read.shape == (2, *it.spec.shape)
    assert it.spec.kind == "image"
    order = (0, *(1 + axis for axis in layout.to_channels_first))
    assert np.array_equal(read.transpose(order).reshape(meant.shape), meant)


def test_pixels_in_one_row_are_numbers_where_no_shape_tells_them_from_channels() -> None:
    observation = seen(7, 1, 5, properties=C_H_W)
    it = sensor(observation)
    assert it.spec.kind == "vector"
    assert it.read(observation).size == 70


@pytest.mark.parametrize("channels", [1, 3, 35])
@pytest.mark.parametrize("properties", [H_W_C, C_H_W])
def test_a_policy_sees_compressed_pixels_where_the_game_means_them(
    channels: int, properties: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 8, channels), np.uint8)
    shape = (9, 8, channels) if properties == H_W_C else (channels, 9, 8)
    it = sensor(
        Observation("eye", shape, "default", properties, png=tuple(png_of(each) for each in pixels))
    )
    read = it.read(
        Observation("eye", shape, "default", properties, png=tuple(png_of(each) for each in pixels))
    )
    assert it.spec.dtype == read.dtype == ("float32" if channels == 1 else "uint8")
    assert (it.spec.kind, read.shape) == ("image", (2, *it.spec.shape))
    layout = image_layout(it.spec.shape)
    order = (0, *(1 + axis for axis in layout.to_channels_first))
    values = read.transpose(order).reshape(2, channels, 9, 8).transpose(0, 2, 3, 1)
    scale = 255.0 if channels == 1 else 1.0
    np.testing.assert_allclose(np.asarray(values, np.float64) * scale, pixels, 1e-6)


def test_a_damaged_image_is_said_with_its_agent() -> None:
    eye = Observation("eye", (9, 8, 3), png=(png_of(np.zeros((9, 8, 3), np.uint8)),) * 2)
    it = sensor(eye, "2.0.0")
    damaged = dataclasses.replace(eye, png=(eye.png[0], eye.png[1][:-5]))
    with pytest.raises(UnityMessageError, match="sensor 'eyes', agent 12, a PNG of"):
        it.read(damaged, (11, 12))


def test_a_sensor_that_changes_is_refused() -> None:
    it = sensor(seen(8))
    with pytest.raises(UnityMessageError, match=r"'eyes' sent floats of shape \[9\], and before"):
        it.read(seen(9))


def test_actions_are_in_the_unit_interval() -> None:
    brain = BrainParameters("Ball?team=0", num_continuous=2, branches=(3, 2))
    spec = spec_of("Ball", brain, [sensor(seen(8))])
    assert spec.action == ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0), branches=(3, 2))
    assert spec.observations == (ObservationSpec("eyes", (8,)),)


def test_a_behaviour_that_cannot_act_is_refused() -> None:
    with pytest.raises(SpecError, match="action is empty"):
        spec_of("Ball", BrainParameters("Ball?team=0"), [sensor(seen(8))])
    with pytest.raises(SpecError, match="observes nothing"):
        spec_of("Ball", BrainParameters("Ball?team=0", 1), [])


def test_the_team_is_no_part_of_a_name() -> None:
    assert behaviour_name("Ball?team=0") == behaviour_name("Ball?team=1") == "Ball"
    assert behaviour_name("Ball") == "Ball"
    for key in ("?team=0", "a\nb?team=0", "x" * 201):
        with pytest.raises(UnityMessageError, match="Behavior Name"):
            behaviour_name(key)


def test_names_are_the_games_where_they_are_names() -> None:
    assert observation_names(["Ray", "Vector", "Ray"]) == ["obs_0", "Vector", "obs_2"]
    assert observation_names(["", "a\n", "x" * 201, "eyes"]) == ["obs_0", "obs_1", "obs_2", "eyes"]
    assert observation_names(["", "obs_0", "obs_0_"]) == ["obs_0__", "obs_0", "obs_0_"]
