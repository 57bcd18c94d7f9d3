"""Scaled rewards: the statistics by hand, against Gymnasium's, and what must not leak."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers.utils import RunningMeanStd
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.rollout.reward_scaling import RawRewards, RewardScaler


def rewards(*numbers: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(numbers, np.float32)


def slots(*numbers: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


def scaler_of(num_slots: int, *, discount: float = 0.5, clip: float = 1e9) -> RewardScaler:
    scaler = RewardScaler(discount=discount, clip=clip)
    scaler.grow(num_slots)
    return scaler


def test_the_divisor_after_two_steps_by_hand() -> None:
    scaler = scaler_of(1)
    scaler.scale(slots(0), rewards(4.0))
    scaler.scale(slots(0), rewards(2.0))
    # The discounted sums are 4, then 0.5 * 4 + 2 = 4; before them stand 1e-4 observations of mean 0
    # and variance 1. With n = 2 + 1e-4:
    #   mean     = 2 * 4 / n
    #   variance = (1e-4 * (1 + 0^2) + 2 * 4^2) / n - mean^2
    n = 2 + 1e-4
    variance = (1e-4 + 32) / n - (8 / n) ** 2
    assert scaler.divisor == pytest.approx(math.sqrt(variance + 1e-8), rel=1e-6)


EVENTS = ("goes on", "ends", "waits")


@settings(max_examples=60, deadline=None)
@given(
    story=st.lists(
        st.lists(
            st.tuples(
                st.floats(-100, 100, width=32), st.sampled_from(["goes on", "ends", "waits"])
            ),
            min_size=4,
            max_size=4,
        ),
        min_size=1,
        max_size=20,
    )
)
def test_scaling_is_gymnasiums_with_sums_that_begin_at_zero_in_each_episode(
    story: list[list[tuple[float, str]]],
) -> None:
    statistics: Any = RunningMeanStd(shape=())  # type: ignore[no-untyped-call]
    scaler, sums = scaler_of(4, discount=0.9), [0.0] * 4
    for batch in story:
        taking_part = [slot for slot, (_, event) in enumerate(batch) if event != "waits"]
        reward = [batch[slot][0] for slot in taking_part]
        for slot in taking_part:
            sums[slot] = 0.9 * sums[slot] + batch[slot][0]
        if taking_part:
            statistics.update(np.array([sums[slot] for slot in taking_part]))
        scaled = scaler.scale(slots(*taking_part), rewards(*reward))
        expected = np.array(reward) / math.sqrt(statistics.var + 1e-8)
        np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-6)
        ended = [slot for slot, (_, event) in enumerate(batch) if event == "ends"]
        scaler.begin(slots(*ended))
        for slot in ended:
            sums[slot] = 0.0


def test_scale_does_not_depend_on_the_unit_of_the_reward() -> None:
    def last(unit: float) -> float:
        scaler = scaler_of(8, discount=0.9)
        rng = np.random.default_rng(0)
        for _ in range(200):
            reward = (unit * rng.normal(size=8)).astype(np.float32)
            scaled = scaler.scale(np.arange(8), reward)
        return float(scaled[0])

    assert last(1000.0) == pytest.approx(last(1.0), rel=1e-3)


def test_rewards_keep_their_sign_and_are_clipped_on_both_sides() -> None:
    scaler = scaler_of(3, clip=0.5)
    scaled = scaler.scale(slots(0, 1, 2), rewards(100.0, -100.0, 0.0))
    assert scaled.tolist() == [0.5, -0.5, 0.0]
    assert scaled.dtype == np.float32


def test_the_rewards_given_are_not_changed() -> None:
    reward = rewards(100.0, -100.0)
    scaler_of(2).scale(slots(0, 1), reward)
    assert reward.tolist() == [100.0, -100.0]


def test_a_slots_next_episode_knows_nothing_of_its_last() -> None:
    def divisor(last_reward: float) -> float:
        scaler = scaler_of(2, discount=1.0)
        before = scaler_of(2, discount=1.0)
        scaler.scale(slots(0), rewards(last_reward))
        scaler.begin(slots(0))
        state = {**before.state(), "sum": scaler.state()["sum"]}
        before.load_state(state)
        before.scale(slots(0, 1), rewards(1.0, 3.0))
        return before.divisor

    assert divisor(0.0) == divisor(1e6)


def test_no_reward_changes_no_statistics() -> None:
    scaler = scaler_of(2)
    before = scaler.state()
    assert len(scaler.scale(slots(), rewards())) == 0
    np.testing.assert_equal(scaler.state(), before)


def test_rewards_that_are_always_zero_stay_zero() -> None:
    scaler = scaler_of(1)
    for _ in range(1000):
        assert scaler.scale(slots(0), rewards(0.0)).tolist() == [0.0]


def test_a_scaler_that_was_stopped_goes_on_as_if_it_was_not() -> None:
    one, other = scaler_of(2), RewardScaler(discount=0.5, clip=1e9)
    one.scale(slots(0, 1), rewards(3.0, -1.0))
    other.load_state(one.state())
    for scaler in (one, other):
        scaler.grow(3)
    reward = rewards(2.0, 5.0, 1.0)
    np.testing.assert_array_equal(
        one.scale(slots(2, 0, 1), reward), other.scale(slots(2, 0, 1), reward)
    )
    np.testing.assert_equal(one.state(), other.state())


def test_raw_rewards_are_passed_through_and_have_no_state() -> None:
    raw = RawRewards()
    raw.grow(5)
    raw.begin(slots(0))
    reward = rewards(1e9, -3.0)
    assert raw.scale(slots(0, 1), reward) is reward
    assert raw.state() == {}
    raw.load_state({})
    with pytest.raises(CheckpointError, match="normalize_rewards: true"):
        raw.load_state(scaler_of(1).state())
    with pytest.raises(CheckpointError, match="normalize_rewards: false"):
        scaler_of(1).load_state(raw.state())
