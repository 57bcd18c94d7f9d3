"""The most that any policy reaches on CartPole where late answers repeat the last push."""

import gymnasium
import numpy as np
import pytest
from benchmarks.late_cart_pole import longest_mean_episode, pushed


def test_a_push_moves_the_pole_as_in_gymnasium() -> None:
    environment = gymnasium.make("CartPole-v1")
    state, _ = environment.reset(seed=3)
    for push in (0, 1, 1, 1, 0, 0):
        angle, speed = (np.asarray([each], np.float64) for each in state[2:])
        state, *_ = environment.step(push)
        np.testing.assert_allclose(np.concatenate(pushed(angle, speed, push)), state[2:], 1e-5)


def test_with_every_answer_in_time_the_pole_stays_up() -> None:
    assert longest_mean_episode(0.0, cells=51) == pytest.approx(500.0)


def test_with_every_answer_late_all_pushes_are_to_the_left() -> None:
    environment = gymnasium.make("CartPole-v1")
    lengths = []
    for seed in range(200):
        environment.reset(seed=seed)
        lengths.append(next(n for n in range(1, 501) if environment.step(0)[2]))
    # Lengths are 8 to 10: the mean of 200 is known to about 0.05.
    assert longest_mean_episode(1.0, cells=61) == pytest.approx(np.mean(lengths), abs=0.2)


def test_with_three_in_ten_late_nobody_reaches_475() -> None:
    # 433.6 and 437.6 with twice and four times as many cells.
    assert 425.0 < longest_mean_episode(0.3, cells=101) < 440.0
