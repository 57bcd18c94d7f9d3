"""Returns and lengths of episodes: who ends, who is forgotten, and that a take empties the log."""

import numpy as np
import pytest

from entrain.errors import CheckpointError
from entrain.rollout.episodes import EpisodeLog, episode_metrics
from entrain_envs.timestep import StepType

MID, TERMINATED, TRUNCATED = StepType.MID, StepType.TERMINATED, StepType.TRUNCATED


def log_of(num_slots: int) -> EpisodeLog:
    log = EpisodeLog()
    log.grow(num_slots)
    return log


def record(log: EpisodeLog, *rows: tuple[int, StepType, float]) -> None:
    slot, step_type, reward = zip(*rows, strict=True)
    log.record(
        np.array(slot, np.int64), np.array(step_type, np.uint8), np.array(reward, np.float32)
    )


def taken(log: EpisodeLog) -> list[tuple[float, int]]:
    returns, lengths = log.take()
    assert returns.dtype == np.float64
    assert lengths.dtype == np.int64
    return list(zip(returns.tolist(), lengths.tolist(), strict=True))


def test_an_episode_earns_the_sum_of_its_rewards_in_as_many_steps() -> None:
    log = log_of(2)
    log.begin(np.array([0, 1]))
    record(log, (0, MID, 1.0), (1, MID, 10.0))
    record(log, (1, TRUNCATED, 20.0), (0, MID, 2.0))
    assert taken(log) == [(30.0, 2)]
    record(log, (0, TERMINATED, 4.0))
    assert taken(log) == [(7.0, 3)]


def test_what_was_taken_is_not_given_twice() -> None:
    log = log_of(1)
    log.begin(np.array([0]))
    record(log, (0, TERMINATED, 1.0))
    assert taken(log) == [(1.0, 1)]
    assert taken(log) == []


def test_the_next_episode_of_a_slot_begins_at_zero() -> None:
    log = log_of(1)
    for reward in (5.0, 7.0):
        log.begin(np.array([0]))
        record(log, (0, TERMINATED, reward))
    assert taken(log) == [(5.0, 1), (7.0, 1)]


def test_an_episode_without_an_end_is_forgotten_when_the_next_one_of_its_slot_begins() -> None:
    log = log_of(1)
    log.begin(np.array([0]))
    record(log, (0, MID, 100.0))
    assert taken(log) == []
    log.begin(np.array([0]))
    record(log, (0, TERMINATED, 1.0))
    assert taken(log) == [(1.0, 1)]


def test_small_rewards_are_not_lost_beside_large_ones() -> None:
    # float32 could not hold 2^24 + 1.
    log = log_of(1)
    log.begin(np.array([0]))
    record(log, (0, MID, 2.0**24))
    record(log, (0, TERMINATED, 1.0))
    assert taken(log) == [(2.0**24 + 1, 2)]


def test_a_log_that_was_stopped_goes_on_as_if_it_was_not() -> None:
    log, other = log_of(2), EpisodeLog()
    log.begin(np.array([0, 1]))
    record(log, (0, TERMINATED, 1.0), (1, MID, 2.0))
    other.load_state(log.state())
    for each in (log, other):
        each.grow(3)
        each.begin(np.array([2]))
        record(each, (2, TRUNCATED, 8.0), (1, TRUNCATED, 4.0))
        assert taken(each) == [(1.0, 1), (8.0, 1), (6.0, 2)]


def test_a_state_whose_arrays_disagree_is_refused() -> None:
    log = log_of(2)
    with pytest.raises(CheckpointError, match=r"length is int64\[1\], this run needs int64"):
        log.load_state({**log.state(), "length": np.zeros(1, np.int64)})


def test_without_finished_episodes_there_is_no_return_to_report() -> None:
    assert episode_metrics(np.zeros(0), np.zeros(0, np.int64)) == {"rollout/episodes": 0.0}


def test_finished_episodes_are_reported_by_hand() -> None:
    assert episode_metrics(np.array([1.0, 5.0]), np.array([10, 40])) == {
        "rollout/episodes": 2.0,
        "rollout/episode_return_mean": 3.0,
        "rollout/episode_return_std": 2.0,
        "rollout/episode_return_min": 1.0,
        "rollout/episode_return_max": 5.0,
        "rollout/episode_length_mean": 25.0,
    }
