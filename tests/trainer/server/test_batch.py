"""Requests merged into rows by slot, and actions shared out again."""

from collections.abc import Callable

import numpy as np
import pytest

from entrain.serving.batch import Request, RequestBatch, agents_that_left, merge
from entrain.serving.slots import SlotTable
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Rows = Callable[..., TimestepBatch]


def request(
    owner: str, timesteps: TimestepBatch, answer: Callable[[ActionBatch], None] = lambda _: None
) -> Request:
    return Request(
        owner=owner,
        rank=(owner, 0),
        behaviour="walker",
        timesteps=timesteps,
        num_actions=int(timesteps.needs_action.sum()),
        answer=answer,
    )


def actions(*numbers: float) -> ActionBatch:
    return ActionBatch(
        continuous=np.array(numbers, np.float32)[:, None],
        discrete=np.empty((len(numbers), 0), np.int32),
        policy_version=3,
    )


def test_rows_of_two_simulators_stand_one_after_the_other(rows: Rows) -> None:
    merged = merge(
        [
            request("left", rows((7, FIRST), (8, FIRST))),
            request("right", rows((7, TERMINATED, 1.5), (7, FIRST))),
        ],
        SlotTable(),
    )
    assert merged.slot.tolist() == [0, 1, 2, 2]
    assert merged.timesteps.agent_id.tolist() == [7, 8, 7, 7]
    assert merged.timesteps.step_type.tolist() == [FIRST, FIRST, TERMINATED, FIRST]
    assert merged.timesteps.reward.tolist() == [0.0, 0.0, 1.5, 0.0]
    assert merged.timesteps.observation["eyes"].tolist() == [
        [7.0, 7.0],
        [8.0, 8.0],
        [8.5, 8.5],
        [7.0, 7.0],
    ]
    assert merged.num_slots == 3


def test_the_rows_of_a_lone_simulator_are_not_copied(rows: Rows) -> None:
    timesteps = rows((7, FIRST), (8, FIRST))
    assert merge([request("left", timesteps)], SlotTable()).timesteps is timesteps


def test_an_agent_that_ended_for_good_gives_its_slot_back_after_the_batch(rows: Rows) -> None:
    table = SlotTable()
    merge([request("left", rows((7, FIRST), (8, FIRST)))], table)
    last = merge([request("left", rows((7, TERMINATED), (8, TRUNCATED), (8, FIRST)))], table)
    assert last.slot.tolist() == [0, 1, 1]
    assert last.released.tolist() == []
    following = merge([request("left", rows((8, MID), (9, FIRST)))], table)
    assert following.released.tolist() == [0]
    assert following.slot.tolist() == [1, 0]
    assert merge([request("left", rows((8, MID), (9, MID)))], table).released.tolist() == []


def test_a_slot_that_is_given_back_is_not_reused_within_the_batch(rows: Rows) -> None:
    table = SlotTable()
    merge([request("left", rows((7, FIRST)))], table)
    both = merge(
        [request("left", rows((7, TERMINATED))), request("right", rows((1, FIRST)))], table
    )
    assert both.slot.tolist() == [0, 1]


def test_agents_that_left_are_those_with_an_end_and_no_beginning(rows: Rows) -> None:
    timesteps = rows((1, MID), (2, TERMINATED), (3, TRUNCATED), (3, FIRST), (4, FIRST))
    assert agents_that_left(timesteps).tolist() == [2]
    assert agents_that_left(rows((1, MID))).tolist() == []


def test_each_simulator_gets_the_actions_of_its_own_rows(rows: Rows, walker: object) -> None:
    answers: dict[str, list[float]] = {}

    def answer_of(owner: str) -> Callable[[ActionBatch], None]:
        def answer(given: ActionBatch) -> None:
            assert given.policy_version == 3
            answers[owner] = given.continuous[:, 0].tolist()

        return answer

    empty = rows()
    batch = RequestBatch(
        [
            request("left", rows((1, FIRST), (2, FIRST)), answer_of("left")),
            request("middle", empty, answer_of("middle")),
            request("right", rows((7, TERMINATED), (7, FIRST)), answer_of("right")),
        ],
        SlotTable(),
        on_reply=lambda: None,
    )
    assert batch.num_actions == 3
    batch.reply(actions(10.0, 20.0, 30.0))
    assert answers == {"left": [10.0, 20.0], "middle": [], "right": [30.0]}


def test_a_batch_is_answered_once_and_in_full(rows: Rows) -> None:
    replied: list[bool] = []
    batch = RequestBatch(
        [request("left", rows((1, FIRST)))], SlotTable(), on_reply=lambda: replied.append(True)
    )
    with pytest.raises(ValueError, match=r"2 actions were given for 1 rows that need one"):
        batch.reply(actions(1.0, 2.0))
    assert not replied
    batch.reply(actions(1.0))
    with pytest.raises(ValueError, match=r"answered already"):
        batch.reply(actions(1.0))
    assert replied == [True]
