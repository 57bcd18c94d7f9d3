"""What a run says of a policy at its end."""

import math

import numpy as np

from entrain.app.reporting import returns_text
from entrain.rollout.return_statistics import ReturnStatistics


def test_the_end_tells_the_last_hundred_episodes_the_first_and_the_best() -> None:
    statistics = ReturnStatistics()
    statistics.add(np.arange(1.0, 151.0))
    # 51 to 150, and 1 to 100.
    assert returns_text(statistics, reward_per_step=0.5) == (
        "return 100.5 over the last 100 episodes (at first 50.5, best episode 150.0)"
    )


def test_of_few_episodes_there_is_no_beginning_to_compare_with() -> None:
    statistics = ReturnStatistics()
    statistics.add(np.array([1.0, 3.0]))
    told = returns_text(statistics, reward_per_step=0.5)
    assert told == "return 2.0 over 2 episodes (best episode 3.0)"


def test_without_ends_the_reward_per_step_is_told_if_it_is_known() -> None:
    assert returns_text(ReturnStatistics(), reward_per_step=0.5) == (
        "no episode has ended, so there is no return; reward 0.5 per step at the end"
    )
    assert returns_text(ReturnStatistics(), reward_per_step=math.nan) == "no episode has ended"
