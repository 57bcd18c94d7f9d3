"""What acts where actions came too late: neutral ones within bounds and masks, or the last one."""

import numpy as np
import numpy.typing as npt

from entrain_envs.fallback import LastActions, neutral
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, _ = StepType
INF = float("inf")
SPEC = BehaviourSpec(
    "bug",
    (ObservationSpec("seen", ()),),
    ActionSpec(low=(-1.0, 0.5, -INF), high=(1.0, 2.0, INF), branches=(2, 3)),
)


def rows(*agents: tuple[int, StepType], mask: npt.ArrayLike = True) -> TimestepBatch:
    ids, kinds = [each[0] for each in agents], [each[1] for each in agents]
    return TimestepBatch.of(
        SPEC,
        agent_id=ids,
        step_type=kinds,
        reward=0.0,
        observation={"seen": np.zeros(len(ids))},
        action_mask=mask,
    )


def actions(*numbers: int) -> ActionBatch:
    column = np.array(numbers)[:, None]
    return ActionBatch(
        np.tile(column / 10, 3).astype(np.float32),
        np.concatenate([column % 2, column % 3], axis=1).astype(np.int32),
        3,
    )


def test_neutral_is_zero_or_the_nearest_bound_and_the_first_allowed_choice() -> None:
    mask = [[True, True, True, True, True], [True, True, False, False, True], [False] * 5]
    found = neutral(SPEC, rows((1, MID), (2, FIRST), (3, TERMINATED), mask=mask))
    assert found.continuous.tolist() == [[0.0, 0.5, 0.0]] * 2
    assert found.discrete.tolist() == [[0, 0], [0, 2]]
    assert [str(each.dtype) for each in (found.continuous, found.discrete)] == ["float32", "int32"]


def test_the_last_action_is_taken_again_by_each_agent() -> None:
    last = LastActions(SPEC)
    last.note(rows((9, FIRST), (2, TERMINATED), (4, MID)), actions(7, 5))
    found = last.again(rows((4, MID), (9, MID)))
    np.testing.assert_array_equal(found.continuous, actions(5, 7).continuous)
    np.testing.assert_array_equal(found.discrete, actions(5, 7).discrete)
    # Another agent's action leaves it as it is, a newer one of its own replaces it.
    last.note(rows((1, FIRST)), actions(3))
    last.note(rows((4, MID)), actions(2))
    np.testing.assert_array_equal(
        last.again(rows((9, MID), (4, MID), (1, MID))).discrete, actions(7, 2, 3).discrete
    )


def test_it_is_neutral_where_an_episode_begins_or_the_agent_is_new() -> None:
    last = LastActions(SPEC)
    nothing = neutral(SPEC, rows((4, FIRST)))
    np.testing.assert_array_equal(last.again(rows((4, FIRST))).discrete, nothing.discrete)
    last.note(rows((4, MID)), actions(5))
    found = last.again(rows((4, FIRST), (8, MID)))
    np.testing.assert_array_equal(found.continuous, np.tile(nothing.continuous, (2, 1)))
    np.testing.assert_array_equal(found.discrete, np.tile(nothing.discrete, (2, 1)))


def test_a_choice_that_is_forbidden_now_is_not_taken_again() -> None:
    last = LastActions(SPEC)
    last.note(rows((4, MID)), actions(5))  # choices 1 and 2
    found = last.again(rows((4, MID), mask=[[True, True, False, True, False]]))
    assert found.discrete.tolist() == [[1, 1]]


def test_no_agent_at_all() -> None:
    none = rows()
    assert len(neutral(SPEC, none)) == 0
    last = LastActions(SPEC)
    last.note(none, actions())
    assert len(last.again(none)) == 0
