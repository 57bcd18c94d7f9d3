"""What a rank's steps, rewards and episodes are among those of all, by hand."""

import math

import numpy as np
import pytest

from entrain.metrics import (
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_STD,
    EPISODES,
    REWARD_PER_STEP,
)
from entrain.rank_part import RankPart, combined, episodes_of_all
from entrain.rollout.episodes import episode_metrics
from entrain.rounds import NO_NUMBERS, Agreement, Moments, Share


class FakeCollector:
    """Counts, and remembers moments."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.env_steps = 0
        self.reward_moments: Moments = NO_NUMBERS

    @property
    def is_complete(self) -> bool:
        return self.env_steps >= self.total_steps

    def add_reward_moments(self, moments: Moments) -> None:
        self.reward_moments = combined(self.reward_moments, moments)


def moments_of(*numbers: float) -> Moments:
    return (float(len(numbers)), float(np.mean(numbers)), float(np.var(numbers)))


def test_each_rank_has_its_part_of_what_is_left_however_fast_it_is() -> None:
    collector = FakeCollector(total_steps=500)
    part = RankPart(collector, rank=0, num_ranks=2, total_steps=1000)
    # 300 of this rank and 100 of the other one: 600 are left, half of them for each.
    collector.env_steps = 300
    part.apply(Agreement([Share(env_steps=300), Share(env_steps=100)]))
    assert part.others == 100
    assert collector.total_steps == 300 + 300


def test_what_is_left_is_for_those_who_still_collect() -> None:
    collector = FakeCollector(total_steps=500)
    part = RankPart(collector, rank=0, num_ranks=2, total_steps=1000)
    collector.env_steps = 300
    part.apply(Agreement([Share(env_steps=300), Share(env_steps=500, is_complete=True)]))
    assert collector.total_steps == 300 + 200


def test_rewards_of_all_ranks_decide_once_each() -> None:
    collectors = [FakeCollector(100), FakeCollector(100)]
    parts = [
        RankPart(it, rank=rank, num_ranks=2, total_steps=200) for rank, it in enumerate(collectors)
    ]
    numbers = [[1.0, 2.0, 4.0], [10.0, 3.0]]
    for rank, it in enumerate(collectors):
        it.reward_moments = moments_of(*numbers[rank])
    first = Agreement([part.share(num_steps=1, episodes={}) for part in parts])
    # Meanwhile the first rank earns more, which belongs to the next round.
    collectors[0].add_reward_moments(moments_of(7.0))
    for part in parts:
        part.apply(first)
    second = Agreement([part.share(num_steps=1, episodes={}) for part in parts])
    assert second.shares[0].rewards == pytest.approx(moments_of(7.0))
    assert second.shares[1].rewards == NO_NUMBERS
    for part in parts:
        part.apply(second)
    for it in collectors:
        assert it.reward_moments == pytest.approx(moments_of(1.0, 2.0, 4.0, 7.0, 10.0, 3.0))


def test_more_total_steps_on_resume_are_divided_over_the_ranks() -> None:
    collector = FakeCollector(total_steps=500)
    part = RankPart(collector, rank=0, num_ranks=2, total_steps=1000)
    state = part.state()
    resumed = RankPart(collector, rank=0, num_ranks=2, total_steps=1600)
    resumed.load_state(state)
    assert collector.total_steps == 500 + 300


def test_episodes_of_all_ranks_are_measured_as_if_one_had_seen_them() -> None:
    returns = [np.array([1.0, 5.0, 3.0]), np.array([10.0])]
    lengths = [np.array([2, 2, 5]), np.array([7])]
    shares = [
        Share(
            env_steps=0,
            num_steps=steps,
            episodes={**episode_metrics(returns[rank], lengths[rank]), REWARD_PER_STEP.name: each},
        )
        for rank, (steps, each) in enumerate([(30, 1.0), (10, 2.0)])
    ]
    shares.append(Share(env_steps=0, episodes={EPISODES.name: 0.0}))
    found = episodes_of_all(shares)
    expected = episode_metrics(np.concatenate(returns), np.concatenate(lengths))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name
    assert found[EPISODES.name] == 4
    assert found[EPISODE_RETURN_MAX.name] == 10.0
    assert found[EPISODE_RETURN_MEAN.name] == 4.75
    assert math.isclose(found[EPISODE_RETURN_STD.name], float(np.concatenate(returns).std()))
    # (30 * 1 + 10 * 2) / 40
    assert found[REWARD_PER_STEP.name] == 1.25
