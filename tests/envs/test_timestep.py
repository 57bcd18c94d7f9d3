"""A batch of timesteps is held against its spec, field by field."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.errors import SpecError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    ActionBatch,
    StepType,
    TimestepBatch,
    check_finite,
    check_observation,
    is_finite,
)
from scripted_trainer import RowsOf

FIRST, MID, TERMINATED, TRUNCATED = StepType
POINT = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec((-1.0,), (1.0,)))
JOINTS = ObservationSpec("joints", (3,))
INFINITY = float("inf")
CHOOSER = BehaviourSpec("chooser", (ObservationSpec("place", (1,)),), ActionSpec(branches=(2, 3)))


def test_the_numbers_of_the_step_types_are_those_of_the_wire() -> None:
    assert [int(step_type) for step_type in StepType] == [1, 2, 3, 4]


def test_only_first_and_mid_need_an_action(rows_of: RowsOf) -> None:
    timesteps = rows_of(POINT, TERMINATED, FIRST, MID, TRUNCATED)
    assert timesteps.needs_action.tolist() == [False, True, True, False]


def test_a_batch_is_as_long_as_its_rows(rows_of: RowsOf) -> None:
    assert len(rows_of(POINT, FIRST, MID)) == 2


def test_actions_are_as_many_as_their_rows() -> None:
    actions = ActionBatch(np.zeros((3, 0), np.float32), np.zeros((3, 2), np.int32), 0)
    assert len(actions) == 3


def test_a_batch_that_fits_passes(walker: BehaviourSpec, rows_of: RowsOf) -> None:
    rows_of(walker, FIRST, MID, TERMINATED, TRUNCATED).check(walker)


def test_a_batch_of_no_rows_passes(walker: BehaviourSpec, rows_of: RowsOf) -> None:
    rows_of(walker).check(walker)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("agent_id", np.zeros(2, np.int32), r"agent_id is int32\[2\], expected int64\[2\]"),
        ("agent_id", np.zeros((2, 1), np.int64), r"agent_id is int64\[2, 1\], expected int64\[2\]"),
        ("step_type", np.ones(3, np.uint8), r"step_type is uint8\[3\], expected uint8\[2\]"),
        ("step_type", np.ones(2, np.int64), r"step_type is int64\[2\], expected uint8\[2\]"),
        ("reward", np.zeros(2), r"reward is float64\[2\], expected float32\[2\]"),
        ("reward", np.zeros((2, 1), np.float32), r"reward is float32\[2, 1\]"),
        ("action_mask", np.ones((2, 4), bool), r"bool\[2, 4\], expected bool\[2, 5\]"),
        ("action_mask", np.ones((2, 5), np.uint8), r"uint8\[2, 5\], expected bool\[2, 5\]"),
    ],
)
def test_a_field_of_wrong_shape_or_dtype_is_named_with_what_was_expected(
    field: str, values: np.ndarray, message: str, rows_of: RowsOf
) -> None:
    timesteps = replace(rows_of(CHOOSER, FIRST, MID), **{field: values})  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=f"'chooser', .*{message}"):
        timesteps.check(CHOOSER)


@pytest.mark.parametrize("number", [0, 5, 255])
def test_a_step_type_that_there_is_not_is_refused(number: int, rows_of: RowsOf) -> None:
    timesteps = rows_of(POINT, FIRST, MID)
    step_type = np.array([1, number], np.uint8)
    with pytest.raises(SpecError, match=rf"step_type holds .*{number}.*4 TRUNCATED"):
        replace(timesteps, step_type=step_type).check(POINT)


def test_a_reward_that_is_not_finite_is_refused_with_its_row(rows_of: RowsOf) -> None:
    reward = np.array([0.0, np.nan], np.float32)
    with pytest.raises(SpecError, match=r"'point', reward, row 1 \(agent 1\) holds nan"):
        replace(rows_of(POINT, FIRST, MID), reward=reward).check(POINT)


def test_an_observation_that_is_not_finite_is_refused_with_its_row(rows_of: RowsOf) -> None:
    observation = {"place": np.array([[0.0], [0.0], [np.inf]], np.float32)}
    with pytest.raises(SpecError, match=r"observation 'place', row 2 \(agent 2\) holds inf"):
        replace(rows_of(POINT, FIRST, MID, MID), observation=observation).check(POINT)


def test_missing_and_surplus_observations_are_refused(
    walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    timesteps = rows_of(walker, FIRST)
    wrong = {"joints": timesteps.observation["joints"], "lidar": timesteps.observation["camera"]}
    with pytest.raises(SpecError, match="observations joints, lidar; expected joints, camera"):
        replace(timesteps, observation=wrong).check(walker)


def masked(rows_of: RowsOf, *step_types: StepType, forbid: tuple[int, slice]) -> TimestepBatch:
    timesteps = rows_of(CHOOSER, *step_types)
    mask = np.ones((len(timesteps), 5), np.bool_)
    mask[forbid] = False
    return replace(timesteps, action_mask=mask)


def test_a_row_that_may_choose_nothing_in_a_branch_is_refused(rows_of: RowsOf) -> None:
    timesteps = masked(rows_of, FIRST, MID, forbid=(1, slice(2, 5)))
    with pytest.raises(SpecError, match=r"row 1 \(agent 1\) allows none of the 3 .* branch 1"):
        timesteps.check(CHOOSER)


def test_a_row_that_needs_no_action_may_forbid_everything(rows_of: RowsOf) -> None:
    masked(rows_of, FIRST, TERMINATED, forbid=(1, slice(0, 5))).check(CHOOSER)


def test_one_allowed_choice_in_each_branch_is_enough(rows_of: RowsOf) -> None:
    masked(rows_of, FIRST, MID, forbid=(0, slice(1, 4))).check(CHOOSER)


@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_a_mask_passes_exactly_if_every_branch_has_a_choice(allowed: list[bool]) -> None:
    timesteps = TimestepBatch.of(
        CHOOSER,
        agent_id=[0],
        step_type=MID,
        reward=0.0,
        observation={"place": [[0.0]]},
        action_mask=[allowed],
    )
    if any(allowed[:2]) and any(allowed[2:]):
        timesteps.check(CHOOSER)
    else:
        with pytest.raises(SpecError, match="allows none"):
            timesteps.check(CHOOSER)


def test_a_batch_made_of_plain_numbers_has_the_dtypes_of_the_spec(walker: BehaviourSpec) -> None:
    timesteps = TimestepBatch.of(
        walker,
        agent_id=[4, 2],
        step_type=MID,
        reward=0.25,
        observation={"joints": [[1, 2, 3], [4, 5, 6]], "camera": np.full((2, 2, 2, 1), 9)},
    )
    timesteps.check(walker)
    assert timesteps.agent_id.tolist() == [4, 2]
    assert timesteps.step_type.tolist() == [2, 2]
    assert timesteps.reward.tolist() == [0.25, 0.25]
    assert timesteps.observation["joints"][1].tolist() == [4.0, 5.0, 6.0]
    assert timesteps.action_mask.all()


def test_a_batch_made_of_too_few_rewards_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'point'.*3 agents"):
        TimestepBatch.of(
            POINT,
            agent_id=[0, 1, 2],
            step_type=MID,
            reward=[0.0, 1.0],
            observation={"place": [[0.0], [0.0], [0.0]]},
        )


def test_a_batch_made_with_an_unknown_observation_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no observation 'plaice' \(it has: place\)"):
        TimestepBatch.of(
            POINT, agent_id=[0], step_type=MID, reward=0.0, observation={"plaice": [[0.0]]}
        )


def test_an_array_that_fits_passes() -> None:
    check_observation("walker", JOINTS, np.zeros((5, 3), np.float32), rows=5)


@pytest.mark.parametrize(
    ("values", "arrived"),
    [
        (np.zeros((5, 4), np.float32), r"float32\[5, 4\]"),
        (np.zeros((4, 3), np.float32), r"float32\[4, 3\]"),
        (np.zeros((5, 3), np.float64), r"float64\[5, 3\]"),
        (np.zeros((15,), np.float32), r"float32\[15\]"),
    ],
)
def test_an_array_that_does_not_fit_is_told_with_what_was_expected(
    values: np.ndarray, arrived: str
) -> None:
    with pytest.raises(
        SpecError, match=rf"'walker', observation 'joints' is {arrived}, .*\[5, 3\]"
    ):
        check_observation("walker", JOINTS, values, rows=5)


@pytest.mark.parametrize("bad", [float("nan"), INFINITY, -INFINITY])
def test_a_number_that_is_not_finite_is_told_with_its_row(bad: float) -> None:
    values = np.zeros((5, 3), np.float32)
    values[3, 1] = bad
    with pytest.raises(SpecError, match=rf"'joints', row 3 holds {bad}"):
        check_observation("walker", JOINTS, values, rows=5)


def test_infinities_that_would_cancel_are_still_found() -> None:
    assert not is_finite(np.array([INFINITY, -INFINITY], np.float32))


def test_huge_but_finite_numbers_pass() -> None:
    largest = np.finfo(np.float32).max
    assert is_finite(np.full(10_000, largest, np.float32))


@given(st.lists(st.floats(width=32), min_size=1, max_size=40))
def test_finiteness_is_what_numpy_says_of_each_number(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    assert is_finite(values) == bool(np.isfinite(values).all())


def test_the_first_bad_row_is_named_though_later_ones_are_bad_too() -> None:
    values = np.array([[0.0], [INFINITY], [float("nan")]], np.float32)
    with pytest.raises(SpecError, match="reward, row 1 holds inf"):
        check_finite(values, "reward")


def test_finite_numbers_pass_the_slow_check() -> None:
    check_finite(np.ones((3, 2), np.float32), "reward")


def test_bytes_in_the_wrong_order_are_recognised_where_they_are_no_numbers() -> None:
    # Big-endian 1.0078 and 2.0; the first is NaN when it is read as little-endian.
    values = np.frombuffer(bytes.fromhex("3f80ff7f 40000000"), "<f4")[None]
    with pytest.raises(SpecError, match=r"nan; .*read as big-endian bytes .* 1\.0078 and the like"):
        check_finite(values, "here")
    with pytest.raises(SpecError, match=r"float32 holds \(3\.4e38\)$"):
        check_finite(np.array([[np.nan, 1.0]], np.float32), "here")
