"""Specs refuse contradictions when they are made, and describe themselves."""

import copy

import numpy as np
import pytest

from entrain_envs.errors import EntrainEnvsError, SpecError
from entrain_envs.observation_kinds import KINDS
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

JUMP = ActionSpec(branches=(2,))
INFINITY = float("inf")


def behaviour(*observations: ObservationSpec) -> BehaviourSpec:
    return BehaviourSpec("walker", observations, JUMP)


def test_an_observation_knows_how_many_numbers_it_holds() -> None:
    assert ObservationSpec("camera", (4, 3, 2), "uint8").size == 24


def test_a_scalar_observation_holds_one_number() -> None:
    assert ObservationSpec("height", ()).size == 1


def test_float32_is_little_endian_on_every_machine() -> None:
    assert ObservationSpec("height", ()).numpy_dtype == np.dtype("<f4")


def test_an_observation_needs_a_name() -> None:
    with pytest.raises(SpecError, match="empty name"):
        ObservationSpec("", (3,))


def test_a_dtype_that_the_wire_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(SpecError, match=r"'joints' has dtype float64; .* float32, uint8"):
        ObservationSpec("joints", (3,), "float64")


def test_a_dimension_of_zero_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'joints' has shape \[3, 0\]"):
        ObservationSpec("joints", (3, 0))


@pytest.mark.parametrize(
    ("shape", "kind"), [((), "vector"), ((3,), "vector"), ((4, 4), "vector"), ((4, 4, 3), "image")]
)
def test_who_does_not_say_a_kind_means_an_image_by_three_dimensions(
    shape: tuple[int, ...], kind: str
) -> None:
    assert ObservationSpec("seen", shape).kind == kind
    assert ObservationSpec("seen", shape) == ObservationSpec("seen", shape, kind=kind)


def test_another_kind_is_another_spec() -> None:
    goal = behaviour(ObservationSpec("colour", (3,), kind="goal"))
    assert goal != behaviour(ObservationSpec("colour", (3,)))
    assert str(goal) == "'walker' observes (colour: goal float32[3]), acts with branches [2]"


def test_anything_may_be_a_vector_or_a_goal() -> None:
    for kind in ("vector", "goal"):
        for shape in ((), (3,), (2, 2), (2, 2, 2), (2, 2, 2, 2)):
            for dtype in ("float32", "uint8"):
                assert ObservationSpec("seen", shape, dtype, kind).kind == kind


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match=f"'map' is of kind 'grid'; .* {', '.join(KINDS)}"):
        ObservationSpec("map", (8, 8), kind="grid")


def test_an_observation_has_no_more_dimensions_than_arrays_can_have() -> None:
    ObservationSpec("joints", (1,) * 16)
    with pytest.raises(SpecError, match=r"'joints' has 17 dimensions; .* at most 16: flatten"):
        ObservationSpec("joints", (1,) * 17)


def test_the_bytes_of_a_row_and_of_an_action_by_hand() -> None:
    # 8 agent id + 1 step type + 4 reward; 3 float32; 2 x 2 x 1 uint8; a mask of 2 + 3 choices.
    spec = BehaviourSpec(
        "walker",
        (ObservationSpec("joints", (3,)), ObservationSpec("camera", (2, 2, 1), "uint8")),
        ActionSpec(low=(-1.0,), high=(1.0,), branches=(2, 3)),
    )
    assert spec.row_bytes == 13 + 12 + 4 + 5
    # One float32 and two int32.
    assert spec.action.num_bytes == 12


@pytest.mark.parametrize("shape", [(), (84,), (2, 4, 84, 84, 3)])
def test_an_image_has_two_to_four_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"image 'camera' has shape .* let its kind be vector"):
        ObservationSpec("camera", shape, kind="image")


@pytest.mark.parametrize("shape", [(1, 1), (2, 84, 1), (4, 84, 84, 3)])
def test_whoever_says_so_has_an_image_of_any_size(shape: tuple[int, ...]) -> None:
    assert ObservationSpec("camera", shape, kind="image").kind == "image"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        ((0.0,), (), "1 lower and 0 upper bounds; .* for all 4"),
        ((0.0,) * 3, (1.0,) * 3, "3 lower and 3 upper bounds"),
        ((1.0,), (0.0,), r"bounded by \[1.0, 0.0\]"),
        ((float("nan"),), (0.0,), "bounded by"),
    ],
)
def test_bounds_that_cannot_be_are_refused(
    low: tuple[float, ...], high: tuple[float, ...], words: str
) -> None:
    with pytest.raises(SpecError, match=f"observation 'board' .*{words}"):
        ObservationSpec("board", (2, 2), low=low, high=high)


def test_simulators_need_not_agree_on_an_observations_bounds() -> None:
    board = ObservationSpec("board", (9,), "uint8", low=(0.0,), high=(2.0,))
    assert board == ObservationSpec("board", (9,), "uint8")


@pytest.mark.parametrize(
    ("shape", "dtype"), [((4,), "float32"), ((4, 3), "uint8"), ((4, 3, 2), "float32")]
)
def test_entities_are_rows_of_floats(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(SpecError, match=r"'foes' are .*; they must be float32\[most entities, num"):
        ObservationSpec("foes", shape, dtype, "entities")


def test_bounds_of_different_number_are_refused() -> None:
    with pytest.raises(SpecError, match="1 lower and 2 upper bounds"):
        ActionSpec(low=(-1.0,), high=(1.0, 1.0))


@pytest.mark.parametrize("low", [1.0, 2.0, float("nan")])
def test_a_lower_bound_that_is_not_below_the_upper_is_refused(low: float) -> None:
    with pytest.raises(SpecError, match="continuous action 1 is bounded by"):
        ActionSpec(low=(-1.0, low), high=(1.0, 1.0))


def test_a_branch_without_choices_is_refused() -> None:
    with pytest.raises(SpecError, match=r"branches are \[2, 0\]"):
        ActionSpec(branches=(2, 0))


def test_an_action_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="action is empty"):
        ActionSpec()


