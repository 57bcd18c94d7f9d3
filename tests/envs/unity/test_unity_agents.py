"""Records of agents become timesteps, and actions go back in the order of the records."""

from collections.abc import Sequence

import numpy as np
import pytest

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.unity.agents import Agents
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import AgentRecords, Observation
from entrain_envs.unity.specs import Sensor

FIRST, MID, TERMINATED, TRUNCATED = StepType

EYES = Sensor(ObservationSpec("eyes", (2,)), (2,), is_png=False)
SPEC = BehaviourSpec("Ball", (EYES.spec,), ActionSpec(low=(-1.0,), high=(1.0,), branches=(2,)))
RED, BLUE = "Ball?team=0", "Ball?team=1"


def records(
    ids: Sequence[int],
    *,
    done: Sequence[int] = (),
    interrupted: Sequence[int] = (),
    mask: Sequence[Sequence[bool]] | None = None,
    group: int = 0,
    group_reward: float = 0.0,
) -> AgentRecords:
    """Records of these agents in order: they see and earn their id.

    Args:
        ids: of the agents.
        done: rows at which an episode ended.
        interrupted: those of them that were cut off.
        mask: true where forbidden.
        group: of all.
        group_reward: of all.
    """
    rows = np.arange(len(ids))
    agent_id = np.array(ids, np.int64)
    values = np.repeat(agent_id[:, None], 2, axis=1).astype(np.float32)
    return AgentRecords(
        id=agent_id,
        reward=agent_id.astype(np.float32),
        done=np.isin(rows, done),
        interrupted=np.isin(rows, interrupted),
        group_id=np.full(len(ids), group, np.int64),
        group_reward=np.full(len(ids), group_reward, np.float32),
        observations=(Observation("eyes", (2,), values=values),),
        mask=None if mask is None else np.array(mask),
    )


def rows(batch: TimestepBatch) -> list[tuple[int, int, float]]:
    """(agent, step type, reward) of each row, after looking that it sees what belongs to it."""
    batch.check(SPEC)
    assert np.array_equal(batch.observation["eyes"][:, 0], batch.agent_id.astype(np.float32))
    columns = (batch.agent_id.tolist(), batch.step_type.tolist(), batch.reward.tolist())
    return list(zip(*columns, strict=True))


def agents(**options: int) -> Agents:
    return Agents(SPEC, [EYES], **options)


def actions(count: int) -> ActionBatch:
    """0, 1, 2, ..."""
    continuous = np.arange(count, dtype=np.float32)[:, None]
    return ActionBatch(continuous, np.zeros((count, 1), np.int32), policy_version=3)


def test_who_has_no_open_episode_begins_one_and_who_has_goes_on() -> None:
    it = agents()
    assert rows(it.read({RED: records([7, 5])})) == [(7, FIRST, 0.0), (5, FIRST, 0.0)]
    assert rows(it.read({RED: records([7, 5])})) == [(7, MID, 7.0), (5, MID, 5.0)]
    # Another order, and one that comes only now.
    assert rows(it.read({RED: records([5, 9, 7])})) == [
        (5, MID, 5.0),
        (9, FIRST, 0.0),
        (7, MID, 7.0),
    ]
    assert it.num_open == 3


def test_an_end_and_the_next_beginning_come_in_one_message_under_one_id() -> None:
    it = agents()
    it.read({RED: records([1, 2])})
    batch = it.read({RED: records([1, 1, 2], done=[0])})
    assert rows(batch) == [(1, TERMINATED, 1.0), (1, FIRST, 0.0), (2, MID, 2.0)]
    assert list(it.split(actions(2))) == [RED]
    # The usual message again: the order is now 1, 2.
    assert rows(it.read({RED: records([1, 2])})) == [(1, MID, 1.0), (2, MID, 2.0)]


def test_an_end_may_come_behind_the_next_beginning() -> None:
    it = agents()
    it.read({RED: records([1, 2])})
    batch = it.read({RED: records([1, 2, 1], done=[2], interrupted=[2])})
    assert rows(batch) == [(1, TRUNCATED, 1.0), (1, FIRST, 0.0), (2, MID, 2.0)]


def test_an_agent_that_was_switched_off_comes_back_under_another_id() -> None:
    it = agents()
    it.read({RED: records([1, 2])})
    batch = it.read({RED: records([1, 3, 2], done=[0])})
    assert rows(batch) == [(1, TERMINATED, 1.0), (3, FIRST, 0.0), (2, MID, 2.0)]
    assert it.num_open == 2


def test_what_was_interrupted_is_truncated() -> None:
    it = agents()
    it.read({RED: records([1, 2])})
    batch = it.read({RED: records([1, 2], done=[0, 1], interrupted=[1])})
    assert rows(batch) == [(1, TERMINATED, 1.0), (2, TRUNCATED, 2.0)]
    assert it.split(actions(0)) == {}
    assert it.num_open == 0


def test_an_end_without_an_action_before_it_closes_nothing() -> None:
    it = agents()
    assert rows(it.read({RED: records([1, 1], done=[0])})) == [(1, FIRST, 0.0)]
    # Two episodes ended since the last decision: only the first had an action.
    assert rows(it.read({RED: records([1, 1, 1], done=[0, 1])})) == [
        (1, TERMINATED, 1.0),
        (1, FIRST, 0.0),
    ]
    assert len(it.read({RED: records([8], done=[0])})) == 0


