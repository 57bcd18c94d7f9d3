"""Returns and lengths of episodes: who ends, who is forgotten, and that a take empties the log."""

import sys

import numpy as np
import pytest

from entrain.errors import CheckpointError
from entrain.rollout.episodes import ClosedEpisodes, EpisodeLog, Names, episode_metrics
from entrain.rollout.return_statistics import ReturnStatistics
from entrain_envs.timestep import Int64Array, StepType

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


class Watcher:
    """Remembers what it is told; each slot's simulator is called after it."""

    due = sys.maxsize

    def __init__(self) -> None:
        self.noted: list[ClosedEpisodes] = []
        self.has_reports = False
        self.coins = 0
        """What simulators reported last."""

    def reach(self, env_steps: int) -> None:
        raise AssertionError(env_steps)

    def simulators_of(self, slot: Int64Array) -> Names:
        return np.array([f"sim-{it}" for it in slot], np.object_)

    def reported_by(self, slot: Int64Array) -> Names:
        return np.array([f"sim-{it}: {self.coins}" for it in slot], np.object_)

    def note(self, episodes: ClosedEpisodes) -> None:
        self.noted.append(episodes)

    @property
    def rows(self) -> list[tuple[int, float, int, StepType, str, int]]:
        return [
            (it.first_number + n, return_, length, StepType(ending), simulator, it.env_steps)
            for it in self.noted
            for n, (return_, length, ending, simulator) in enumerate(
                zip(
                    it.returns.tolist(),
                    it.lengths.tolist(),
                    it.endings.tolist(),
                    it.simulators.tolist(),
                    strict=True,
                )
            )
        ]


def test_each_episode_that_is_over_is_told_with_its_number_and_how_it_ended() -> None:
    log, watcher = log_of(3), Watcher()
    log.watch(watcher)
    log.begin(np.array([0, 1, 2]))
    record(log, (0, TERMINATED, 1.0), (1, TRUNCATED, 2.0), (2, MID, 4.0))
    record(log, (2, MID, 8.0))
    log.release(np.array([0, 1, 2]))
    log.begin(np.array([2]))
    # An agent that leaves without a step has not lived through an episode.
    log.release(np.array([2]))
    assert watcher.rows == [
        (1, 1.0, 1, TERMINATED, "sim-0", 3),
        (2, 2.0, 1, TRUNCATED, "sim-1", 3),
        (3, 12.0, 2, MID, "sim-2", 4),
    ]
    assert (log.num_closed, log.statistics.count) == (3, 2)


def test_an_episode_has_what_was_reported_when_its_end_came_however_late_it_is_recorded() -> None:
    log, watcher = log_of(3), Watcher()
    log.watch(watcher)
    log.begin(np.array([0, 1, 2]))
    record(log, (0, TERMINATED, 0.0))
    watcher.has_reports = True
    log.begin(np.array([0]))
    ends = (np.array([0, 1, 2]), np.array([TERMINATED, MID, TRUNCATED], np.uint8))
    log.expect(*ends)
    watcher.coins = 5
    log.record(*ends, np.zeros(3, np.float32))
    log.expect(np.array([1]), np.array([MID], np.uint8))
    record(log, (1, MID, 0.0))
    log.release(np.array([1]))
    assert [it.reported.tolist() for it in watcher.noted] == [[""], ["sim-0: 0", "sim-2: 0"], [""]]


def test_a_log_that_was_stopped_still_knows_whose_episodes_run() -> None:
    log, other, watcher = log_of(2), EpisodeLog(), Watcher()
    log.watch(watcher)
    other.watch(watcher)
    log.begin(np.array([0, 1]))
    record(log, (0, MID, 1.0), (1, TERMINATED, 1.0))
    other.load_state(log.state())
    record(other, (0, TERMINATED, 1.0))
    assert watcher.rows[-1] == (2, 2.0, 2, TERMINATED, "sim-0", 3)
    assert other.longest_running == 0


def test_the_last_hundred_returns_the_first_and_the_best_are_known() -> None:
    statistics, other = ReturnStatistics(), ReturnStatistics()
    assert np.isnan(statistics.last_mean)
    statistics.add(np.arange(1.0, 31.0))
    other.load_state(statistics.state())
    for each in (statistics, other):
        for first in (31.0, 131.0):
            each.add(np.arange(first, first + 100.0))
        # 1 to 100, and 131 to 230.
        assert (each.count, each.best) == (230, 230.0)
        assert (each.first_mean, each.last_mean) == (50.5, 180.5)


def test_reward_per_step_counts_every_step_once_also_of_episodes_that_never_end() -> None:
    log, other = log_of(2), EpisodeLog()
    log.begin(np.array([0, 1]))
    record(log, (0, MID, 1.0), (1, MID, 3.0))
    assert log.measure()["rollout/reward_per_step"] == 2.0
    assert (log.num_running, log.longest_running) == (2, 1)
    record(log, (0, MID, 5.0), (1, TERMINATED, 6.0))
    log.release(np.array([0]))
    log.begin(np.array([0]))
    record(log, (0, MID, 10.0))
    other.load_state(log.state())
    for each in (log, other):
        metrics = each.measure()
        # Three steps earned 21, though one of the episodes was dropped.
        assert metrics["rollout/reward_per_step"] == 7.0
        assert metrics["rollout/episode_return_last_100"] == 9.0
        assert "rollout/reward_per_step" not in each.measure()


def test_a_policy_that_another_program_trained_counts_on_from_its_steps() -> None:
    log, watcher = log_of(1), Watcher()
    log.watch(watcher)
    log.begin_at(1000)
    log.begin(np.array([0]))
    record(log, (0, TERMINATED, 5.0))
    assert watcher.rows == [(1, 5.0, 1, TERMINATED, "sim-0", 1001)]
    # Of one step, not of a thousand.
    assert log.measure()["rollout/reward_per_step"] == 5.0
