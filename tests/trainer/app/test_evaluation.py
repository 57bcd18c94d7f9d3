"""Every agent counts for the same number of episodes."""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from entrain.app.episode_quota import EpisodeQuota, Scores, no_names
from entrain.app.evaluation import EvaluationProgress
from entrain.app.evaluation_options import ENDLESS, EvaluationOptions
from entrain.app.evaluation_results import EvaluationResult, PolicyResult
from entrain.app.told_simulators import ToldSimulators
from entrain.requests import SlotTimesteps
from entrain_envs.timestep import StepType, TimestepBatch

FIRST, MID, END = StepType.FIRST, StepType.MID, StepType.TERMINATED


def batch(
    *rows: tuple[int, StepType, float], num_slots: int = 2, released: Sequence[int] = ()
) -> SlotTimesteps:
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
        released=np.array(released, np.int64),
        num_slots=num_slots,
    )


def test_an_episodes_return_is_the_sum_of_its_rewards_and_its_length_their_number() -> None:
    count = EpisodeQuota(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, MID, 1.5), num_slots=1))
    count.take_in(batch((0, END, 2.0), (0, FIRST, 0.0), num_slots=1))
    assert count.is_complete
    assert count.scores.returns.tolist() == [3.5]
    assert count.scores.lengths.tolist() == [2]


def test_agents_with_short_episodes_do_not_crowd_out_those_with_long_ones() -> None:
    # Slot 0 fails at once, again and again; slot 1 lives for five steps. The first two episodes
    # to end are both slot 0's: their mean, 0, would be wrong by half.
    count = EpisodeQuota(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    for _ in range(4):
        count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (1, MID, 1.0)))
        assert not count.is_complete
    count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (1, END, 1.0), (1, FIRST, 0.0)))
    assert count.is_complete
    assert sorted(count.scores.returns.tolist()) == [0.0, 5.0]


def test_the_number_of_episodes_is_rounded_up_to_a_multiple_of_the_agents() -> None:
    count = EpisodeQuota(episodes=3)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    for _ in range(3):
        ends = [(slot, kind, 1.0) for slot in (0, 1) for kind in (END, FIRST)]
        count.take_in(batch(*ends))
    assert len(count.scores.returns) == 4


def test_agents_that_join_later_are_served_but_not_counted() -> None:
    count = EpisodeQuota(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, MID, 1.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, MID, 1.0), (1, END, 9.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 1.0), (1, MID, 9.0)))
    assert count.scores.returns.tolist() == [3.0]


def test_rewards_do_not_leak_into_the_next_episode() -> None:
    count = EpisodeQuota(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 100.0), (0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 1.0), (0, FIRST, 0.0), num_slots=1))
    assert count.scores.returns.tolist() == [100.0, 1.0]


def test_an_episode_that_its_agent_left_is_no_part_of_the_next_agents() -> None:
    count = EpisodeQuota(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, MID, 100.0), num_slots=1))
    # The slot stands for a new agent in the batch that tells of the release.
    count.take_in(batch((0, FIRST, 0.0), num_slots=1, released=[0]))
    count.take_in(batch((0, END, 1.0), num_slots=1))
    assert count.is_complete
    assert count.scores.returns.tolist() == [1.0]
    assert count.scores.lengths.tolist() == [1]


def test_an_episode_without_an_end_is_no_part_of_the_same_agents_next() -> None:
    count = EpisodeQuota(episodes=1)
    for row in ((0, FIRST, 0.0), (0, MID, 100.0), (0, FIRST, 0.0), (0, END, 1.0)):
        count.take_in(batch(row, num_slots=1))
    assert count.scores.returns.tolist() == [1.0]
    assert count.scores.lengths.tolist() == [1]


def test_an_agent_that_leaves_after_each_episode_and_comes_back_is_counted_on() -> None:
    count = EpisodeQuota(episodes=3)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    for episode in range(3):
        assert not count.is_complete
        count.take_in(batch((0, END, float(episode)), num_slots=1))
        count.take_in(batch((0, FIRST, 0.0), num_slots=1, released=[0]))
    assert count.is_complete
    assert count.scores.returns.tolist() == [0.0, 1.0, 2.0]


