"""Requests merged into rows by slot, and actions shared out again."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from entrain.serving.batch import Request, RequestBatch, agents_that_left, merge
from entrain.serving.slots import SlotTable
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from support.world import reply_now

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Rows = Callable[..., TimestepBatch]


class Asker:
    """Keeps the actions that it is given."""

    def __init__(self) -> None:
        self.given: list[ActionBatch] = []

    def answer(
        self, behaviour: str, step_number: int, actions: ActionBatch, taken: Callable[[], None]
    ) -> bool:
        assert (behaviour, step_number) == ("walker", 5)
        self.given.append(actions)
        return False


class OneBatch:
    """The queue of a batch: counts how often it was answered."""

    def __init__(self) -> None:
        self.answered = 0

    def note_answered(self) -> None:
        self.answered += 1

    def next_event(self) -> asyncio.Future[None]:
        raise AssertionError("nothing was sent, so that nothing is waited for")


def request(owner: str, timesteps: TimestepBatch, asker: Asker | None = None) -> Request:
    return Request(
        owner=owner,
        asker=asker or Asker(),
        rank=(owner, 0),
        behaviour="walker",
        step_number=5,
        timesteps=timesteps,
        num_actions=int(timesteps.needs_action.sum()),
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


def test_each_simulator_gets_the_actions_of_its_own_rows(rows: Rows) -> None:
    left, middle, right = Asker(), Asker(), Asker()
    batch = RequestBatch(
        [
            request("left", rows((1, FIRST), (2, FIRST)), left),
            request("middle", rows(), middle),
            request("right", rows((7, TERMINATED), (7, FIRST)), right),
        ],
        SlotTable(),
        OneBatch(),
    )
    assert batch.num_actions == 3
    reply_now(batch, actions(10.0, 20.0, 30.0))
    given = [
        [(part.continuous[:, 0].tolist(), part.policy_version) for part in asker.given]
        for asker in (left, middle, right)
    ]
    assert given == [[([10.0, 20.0], 3)], [([], 3)], [([30.0], 3)]]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_batch_is_answered_once_and_in_full(rows: Rows, others: int) -> None:
    queue = OneBatch()
    requests = [request("left", rows((1, FIRST))), *[request("right", rows())] * others]
    batch = RequestBatch(requests, SlotTable(), queue)
    with pytest.raises(ValueError, match=r"2 actions were given for 1 rows that need one"):
        await batch.reply(actions(1.0, 2.0))
    assert queue.answered == 0
    await batch.reply(actions(1.0))
    with pytest.raises(ValueError, match=r"answered already"):
        await batch.reply(actions(1.0))
    assert queue.answered == 1
