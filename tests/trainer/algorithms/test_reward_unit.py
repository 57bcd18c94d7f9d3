"""Which rollouts have rewards in two units after the options that scale rewards have changed."""

import pytest

from entrain.algorithms.reward_unit import RewardUnit
from entrain.config.policy import PolicyConfig


class Statistics:
    """Counts how often the statistics of the returns were forgotten."""

    def __init__(self) -> None:
        self.forgotten = 0
        self.multiplied: list[tuple[int, float]] = []

    def forget(self) -> None:
        self.forgotten += 1

    def multiply(self, stream: int, factor: float) -> None:
        self.multiplied.append((stream, factor))


@pytest.mark.parametrize("policy_lag", [0, 1])
def test_after_a_change_of_the_unit_statistics_are_forgotten_until_no_rollout_is_mixed(
    policy_lag: int,
) -> None:
    statistics = Statistics()
    before = RewardUnit(PolicyConfig(reward_scale=1.0), statistics)
    later = PolicyConfig(reward_scale=2.0, normalize_rewards=True, policy_lag=policy_lag)
    unit = RewardUnit(later, statistics)
    unit.load_state(before.state())
    # By what the division comes to, nothing that waits can be multiplied.
    assert unit.ratio == 1.0
    assert not statistics.multiplied
    assert statistics.forgotten == 1
    for _ in range(4):
        unit.forget_mixed()
        unit.note_update()
    # Once for each rollout that may hold rewards of before, and then no more.
    assert statistics.forgotten == 1 + 1 + policy_lag


@pytest.mark.parametrize(("now", "ratio"), [(2.0, 0.25), (0.0, 0.0)])
def test_another_scale_alone_multiplies_what_is_known(now: float, ratio: float) -> None:
    statistics = Statistics()
    unit = RewardUnit(PolicyConfig(reward_scale=now), statistics)
    unit.load_state(RewardUnit(PolicyConfig(reward_scale=8.0), statistics).state())
    assert (unit.ratio, statistics.multiplied) == (ratio, [(0, ratio)])
    unit.forget_mixed()
    assert statistics.forgotten == 0
    unit.load_state(unit.state())
    assert (unit.ratio, len(statistics.multiplied)) == (1.0, 1)


def test_the_number_of_mixed_rollouts_is_kept_and_an_older_checkpoint_has_none() -> None:
    statistics = Statistics()
    options = PolicyConfig(policy_lag=1)
    RewardUnit(options, statistics).load_state({})
    assert statistics.forgotten == 0
    changed = RewardUnit(options, statistics)
    changed.load_state({"reward_scale": 0.0})
    resumed = RewardUnit(options, statistics)
    resumed.load_state(changed.state())
    assert resumed.state() == changed.state()
    assert resumed.state()["num_mixed"] == 2
