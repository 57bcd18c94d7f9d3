"""Rows gathered one by one become the batch they would have been at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from entrain_envs.errors import SpecError
from entrain_envs.rows import TimestepRows
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Array

SPEC = BehaviourSpec("chooser", (ObservationSpec("place", (2,)),), ActionSpec(branches=(2, 3)))


def write(arrays: Mapping[str, Array], row: int, observation: Any) -> None:
    arrays["place"][row] = observation


def test_rows_keep_the_order_in_which_they_were_added() -> None:
    rows = TimestepRows(SPEC, write, capacity=4)
    rows.add(7, 1, 0.0, [1.0, 2.0], None)
    rows.add(3, 2, 0.5, [3.0, 4.0], None)
    batch = rows.batch()
    batch.check(SPEC)
    assert batch.agent_id.tolist() == [7, 3]
    assert batch.step_type.tolist() == [1, 2]
    assert batch.reward.tolist() == [0.0, 0.5]
    assert batch.observation["place"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert batch.action_mask.all()


def test_room_that_is_not_used_is_left_out() -> None:
    rows = TimestepRows(SPEC, write, capacity=100)
    rows.add(0, 1, 0.0, [1.0, 2.0], None)
    assert len(rows) == len(rows.batch()) == 1


def test_no_rows_make_an_empty_batch() -> None:
    batch = TimestepRows(SPEC, write, capacity=4).batch()
    batch.check(SPEC)
    assert len(batch) == 0


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_more_rows_than_there_was_room_for_are_kept_all_the_same(capacity: int) -> None:
    rows = TimestepRows(SPEC, write, capacity=capacity)
    for agent in range(10):
        rows.add(agent, 1, 0.0, [agent, -agent], np.array([1, 0, agent % 2, 1, 1], bool))
    batch = rows.batch()
    batch.check(SPEC)
    assert batch.observation["place"].tolist() == [[agent, -agent] for agent in range(10)]
    assert batch.action_mask[:, 2].tolist() == 5 * [False, True]


def test_a_mask_may_come_whole_or_branch_by_branch() -> None:
    rows = TimestepRows(SPEC, write, capacity=2)
    rows.add(0, 1, 0.0, [0.0, 0.0], np.array([1, 0, 1, 0, 1], np.int8))
    rows.add(1, 1, 0.0, [0.0, 0.0], (np.array([1, 0]), np.array([1, 0, 1])))
    assert rows.batch().action_mask.tolist() == 2 * [[True, False, True, False, True]]


def test_a_mask_for_continuous_actions_is_passed_over() -> None:
    spec = BehaviourSpec("point", SPEC.observations, ActionSpec((-1.0,), (1.0,)))
    rows = TimestepRows(spec, write, capacity=1)
    rows.add(0, 1, 0.0, [0.0, 0.0], np.array([1, 0]))
    rows.batch().check(spec)


@pytest.mark.parametrize("width", [1, 4])
def test_a_mask_of_wrong_width_is_refused_and_never_repeated_to_fit(width: int) -> None:
    rows = TimestepRows(SPEC, write, capacity=1)
    with pytest.raises(SpecError, match=rf"agent 5 .* mask of {width} numbers; expected 5"):
        rows.add(5, 1, 0.0, [0.0, 0.0], np.ones(width))


def test_an_observation_that_does_not_fit_is_told_with_agent_and_spec() -> None:
    rows = TimestepRows(SPEC, write, capacity=1)
    with pytest.raises(SpecError, match=r"agent 5 of behaviour 'chooser'.*place: float32\[2\]"):
        rows.add(5, 1, 0.0, [1.0, 2.0, 3.0], None)


def test_a_batch_does_not_change_when_the_environment_reuses_its_array() -> None:
    observation = np.array([1.0, 2.0])
    rows = TimestepRows(SPEC, write, capacity=1)
    rows.add(0, 1, 0.0, observation, None)
    observation[:] = 9.0
    assert rows.batch().observation["place"].tolist() == [[1.0, 2.0]]
