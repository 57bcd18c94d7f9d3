"""What differs between two specs, in words, and nothing of what is the same."""

from dataclasses import replace

from entrain.serving.spec_differences import spec_differences
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

EYES, EARS = ObservationSpec("eyes", (2,)), ObservationSpec("ears", (4, 2), "uint8")
ACTION = ActionSpec((-1.0,), (1.0,))
WALKER = BehaviourSpec("walker", (EYES, EARS), ACTION)


def with_observations(*observations: ObservationSpec) -> BehaviourSpec:
    return BehaviourSpec("walker", observations, ACTION)


def test_the_same_spec_has_no_differences() -> None:
    assert spec_differences(replace(WALKER), WALKER) == []


def test_changed_new_and_missing_observations_are_named_in_this_order() -> None:
    nose = ObservationSpec("nose", ())
    theirs = with_observations(nose, ObservationSpec("eyes", (2,), kind="goal"))
    assert spec_differences(theirs, WALKER) == [
        "observation 'eyes' is goal float32[2] and was float32[2]",
        "observation 'nose', float32[], is new",
        "observation 'ears', uint8[4, 2], is missing",
    ]


def test_another_order_is_a_difference() -> None:
    assert spec_differences(with_observations(EARS, EYES), WALKER) == [
        "observation 1 is 'ears' and was 'eyes': their order is another"
    ]


def test_another_action_comes_first_and_is_shortened() -> None:
    theirs = replace(with_observations(EYES), action=ActionSpec(branches=(3,) * 500))
    action, missing = spec_differences(theirs, WALKER)
    assert action.startswith("it acts with branches [3, 3, 3,")
    assert action.endswith("3, 3], and did with 1 continuous in [-1, 1]")
    assert len(action) < 350
    assert missing == "observation 'ears', uint8[4, 2], is missing"
