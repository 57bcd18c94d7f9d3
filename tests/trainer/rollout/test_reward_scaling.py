"""Scaled rewards: the statistics by hand, against Gymnasium's, and what must not leak."""

import math
from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers.utils import RunningMeanStd
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.rollout.reward_scaling import RawRewards, RewardScaler


def rewards(*numbers: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(numbers, np.float32)


def slots(*numbers: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(numbers, np.int64)


def scaler_of(num_slots: int, *, discount: float = 0.5, clip: float = 1e9) -> RewardScaler:
    scaler = RewardScaler(discount=discount, clip=clip)
    scaler.grow(num_slots)
    return scaler


def test_the_divisor_after_each_of_three_steps_by_hand() -> None:
    scaler = scaler_of(1)
    # The discounted sums are 4, then 0.5 * 4 + 2 = 4, then 0.5 * 4 + 5 = 7. One number has no
    # spread, so its size stands for it: sqrt(0 + 4^2 / 1).
    scaler.scale(slots(0), rewards(4.0))
    assert scaler.divisor == pytest.approx(4.0)
    scaler.scale(slots(0), rewards(2.0))
    assert scaler.divisor == pytest.approx(math.sqrt(0.0 + 16.0 / 2))
    scaler.scale(slots(0), rewards(5.0))
    # Mean 5 and variance (1 + 1 + 4) / 3 of 4, 4, 7.
    assert scaler.divisor == pytest.approx(math.sqrt(2.0 + 25.0 / 3))


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
def test_scaling_is_by_the_spread_of_sums_that_begin_at_zero_in_each_episode(
    story: list[list[tuple[float, str]]],
) -> None:
    seen: list[float] = []
    scaler, sums = scaler_of(4, discount=0.9), [0.0] * 4
    for batch in story:
        taking_part = [slot for slot, (_, event) in enumerate(batch) if event != "waits"]
        reward = [batch[slot][0] for slot in taking_part]
        for slot in taking_part:
            sums[slot] = 0.9 * sums[slot] + batch[slot][0]
        seen += [sums[slot] for slot in taking_part]
        scaled = scaler.scale(slots(*taking_part), rewards(*reward))
        divisor = math.sqrt(np.var(seen) + np.mean(seen) ** 2 / len(seen)) if seen else 1.0
        expected = np.array(reward) / (divisor or 1.0)
        np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-6)
        ended = [slot for slot, (_, event) in enumerate(batch) if event == "ends"]
        scaler.begin(slots(*ended))
        for slot in ended:
            sums[slot] = 0.0


def test_after_many_rewards_it_is_gymnasiums() -> None:
    statistics: Any = RunningMeanStd(shape=())  # type: ignore[no-untyped-call]
    scaler, rng = scaler_of(8, discount=0.9), np.random.default_rng(0)
    sums = np.zeros(8)
    for _ in range(2000):
        reward = rng.normal(0.5, 1.0, 8).astype(np.float32)
        scaler.scale(np.arange(8), reward)
        sums = 0.9 * sums + reward
        statistics.update(sums)
    assert scaler.divisor == pytest.approx(math.sqrt(statistics.var + 1e-8), rel=1e-3)


@pytest.mark.parametrize("unit", [1e-38, 1e-30, 1e-12, 1e-6, 1e6, 1e12, 1e30])
def test_no_scaled_reward_depends_on_the_unit_of_rewards(unit: float) -> None:
    def scaled(unit: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        scaler = scaler_of(8, discount=0.9, clip=10.0)
        rng = np.random.default_rng(0)
        return np.stack(
            [
                scaler.scale(np.arange(8), (unit * rng.normal(size=8)).astype(np.float32))
                for _ in range(50)
            ]
        )

    tolerance = 1e-5 if unit > 1e-37 else 1e-3  # float32 holds fewer digits there
    np.testing.assert_allclose(scaled(unit), scaled(1.0), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_the_first_reward_of_a_run_is_one_and_zeros_before_it_are_zeros(unit: float) -> None:
    scaler = scaler_of(1)
    assert scaler.scale(slots(0), rewards(unit)).tolist() == [1.0]
    scaler = scaler_of(2)
    for _ in range(3):
        assert scaler.scale(slots(0, 1), rewards(0.0, 0.0)).tolist() == [0.0, 0.0]
    # Of 8 numbers one is u: mean u/8, variance 7/64 u^2; 7/64 + 1/512 = 57/512.
    found = scaler.scale(slots(0, 1), rewards(unit, 0.0))
    np.testing.assert_allclose(found, [math.sqrt(512 / 57), 0.0], rtol=1e-6)


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


def test_a_run_may_begin_to_scale_or_stop_when_it_is_resumed() -> None:
    scaling = scaler_of(2)
    scaling.scale(slots(0), rewards(8.0))
    raw = RawRewards()
    raw.load_state(scaling.state())
    assert raw.scale(slots(0), rewards(8.0)).tolist() == [8.0]
    begun = RewardScaler(discount=0.5, clip=1e9)
    begun.load_state(raw.state())
    begun.grow(2)
    assert begun.scale(slots(0), rewards(8.0)).tolist() == [1.0]
