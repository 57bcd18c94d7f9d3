"""What a run says of a policy at its end."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest

from entrain.app.reporting import Reporting, returns_text
from entrain.config.run import RunConfig
from entrain.rollout.curricula import Curricula
from entrain.rollout.return_statistics import ReturnStatistics
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from support.world import World


@pytest.mark.parametrize(
    ("seconds", "told"), [(2.4, "0:02"), (75.0, "1:15"), (3.0 * 3600 + 131.0, "3:02:11")]
)
def test_the_end_tells_how_long_the_run_took(
    seconds: float, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporting = Reporting(
        RunConfig(),
        RunFolder.create(tmp_path, "run"),
        LogDisplay(),
        World().participants,
        Curricula({}, lambda _values, _is_new: None),
    )
    with caplog.at_level(logging.INFO), reporting:
        reporting.conclude("completed", {}, env_steps=120_000, seconds=seconds)
    assert caplog.messages == [f"completed after 120,000 env steps in {told}"]


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