def test_an_action_may_have_no_bounds() -> None:
    spec = ActionSpec(low=(-INFINITY,), high=(INFINITY,))
    assert spec.continuous_size == 1


def test_a_mask_is_as_wide_as_all_branches_together() -> None:
    assert ActionSpec(branches=(2, 3, 4)).num_choices == 9


def test_a_behaviour_needs_a_name() -> None:
    with pytest.raises(SpecError, match="behaviour has an empty name"):
        BehaviourSpec("", (ObservationSpec("joints", (3,)),), JUMP)


def test_a_behaviour_must_observe_something() -> None:
    with pytest.raises(SpecError, match="'walker' observes nothing"):
        behaviour()


def test_two_observations_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="two observations of one name: joints, joints"):
        behaviour(ObservationSpec("joints", (3,)), ObservationSpec("joints", (2,)))


def test_an_unknown_observation_is_refused_with_those_there_are() -> None:
    spec = behaviour(ObservationSpec("joints", (3,)), ObservationSpec("camera", (2,)))
    with pytest.raises(SpecError, match=r"no observation 'jonts' \(it has: joints, camera\)"):
        spec.observation("jonts")


def test_a_behaviour_lists_the_names_of_its_observations_in_their_order() -> None:
    spec = behaviour(ObservationSpec("joints", (3,)), ObservationSpec("camera", (2,)))
    assert spec.observation_names == ("joints", "camera")


def test_a_spec_can_be_copied_whole_after_it_was_used() -> None:
    spec = behaviour(ObservationSpec("joints", (3,)))
    assert spec.row_bytes == 13 + 12 + 2
    assert spec.observation_names == ("joints",)
    assert copy.deepcopy(spec) == spec


def test_specs_with_the_same_content_are_equal_and_hash_alike() -> None:
    one = behaviour(ObservationSpec("joints", (3,)))
    other = behaviour(ObservationSpec("joints", (3,)))
    assert one == other
    assert hash(one) == hash(other)
    assert one != behaviour(ObservationSpec("joints", (4,)))


def test_a_spec_reads_as_a_sentence() -> None:
    spec = BehaviourSpec(
        "walker",
        (ObservationSpec("joints", (3,)), ObservationSpec("camera", (8, 8), "uint8")),
        ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0), branches=(2, 3)),
    )
    assert str(spec) == (
        "'walker' observes (joints: float32[3], camera: uint8[8, 8]), "
        "acts with 2 continuous in [-1, 1] and branches [2, 3]"
    )


def test_differing_bounds_are_all_shown() -> None:
    assert str(ActionSpec(low=(-1.0, 0.0), high=(1.0, INFINITY))) == (
        "2 continuous in [-1, 1] x [0, inf]"
    )


def test_spec_errors_are_caught_by_the_root_and_as_value_errors() -> None:
    assert issubclass(SpecError, EntrainEnvsError)
    assert issubclass(SpecError, ValueError)


def test_a_spec_comes_back_from_its_state() -> None:
    spec = BehaviourSpec(
        "hybrid",
        (ObservationSpec("eyes", (4, 4, 3), "uint8"), ObservationSpec("goal", (), kind="goal")),
        ActionSpec(low=(-1.0, float("-inf")), high=(0.1, float("inf")), branches=(3, 2)),
    )
    assert BehaviourSpec.from_state(spec.state()) == spec


def test_bounds_come_back_from_a_state() -> None:
    board = ObservationSpec("board", (2,), "uint8", low=(0.0, 1.0), high=(2.0, float("inf")))
    spec = BehaviourSpec("b", (board,), ActionSpec(branches=(2,)))
    (back,) = BehaviourSpec.from_state(spec.state()).observations
    assert (back.low, back.high) == (board.low, board.high)


@pytest.mark.parametrize(
    ("observation", "is_refused"),
    [
        (ObservationSpec("seen", (9,), "uint8"), True),
        (ObservationSpec("seen", (9,), "uint8", "goal"), True),
        (ObservationSpec("seen", (84, 84, 3), "uint8"), False),
        (ObservationSpec("seen", (9,)), False),
    ],
)
def test_of_version_0_2_only_bytes_that_were_no_image_are_refused(
    observation: ObservationSpec, *, is_refused: bool
) -> None:
    state = BehaviourSpec("b", (observation,), ActionSpec(branches=(2,))).state()
    for each in state["observations"]:
        del each["low"], each["high"]
    if is_refused:
        with pytest.raises(SpecError, match=r"'seen' was saved by entrain 0.2.*: start anew"):
            BehaviourSpec.from_state(state)
    else:
        assert BehaviourSpec.from_state(state).observations == (observation,)


def test_a_state_that_is_no_spec_is_refused() -> None:
    state = BehaviourSpec("b", (ObservationSpec("x", ()),), ActionSpec((-1.0,), (1.0,))).state()
    with pytest.raises(SpecError, match="bounded by"):
        BehaviourSpec.from_state({**state, "low": [2.0]})
    with pytest.raises(SpecError, match="observes nothing"):
        BehaviourSpec.from_state({**state, "observations": []})
