"""Every space that has a fixed number of numbers, and a clear word for those that have not."""

import logging
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.gymnasium_spaces import (
    action_layout,
    check_kinds,
    observation_layout,
    without_bounds,
)
from entrain_envs.spec import ObservationSpec
from entrain_envs.timestep import ActionBatch, Array

INFINITY = float("inf")


def written(space: spaces.Space[Any], observation: Any) -> dict[str, Any]:
    """The second of two rows that `observation` was written into, after checking the dtype."""
    layout = observation_layout(space, where="test")
    arrays: dict[str, Array] = {
        spec.name: np.zeros((2, *spec.shape), spec.numpy_dtype) for spec in layout.specs
    }
    layout.write(arrays, 1, observation)
    assert all(not values[0].any() for values in arrays.values())
    return {name: values[1].tolist() for name, values in arrays.items()}


def actions(continuous: Any = (), discrete: Any = ()) -> ActionBatch:
    rows = max(len(continuous), len(discrete))
    return ActionBatch(
        np.reshape(np.asarray(continuous, np.float32), (rows, -1)),
        np.reshape(np.asarray(discrete, np.int32), (rows, -1)),
        0,
    )


def test_a_box_is_one_observation() -> None:
    space = spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert observation_layout(space, where="test").specs == (ObservationSpec("observation", (3,)),)
    assert written(space, np.array([0.5, -0.5, 1.0])) == {"observation": [0.5, -0.5, 1.0]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8])
def test_numbers_other_than_bytes_become_float32(dtype: Any) -> None:
    (spec,) = observation_layout(spaces.Box(0, 1, (2,), dtype), where="test").specs
    assert spec.dtype == "float32"


def test_bytes_stay_bytes() -> None:
    space = spaces.Box(0, 255, (2, 2, 3), np.uint8)
    (spec,) = observation_layout(space, where="test").specs
    assert spec == ObservationSpec("observation", (2, 2, 3), "uint8")
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) + 240
    assert written(space, image) == {"observation": image.tolist()}


def test_flags_become_bytes_of_0_and_1_whatever_their_environment_gives() -> None:
    dtype: Any = np.bool_
    space = spaces.Box(0, 1, (3,), dtype)
    (spec,) = observation_layout(space, where="test").specs
    assert (spec.dtype, spec.low, spec.high) == ("uint8", (0.0,), (1.0,))
    for flags in ([True, False, True], np.array([-1, 0, 2]), np.array([0.5, 0.0, 1.0])):
        assert written(space, flags) == {"observation": [1, 0, 1]}


@pytest.mark.parametrize(
    ("space", "low", "high"),
    [
        (spaces.Box(0, 2, (9,), np.uint8), (0,), (2,)),
        (spaces.Box(0, 255, (9,), np.uint8), (0,), (255,)),
        (spaces.Box(-1, 1, (9,), np.int8), (-1,), (1,)),
        (spaces.Box(np.array([0, -5]), np.array([31, 5]), dtype=np.int64), (0, -5), (31, 5)),
        (spaces.Box(0, 2**16 - 1, (9, 9, 1), np.uint16), (0,), (2**16 - 1,)),
        (spaces.MultiBinary(3), (0,), (1,)),
        # Those of floats change nothing, but for images.
        (spaces.Box(0.0, 9.0, (4,), np.float32), (), ()),
        (spaces.Box(0.0, 255.0, (9, 9, 3), np.float32), (0,), (255,)),
        (spaces.Box(-INFINITY, INFINITY, (9, 9, 3), np.float32), (-INFINITY,), (INFINITY,)),
        (spaces.Discrete(3), (), ()),
    ],
)
def test_the_bounds_that_decide_a_scale_are_said(
    space: spaces.Space[Any], low: tuple[float, ...], high: tuple[float, ...]
) -> None:
    (spec,) = observation_layout(space, where="test").specs
    assert (spec.low, spec.high) == (low, high)