def test_agents_with_a_decision_period_are_silent_in_between() -> None:
    it = agents()
    it.read({RED: records([1, 2, 3])})
    assert rows(it.read({RED: records([2])})) == [(2, MID, 2.0)]
    assert rows(it.read({RED: records([2])})) == [(2, MID, 2.0)]
    assert rows(it.read({RED: records([1], done=[0])})) == [(1, TERMINATED, 1.0)]
    assert rows(it.read({RED: records([3, 1])})) == [(3, MID, 3.0), (1, FIRST, 0.0)]
    assert len(it.take_gone()) == 0


def test_an_agent_that_vanished_without_an_end_is_gone_after_long() -> None:
    it = agents(most_absent=10)
    it.read({RED: records([1, 2, 3])})
    for message in range(40):
        it.read({RED: records([1, 2] if message % 7 else [2, 1])})
        if message < 8:
            assert it.num_open == 3
    assert it.take_gone().tolist() == [3]
    assert len(it.take_gone()) == 0
    # Should it come back after all, it begins anew.
    assert (3, FIRST, 0.0) in rows(it.read({RED: records([1, 2, 3])}))


def test_after_a_reset_everyone_begins_anew() -> None:
    it = agents()
    it.read({RED: records([4, 1])})
    it.forget()
    assert it.take_gone().tolist() == [1, 4]
    assert rows(it.read({RED: records([4, 1])})) == [(4, FIRST, 0.0), (1, FIRST, 0.0)]


def test_teams_are_one_batch_and_are_answered_apart() -> None:
    it = agents()
    both = {BLUE: records([2, 4]), RED: records([1])}
    assert [row[0] for row in rows(it.read(both))] == [1, 2, 4]
    assert [row[:2] for row in rows(it.read(both))] == [(1, MID), (2, MID), (4, MID)]
    split = it.split(actions(3))
    assert {key: each.continuous[:, 0].tolist() for key, each in split.items()} == {
        RED: [0.0],
        BLUE: [1.0, 2.0],
    }
    # An end in one team, the other only waits.
    batch = it.read({RED: records([1], done=[0]), BLUE: records([4])})
    assert [row[:2] for row in rows(batch)] == [(1, TERMINATED), (4, MID)]
    assert list(it.split(actions(1))) == [BLUE]


def test_ends_of_several_teams_come_before_all_that_need_an_action() -> None:
    it = agents()
    it.read({RED: records([1]), BLUE: records([2])})
    batch = it.read({RED: records([1, 1], done=[0]), BLUE: records([2, 2], done=[0])})
    assert [row[:2] for row in rows(batch)] == [
        (1, TERMINATED),
        (2, TERMINATED),
        (1, FIRST),
        (2, FIRST),
    ]
    assert {key: len(each) for key, each in it.split(actions(2)).items()} == {RED: 1, BLUE: 1}


def test_a_mask_is_turned_around() -> None:
    it = agents()
    batch = it.read({RED: records([1, 2], mask=[[True, False], [False, False]])})
    assert batch.action_mask.tolist() == [[False, True], [True, True]]
    batch = it.read({RED: records([1, 2])})
    assert batch.action_mask.all()
    # A mask of another length says nothing.
    assert it.read({RED: records([1], mask=[[True, True, True]])}).action_mask.tolist() == [
        [True, True]
    ]
    # One team has a mask, the other none; row 0 ends.
    batch = it.read(
        {RED: records([1, 1], done=[0], mask=[[False, False], [False, True]]), BLUE: records([2])}
    )
    assert batch.action_mask.tolist() == [[True, True], [True, False], [True, True]]


def test_groups_are_passed_on_where_there_are_any() -> None:
    it = agents()
    batch = it.read({RED: records([1], group=3, group_reward=2.0)})
    assert batch.group_id is not None
    assert batch.group_reward is not None
    assert (batch.group_id.tolist(), batch.group_reward.tolist()) == ([3], [0.0])
    batch = it.read({RED: records([1], group=3, group_reward=2.0)})
    assert batch.earned.tolist() == [3.0]
    batch = it.read({RED: records([1])})
    assert (batch.group_id, batch.group_reward) == (None, None)


def test_an_agent_asks_once_in_a_message() -> None:
    it = agents()
    with pytest.raises(UnityMessageError, match="agent 5 asks for two actions"):
        it.read({RED: records([5, 5])})


def test_sensors_do_not_come_and_go() -> None:
    it = agents()
    without = records([1])
    object.__setattr__(without, "observations", ())
    with pytest.raises(UnityMessageError, match="sent 0 sensors, and before 1"):
        it.read({RED: without})


def test_a_long_life_of_many_agents_agrees_with_a_slow_and_plain_reading() -> None:
    chance = np.random.default_rng(5)
    it, open_ = agents(), set[int]()
    for _ in range(300):
        present = chance.permutation(8)[: chance.integers(1, 9)].tolist()
        ended = [agent for agent in present if chance.random() < 0.2]
        acting = [agent for agent in present if agent not in ended or chance.random() < 0.5]
        cut = [row for row in range(len(ended)) if chance.random() < 0.5]
        message = records([*ended, *acting], done=range(len(ended)), interrupted=cut)
        expected = [
            (agent, TRUNCATED if row in cut else TERMINATED)
            for row, agent in enumerate(ended)
            if agent in open_
        ]
        open_ -= set(ended)
        expected += [(agent, MID if agent in open_ else FIRST) for agent in acting]
        open_ |= set(acting)
        assert [row[:2] for row in rows(it.read({RED: message}))] == expected
        assert it.num_open == len(open_)