def test_who_begins_next_takes_over_from_an_agent_that_left_and_not_who_has_its_share() -> None:
    # Two episodes each. Slot 1 leaves after one; slot 0 has many short ones, slot 2 is new.
    count = EpisodeQuota(episodes=4)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (1, END, 5.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), released=[1]))
    count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (2, FIRST, 0.0), num_slots=3))
    for _ in range(9):
        count.take_in(batch((0, END, 0.0), (0, FIRST, 0.0), (2, MID, 1.0), num_slots=3))
        assert not count.is_complete
    count.take_in(batch((2, END, 1.0), (2, FIRST, 0.0), num_slots=3))
    assert count.is_complete
    assert count.scores.returns.tolist() == [0.0, 5.0, 0.0, 10.0]


def test_what_nobody_takes_over_is_shared_among_those_who_are_there() -> None:
    # Six episodes of three agents, two each; slot 2 leaves before its first is over.
    count = EpisodeQuota(episodes=6)
    count.take_in(batch(*((slot, FIRST, 0.0) for slot in range(3)), num_slots=3))
    ends = [(slot, kind, float(slot)) for slot in (0, 1) for kind in (END, FIRST)]
    count.take_in(batch(*ends, (2, MID, 9.0), num_slots=3))
    count.take_in(batch(*ends, num_slots=3, released=[2]))
    was_complete = count.is_complete
    for _ in range(2):
        count.take_in(batch(*ends, num_slots=3))
    assert not was_complete
    assert count.is_complete
    assert sorted(count.scores.returns.tolist()) == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_agents_that_are_there_at_the_start_share_the_episodes_and_count_from_a_beginning() -> None:
    # Slot 0 has just begun; slot 1 is in the middle of an episode, which counts for nothing.
    count = EpisodeQuota(episodes=2)
    count.begin_with(np.array([0, 1]), batch((0, FIRST, 0.0), (1, MID, 50.0)))
    count.take_in(batch((0, END, 1.0), (0, FIRST, 0.0), (1, MID, 50.0)))
    count.take_in(batch((0, END, 9.0), (0, FIRST, 0.0), (1, END, 50.0), (1, FIRST, 0.0)))
    was_complete = count.is_complete
    count.take_in(batch((0, MID, 9.0), (1, END, 2.0), (1, FIRST, 0.0)))
    assert not was_complete
    assert count.is_complete
    assert count.scores.returns.tolist() == [1.0, 2.0]


def told_of(*owners: str) -> ToldSimulators:
    """New environment parameters; the agent of slot n is one of the simulator owners[n]."""
    return ToldSimulators(lambda slot: np.array(owners, np.object_)[slot])


def test_an_episode_that_began_before_its_simulator_knew_the_parameters_does_not_count() -> None:
    # Both agents are one simulator's. Slot 0 has just begun by the old parameters. Those of the
    # first batch may have, too: a simulator may have two Steps on their way.
    count = EpisodeQuota(episodes=2, told=told_of("near", "near"))
    count.begin_with(np.array([0, 1]), batch((0, FIRST, 0.0), (1, MID, 0.0)))
    count.take_in(batch((0, END, 50.0), (0, FIRST, 0.0), (1, END, 50.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 40.0), (0, FIRST, 0.0), (1, MID, 40.0)))
    count.take_in(batch((0, END, 1.0), (0, FIRST, 0.0), (1, END, 40.0), (1, FIRST, 0.0)))
    was_complete = count.is_complete
    count.take_in(batch((0, END, 9.0), (1, END, 2.0)))
    assert not was_complete
    assert count.is_complete
    assert count.scores.returns.tolist() == [1.0, 2.0]


def test_each_simulator_is_told_by_its_own_answers() -> None:
    count = EpisodeQuota(episodes=2, told=told_of("near", "far"))
    count.begin_with(np.array([0, 1]), None)
    for _ in range(2):
        count.take_in(batch((0, END, 50.0), (0, FIRST, 0.0)))
    # What the other sends now it may have done before.
    count.take_in(batch((0, END, 1.0), (1, END, 50.0), (1, FIRST, 0.0)))
    count.take_in(batch((1, END, 50.0), (1, FIRST, 0.0)))
    assert count.scores.returns.tolist() == []
    count.take_in(batch((0, FIRST, 0.0), (1, END, 50.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 1.0), (1, END, 2.0)))
    assert count.scores.returns.tolist() == [1.0, 2.0]


def test_agents_of_one_episode_each_count_once_their_simulator_knows() -> None:
    count = EpisodeQuota(episodes=1, told=told_of("spawner", "spawner"))
    count.begin_with(np.array([0]), batch((0, FIRST, 0.0)))
    count.take_in(batch((0, END, 50.0)))
    count.take_in(batch((1, FIRST, 0.0), released=[0]))
    count.take_in(batch((1, END, 2.0)))
    assert count.is_complete
    assert count.scores.returns.tolist() == [2.0]