def test_numbers_that_are_changed_have_no_bounds_any_more() -> None:
    space = spaces.Dict(
        {"clock": spaces.Box(0, 10**9, (1,), np.int64), "board": spaces.Box(0, 2, (9,), np.uint8)}
    )
    specs = observation_layout(space, where="test").specs
    assert {spec.name: spec.high for spec in specs} == {"board": (2,), "clock": (10**9,)}
    assert {spec.name: spec.high for spec in without_bounds(specs, ["clock"])} == {
        "board": (2,),
        "clock": (),
    }


def test_an_image_has_one_bound_for_all_its_numbers() -> None:
    high = np.full((9, 9, 2), 255, np.uint8)
    high[..., 0] = 5
    space = spaces.Box(np.zeros_like(high), high, dtype=np.uint8)
    (spec,) = observation_layout(space, where="test").specs
    assert (spec.kind, spec.low, spec.high) == ("image", (0,), (255,))


def test_an_observation_is_what_its_user_says() -> None:
    space = spaces.Dict(
        {
            "board": spaces.Box(0, 2, (4, 4), np.uint8),
            "camera": spaces.Box(0, 255, (48, 48, 3), np.uint8),
            "foes": spaces.Box(0, 9, (5, 3), np.uint8),
            "order": spaces.Discrete(3),
        }
    )
    said = {"board": "image", "camera": "vector", "foes": "entities", "order": "goal"}
    specs = observation_layout(space, where="test", kinds=said).specs
    assert {spec.name: spec.kind for spec in specs} == said
    assert {spec.name: spec.dtype for spec in specs}["foes"] == "float32"
    plain = observation_layout(space, where="test").specs
    assert [spec.kind for spec in plain] == ["vector", "image", "vector", "vector"]


def test_a_desired_goal_is_a_goal_unless_it_is_an_image() -> None:
    place = spaces.Box(-1.0, 1.0, (3,))
    goals = spaces.Dict({"observation": place, "achieved_goal": place, "desired_goal": place})
    layout = observation_layout(goals, where="test")
    assert {spec.name: spec.kind for spec in layout.specs} == {
        "achieved_goal": "vector",
        "desired_goal": "goal",
        "observation": "vector",
    }
    deeper = spaces.Dict({"arm": spaces.Dict({"desired_goal": spaces.Discrete(3)})})
    assert observation_layout(deeper, where="test").specs[0].kind == "goal"
    picture = spaces.Dict({"desired_goal": spaces.Box(0, 255, (48, 48, 3), np.uint8)})
    assert observation_layout(picture, where="test").specs[0].kind == "image"
    said = observation_layout(goals, where="test", kinds={"desired_goal": "vector"})
    assert {spec.kind for spec in said.specs} == {"vector"}


def test_a_kind_of_nothing_is_refused_with_the_names_that_there_are() -> None:
    specs = observation_layout(spaces.Box(0.0, 1.0, (3,)), where="test").specs
    check_kinds({"observation": "goal"}, specs)
    with pytest.raises(OptionError, match=r"no observation 'eye' .* image \(there is: observation"):
        check_kinds({"eye": "image"}, specs)


def test_a_box_of_three_dimensions_is_an_image_and_switches_are_not() -> None:
    space = spaces.Dict(
        {
            "camera": spaces.Box(0, 255, (8, 8, 3), np.uint8),
            "depth": spaces.Box(0.0, 1.0, (1, 8, 8), np.float32),
            "map": spaces.Box(0.0, 1.0, (8, 8), np.float32),
            "switches": spaces.MultiBinary((2, 2, 2)),
        }
    )
    layout = observation_layout(space, where="test")
    assert {spec.name: spec.kind for spec in layout.specs} == {
        "camera": "image",
        "depth": "image",
        "map": "vector",
        "switches": "vector",
    }


def test_a_box_may_be_a_scalar() -> None:
    assert written(spaces.Box(0.0, 1.0, (), np.float32), 0.25) == {"observation": 0.25}


