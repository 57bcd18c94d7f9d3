"""Every agent counts for the same number of episodes."""

import numpy as np
import pytest

from entrain.evaluation import FairCount, Scores
from entrain.requests import SlotTimesteps
from entrain_envs.timestep import StepType, TimestepBatch

FIRST, MID, END = StepType.FIRST, StepType.MID, StepType.TERMINATED


def batch(*rows: tuple[int, StepType, float], num_slots: int = 2) -> SlotTimesteps:
    """Rows of (slot, step type, reward)."""
    slots, step_types, rewards = zip(*rows, strict=True)
    return SlotTimesteps(
        slot=np.array(slots, np.int64),
        timesteps=TimestepBatch(
            agent_id=np.array(slots, np.int64),
            step_type=np.array(step_types, np.uint8),
            reward=np.array(rewards, np.float32),
            observation={},
            action_mask=np.zeros((len(rows), 0), np.bool_),
        ),
        released=np.zeros(0, np.int64),
        num_slots=num_slots,
    )


def test_an_episodes_return_is_the_sum_of_its_rewards_and_its_length_their_number() -> None:
    count = FairCount(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, MID, 1.5), num_slots=1))
    count.take_in(batch((0, END, 2.0), (0, FIRST, 0.0), num_slots=1))
    assert count.is_complete
    assert count.scores.returns.tolist() == [3.5]
    assert count.scores.lengths.tolist() == [2]


def test_agents_with_short_episodes_do_not_crowd_out_those_with_long_ones() -> None:
    # Slot 0 fails at once, again and again; slot 1 lives for five steps. The first two episodes
    # to end are both slot 0's: their mean, 0, would be wrong by half.
    count = FairCount(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    for _ in range(4):
        count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (1, MID, 1.0)))
        assert not count.is_complete
    count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (1, END, 1.0), (1, FIRST, 0.0)))
    assert count.is_complete
    assert sorted(count.scores.returns.tolist()) == [0.0, 5.0]


def test_the_number_of_episodes_is_rounded_up_to_a_multiple_of_the_agents() -> None:
    count = FairCount(episodes=3)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    for _ in range(3):
        ends = [(slot, kind, 1.0) for slot in (0, 1) for kind in (END, FIRST)]
        count.take_in(batch(*ends))
    assert len(count.scores.returns) == 4


def test_agents_that_join_later_are_served_but_not_counted() -> None:
    count = FairCount(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, MID, 1.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, MID, 1.0), (1, END, 9.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 1.0), (1, MID, 9.0)))
    assert count.scores.returns.tolist() == [3.0]


def test_rewards_do_not_leak_into_the_next_episode() -> None:
    count = FairCount(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 100.0), (0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 1.0), (0, FIRST, 0.0), num_slots=1))
    assert count.scores.returns.tolist() == [100.0, 1.0]


def test_scores_say_mean_spread_extremes_and_number() -> None:
    text = str(Scores(np.array([1.0, 3.0]), np.array([10, 20])))
    assert text == ("return 2.00 +- 1.00 (least 1.00, most 3.00), length 15.0, over 2 episodes")


def test_a_count_that_has_seen_nothing_is_not_complete() -> None:
    assert not FairCount(episodes=1).is_complete
    assert len(FairCount(episodes=1).scores.returns) == 0


@pytest.mark.parametrize("num_slots", [1, 7, 64])
def test_every_agent_has_its_share_whatever_their_number(num_slots: int) -> None:
    count = FairCount(episodes=20)
    first = [(slot, FIRST, 0.0) for slot in range(num_slots)]
    ends = [(slot, kind, 1.0) for slot in range(num_slots) for kind in (END, FIRST)]
    count.take_in(batch(*first, num_slots=num_slots))
    while not count.is_complete:
        count.take_in(batch(*ends, num_slots=num_slots))
    assert len(count.scores.returns) == num_slots * -(-20 // num_slots)