def test_without_agents_at_the_start_those_of_the_first_batch_have_shares() -> None:
    count = EpisodeQuota(episodes=2)
    count.begin_with(np.zeros(0, np.int64), None)
    was_complete = count.is_complete
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 1.0), (1, END, 2.0)))
    assert not was_complete
    assert count.is_complete
    assert count.scores.returns.tolist() == [1.0, 2.0]


def test_an_episode_on_its_way_does_not_count_when_its_agent_is_given_a_share_of_what_is_left() -> (
    None
):
    # Slot 1 leaves when slot 0 is done and has already earned 7 in an episode nobody asked for.
    count = EpisodeQuota(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 1.0), (0, FIRST, 0.0), (1, MID, 0.0)))
    count.take_in(batch((0, MID, 7.0), released=[1]))
    for _ in range(3):
        count.take_in(batch((0, MID, 7.0)))
    count.take_in(batch((0, END, 7.0), (0, FIRST, 0.0)))
    was_complete = count.is_complete
    count.take_in(batch((0, END, 2.0)))
    assert not was_complete
    assert count.is_complete
    assert count.scores.returns.tolist() == [1.0, 2.0]


def test_if_all_leave_one_that_comes_later_does_all_that_is_owed() -> None:
    count = EpisodeQuota(episodes=4)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, FIRST, 0.0), released=[0, 1]))
    for _ in range(40):
        count.take_in(batch((0, END, 3.0), (0, FIRST, 0.0)))
        if count.is_complete:
            break
    assert count.scores.returns.tolist() == [3.0] * 4


def test_scores_say_mean_spread_extremes_and_number() -> None:
    text = str(
        Scores(
            np.array([1.0, 3.0]),
            np.array([10, 20]),
            np.array([END, END], np.uint8),
            no_names(np.arange(2)),
        )
    )
    assert text == ("return 2.00 +- 1.00 (least 1.00, most 3.00), length 15.0, over 2 episodes")


def test_small_returns_are_not_rounded_to_zero_and_equal_ones_have_no_spread() -> None:
    def text(*returns: float) -> str:
        lengths, endings = np.ones(len(returns), np.int64), np.zeros(len(returns), np.uint8)
        return Scores(np.array(returns), lengths, endings, no_names(lengths)).return_text

    assert text(1e-9, 3e-9) == "return 2e-09 +- 1e-09"
    # Their mean is 0.1 + 1.4e-17, so numpy's standard deviation is not zero.
    assert text(0.1, 0.1, 0.1) == "return 0.10 +- 0.00"


def test_a_count_that_has_seen_nothing_is_not_complete() -> None:
    assert not EpisodeQuota(episodes=1).is_complete
    assert len(EpisodeQuota(episodes=1).scores.returns) == 0


@pytest.mark.parametrize("num_slots", [1, 7, 64])
def test_every_agent_has_its_share_whatever_their_number(num_slots: int) -> None:
    count = EpisodeQuota(episodes=20)
    first = [(slot, FIRST, 0.0) for slot in range(num_slots)]
    ends = [(slot, kind, 1.0) for slot in range(num_slots) for kind in (END, FIRST)]
    count.take_in(batch(*first, num_slots=num_slots))
    while not count.is_complete:
        count.take_in(batch(*ends, num_slots=num_slots))
    assert len(count.scores.returns) == num_slots * -(-20 // num_slots)


def test_what_unfinished_episodes_earned_so_far_is_told_and_with_whom() -> None:
    count = EpisodeQuota(
        episodes=2, simulators_of=lambda slot: np.array([f"sim-{it}" for it in slot], np.object_)
    )
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, StepType.TRUNCATED, 4.0), (1, MID, 1.0)))
    count.take_in(batch((1, MID, 2.0)))
    assert (count.num_ended, count.num_owed, count.env_steps) == (1, 1, 3)
    assert count.scores.simulators.tolist() == ["sim-0"]
    assert count.scores.endings.tolist() == [StepType.TRUNCATED]
    assert count.unfinished.returns.tolist() == [3.0]
    assert count.unfinished.lengths.tolist() == [2]
    assert count.unfinished.simulators.tolist() == ["sim-1"]
    assert count.unfinished.reward_per_step == 1.5


def test_an_episode_that_ended_is_not_unfinished_as_well() -> None:
    count = EpisodeQuota(episodes=1)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 4.0), num_slots=1))
    assert len(count.unfinished) == 0