def test_a_discrete_observation_becomes_one_hot() -> None:
    assert written(spaces.Discrete(4), 2) == {"observation": [0.0, 0.0, 1.0, 0.0]}


def test_a_discrete_observation_may_start_anywhere() -> None:
    assert written(spaces.Discrete(3, start=-1), -1) == {"observation": [1.0, 0.0, 0.0]}


def test_each_part_of_a_multi_discrete_observation_has_its_own_one_hot() -> None:
    space = spaces.MultiDiscrete([2, 3])
    assert written(space, np.array([1, 2])) == {"observation": [0.0, 1.0, 0.0, 0.0, 1.0]}


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_one_hot_blocks_say_exactly_the_choices(sizes: list[int], random: Any) -> None:
    choices = [random.randrange(size) for size in sizes]
    flat = written(spaces.MultiDiscrete(sizes), np.array(choices))["observation"]
    begin = 0
    for size, choice in zip(sizes, choices, strict=True):
        block = flat[begin : begin + size]
        assert block.index(1.0) == choice
        assert sum(block) == 1.0
        begin += size


@pytest.mark.parametrize("value", [-1, 4])
def test_a_discrete_observation_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=f"'observation' is {value}"):
        written(spaces.Discrete(4), value)


def test_a_multi_binary_observation_is_zeros_and_ones() -> None:
    assert written(spaces.MultiBinary(3), np.array([1, 0, 1], np.int8)) == {
        "observation": [1.0, 0.0, 1.0]
    }


def test_a_dict_becomes_observations_of_its_names() -> None:
    space = spaces.Dict({"place": spaces.Box(0.0, 1.0, (1,)), "gear": spaces.Discrete(2)})
    assert written(space, {"place": [0.5], "gear": 1}) == {"gear": [0.0, 1.0], "place": [0.5]}


def test_a_tuple_becomes_numbered_observations() -> None:
    space = spaces.Tuple((spaces.Box(0.0, 1.0, (1,)), spaces.Discrete(2)))
    assert written(space, ([0.5], 0)) == {"0": [0.5], "1": [1.0, 0.0]}


def test_what_lies_deeper_is_named_by_the_way_to_it() -> None:
    space = spaces.Dict({"arm": spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, (1,))))})
    assert written(space, {"arm": (1, [0.5])}) == {"arm/0": [0.0, 1.0], "arm/1": [0.5]}


def test_an_observation_of_another_shape_is_refused_and_never_repeated_to_fit() -> None:
    with pytest.raises(ValueError, match=r"'observation' has shape \[1\]"):
        written(spaces.Box(0.0, 1.0, (3,)), np.array([0.5]))


@pytest.mark.parametrize(
    "space",
    [spaces.Text(5), spaces.Sequence(spaces.Discrete(2)), spaces.Dict({"t": spaces.Text(3)})],
)
def test_an_observation_without_a_fixed_size_is_refused_with_what_is_supported(
    space: spaces.Space[Any],
) -> None:
    with pytest.raises(SpecError, match=r"my-env observes .*supported are Box, .*wrap"):
        observation_layout(space, where="my-env")


def test_a_box_action_keeps_its_bounds_even_infinite_ones() -> None:
    space = spaces.Box(np.array([-1.0, -INFINITY]), np.array([INFINITY, 2.0]), dtype=np.float64)
    spec = action_layout(space, where="test").spec
    assert spec.low == (-1.0, -INFINITY)
    assert spec.high == (INFINITY, 2.0)
    assert spec.branches == ()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_of_the_largest_number_are_none_and_one_line_says_so(
    dtype: Any, caplog: pytest.LogCaptureFixture
) -> None:
    largest = np.finfo(dtype).max
    with caplog.at_level(logging.INFO):
        spec = action_layout(spaces.Box(-largest, largest, (2,), dtype), where="my-env").spec
    assert (spec.low, spec.high) == ((-INFINITY,) * 2, (INFINITY,) * 2)
    (line,) = caplog.messages
    assert line.startswith("my-env: action bounds of -")
    assert "are taken as none" in line


def test_bounds_below_a_hundred_million_are_a_range(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        spec = action_layout(spaces.Box(-9e7, 9e7, (1,), np.float64), where="my-env").spec
    assert (spec.low, spec.high) == ((-9e7,), (9e7,))
    assert not caplog.messages


def test_a_box_action_comes_in_the_shape_and_dtype_of_the_space() -> None:
    space = spaces.Box(-9.0, 9.0, (2, 2), np.float64)
    (action,) = action_layout(space, where="test").read(actions(continuous=[[1, 2, 3, 4]]))
    assert action.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert space.contains(action)


def test_an_action_may_be_written_into_by_its_environment() -> None:
    batch = actions(continuous=[[1.0]])
    batch.continuous.flags.writeable = False
    (action,) = action_layout(spaces.Box(-1.0, 1.0, (1,)), where="test").read(batch)
    action[0] = 0.0
    assert batch.continuous[0, 0] == 1.0


def test_a_bound_that_float32_cannot_say_is_never_left() -> None:
    # float32(0.1) is above 0.1.
    space = spaces.Box(-0.1, 0.1, (1,), np.float64)
    (action,) = action_layout(space, where="test").read(actions(continuous=[[np.float32(0.1)]]))
    assert float(np.float32(0.1)) > 0.1
    assert space.contains(action)


def test_a_discrete_action_is_a_plain_number_from_the_start() -> None:
    layout = action_layout(spaces.Discrete(3, start=5), where="test")
    assert layout.spec.branches == (3,)
    assert list(layout.read(actions(discrete=[[0], [2]]))) == [5, 7]


def test_a_multi_discrete_action_has_a_branch_for_each_part() -> None:
    space = spaces.MultiDiscrete([2, 3], start=[0, 10])
    layout = action_layout(space, where="test")
    assert layout.spec.branches == (2, 3)
    (action,) = layout.read(actions(discrete=[[1, 2]]))
    assert action.tolist() == [1, 12]
    assert space.contains(action)


def test_a_multi_binary_action_has_a_branch_of_two_for_each_bit() -> None:
    space = spaces.MultiBinary((2, 1))
    layout = action_layout(space, where="test")
    assert layout.spec.branches == (2, 2)
    (action,) = layout.read(actions(discrete=[[1, 0]]))
    assert action.tolist() == [[1], [0]]
    assert space.contains(action)


def test_dict_and_tuple_actions_are_put_together_again() -> None:
    space = spaces.Dict(
        {
            "gear": spaces.Discrete(3),
            "legs": spaces.Tuple((spaces.Box(-1.0, 1.0, (2,)), spaces.MultiDiscrete([2, 2]))),
            "wheel": spaces.Box(-1.0, 1.0, (1,)),
        }
    )
    layout = action_layout(space, where="test")
    assert layout.spec.branches == (3, 2, 2)
    assert layout.spec.continuous_size == 3
    batch = actions(continuous=[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], discrete=[[2, 0, 1], [0, 1, 1]])
    for row, action in enumerate(layout.read(batch)):
        assert space.contains(action)
        assert action["gear"] == [2, 0][row]
        np.testing.assert_array_equal(action["legs"][0], batch.continuous[row, :2])
        assert action["legs"][1].tolist() == [[0, 1], [1, 1]][row]
        np.testing.assert_array_equal(action["wheel"], batch.continuous[row, 2:])


@pytest.mark.parametrize("space", [spaces.Text(5), spaces.Box(0, 5, (2,), np.int64)])
def test_an_action_that_cannot_be_given_is_refused_with_what_is_supported(
    space: spaces.Space[Any],
) -> None:
    with pytest.raises(SpecError, match=r"my-env acts with .*supported are Box of floats"):
        action_layout(space, where="my-env")