def test_at_its_limit_of_steps_it_is_over_and_counts_no_more() -> None:
    count = EpisodeQuota(episodes=1, max_steps=3)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    for _ in range(3):
        assert not count.is_complete
        count.take_in(batch((0, MID, 1.0), num_slots=1))
    assert count.is_complete
    assert count.is_at_limit
    count.take_in(batch((0, END, 1.0), num_slots=1))
    assert (count.env_steps, count.num_ended) == (3, 0)
    assert count.unfinished.returns.tolist() == [3.0]


def half_done() -> EvaluationResult:
    """One episode of slot 0 has ended with 4, one of slot 1 has 2 after a step."""
    count = EpisodeQuota(episodes=2)
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 4.0), (1, MID, 2.0)))
    result = PolicyResult(
        ended=count.scores, unfinished=count.unfinished, env_steps=2, statistics={"coins": 3.25}
    )
    return EvaluationResult(reason="max_seconds", seconds=4.0, policies={"ball": result})


def test_people_are_told_what_ended_what_did_not_and_why_it_is_over() -> None:
    assert list(half_done().lines()) == [
        "ball: return 4.00 +- 0.00 (least 4.00, most 4.00), length 1.0, over 1 episode",
        "ball: 1 unfinished episode: return 2.00 +- 0.00 so far, length 1.0, reward 2 per step",
        "ball: coins 3.25",
        "not complete: the limit on time was reached (--max-seconds), after 0:04",
    ]


def test_programs_are_told_the_same_as_json_and_null_where_there_is_no_number() -> None:
    told = json.loads(json.dumps(half_done().for_programs(), allow_nan=False))
    assert told["reason"] == "max_seconds"
    ball = told["policies"]["ball"]
    assert (ball["episodes"], ball["return_mean"], ball["env_steps_per_second"]) == (1, 4.0, 0.5)
    assert ball["unfinished"]["return_mean"] == 2.0
    assert ball["unfinished"]["reward_per_step"] == 2.0
    assert ball["statistics"] == {"coins": 3.25}
    empty = EpisodeQuota(episodes=2)
    result = PolicyResult(
        ended=empty.scores, unfinished=empty.unfinished, env_steps=0, statistics={}
    )
    nothing = EvaluationResult(reason="stopped", seconds=0.0, policies={"ball": result})
    told = json.loads(json.dumps(nothing.for_programs(), allow_nan=False))
    assert told["policies"]["ball"]["return_mean"] is None
    assert list(nothing.lines()) == [
        "ball: no episode ended",
        "not complete: stopped on request, after 0:00",
    ]


def test_the_table_has_a_row_for_each_episode_and_the_unfinished_ones_last() -> None:
    assert half_done().table().splitlines() == [
        "policy,episode,return,length,ending,simulator",
        "ball,1,4.0,1,terminated,",
        "ball,2,2.0,1,unfinished,",
    ]


def test_progress_tells_episodes_rate_and_since_when_none_has_ended() -> None:
    count = EpisodeQuota(episodes=2)
    progress = EvaluationProgress({"ball": count}, now_s=0.0)
    assert "none of its agents has acted" in progress.lines(5.0)[0]
    count.take_in(batch((0, FIRST, 0.0), (1, FIRST, 0.0)))
    count.take_in(batch((0, END, 4.0), (1, MID, 2.0)))
    progress.look(now_s=6.0)
    assert progress.idle_s(16.0) == 10.0
    # Two steps in ten seconds.
    assert progress.lines(15.0) == [
        "ball: 1 of 2 episodes ended; 2 steps, 0 steps/s; 1 unfinished episode: return 2.00 +- "
        "0.00 so far, length 1.0, reward 2 per step; none has ended for 0:09"
    ]
    assert "simulators have sent no step since the line before" in progress.lines(20.0)[0]


def test_progress_without_an_end_tells_no_number_of_episodes_to_come() -> None:
    count = EpisodeQuota(episodes=ENDLESS)
    progress = EvaluationProgress({"ball": count}, now_s=0.0)
    count.take_in(batch((0, FIRST, 0.0), num_slots=1))
    count.take_in(batch((0, END, 4.0), num_slots=1))
    assert progress.lines(1.0)[0].startswith("ball: 1 episode ended; 1 step, ")


@pytest.mark.parametrize(("max_steps", "allowed"), [(None, 216_000), (7, 7)])
def test_without_a_limit_each_episode_may_be_as_long_as_an_atari_game(
    max_steps: int | None, allowed: int
) -> None:
    assert EvaluationOptions(episodes=2, max_steps=max_steps).steps_allowed == allowed
