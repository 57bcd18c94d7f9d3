"""Schedules, and the entropy coefficient update by update, worked out by hand."""

import math
from dataclasses import astuple
from typing import Any

import pytest

from entrain.algorithms.coefficients import (
    COEFFICIENT_RANGE,
    TargetTemperature,
    coefficients_at,
    make_temperature,
    scheduled,
)
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, EntropyTargetConfig
from entrain_envs.spec import ActionSpec

HYBRID = ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0), branches=(3, 4))
DISCRETE = ActionSpec(branches=(2,))


def test_a_constant_stays() -> None:
    assert [scheduled(0.3, "constant", progress=p) for p in (0.0, 0.5, 1.0)] == [0.3, 0.3, 0.3]


def test_linear_falls_from_its_value_to_zero() -> None:
    values = [scheduled(8.0, "linear", progress=p) for p in (0.0, 0.25, 0.5, 1.0)]
    assert values == pytest.approx([8.0, 6.0, 4.0, 0.0])


@pytest.mark.parametrize(
    ("initial", "final", "expected"),
    [
        # (v0 - vmin) * (1 - p) + vmin at p = 0, 1/4, 1/2, 1.
        (0.3, 0.1, [0.3, 0.25, 0.2, 0.1]),
        (0.02, 0.1, [0.02, 0.04, 0.06, 0.1]),
        (8e-4, 1e-10, [8e-4, 6e-4 + 0.25e-10, 4e-4 + 0.5e-10, 1e-10]),
    ],
)
def test_linear_goes_to_its_final_value_also_upwards(
    initial: float, final: float, expected: list[float]
) -> None:
    values = [scheduled(initial, "linear", progress=p, final=final) for p in (0.0, 0.25, 0.5, 1.0)]
    assert values == pytest.approx(expected, rel=1e-12)
    assert scheduled(initial, "constant", progress=0.5, final=final) == initial


def test_each_coefficient_ends_at_its_own_final_value() -> None:
    config = PPOConfig(
        learning_rate=4e-4,
        final_learning_rate=2e-4,
        clip_range=0.05,
        clip_range_schedule="linear",
        final_clip_range=0.1,
        value_clip_range=0.4,
        value_clip_range_schedule="linear",
        final_value_clip_range=0.2,
    )
    entropy = EntropyConfig(
        coefficient=0.01, coefficient_schedule="linear", final_coefficient=0.002
    )
    temperature = make_temperature(entropy, HYBRID)
    halfway, end = (coefficients_at(p, config, temperature) for p in (0.5, 1.0))
    assert astuple(halfway) == pytest.approx((3e-4, 0.075, 0.006, 0.3))
    assert astuple(end) == pytest.approx((2e-4, 0.1, 0.002, 0.2))


def test_values_that_are_not_clipped_stay_so_whatever_their_schedule_ends_at() -> None:
    config = PPOConfig(value_clip_range_schedule="linear", final_value_clip_range=0.2)
    temperature = make_temperature(EntropyConfig(), HYBRID)
    assert coefficients_at(0.5, config, temperature).value_clip_range == 0.0


def following(
    coefficient: float = 0.5, action: ActionSpec = HYBRID, **target: Any
) -> TargetTemperature:
    config = EntropyConfig(coefficient=coefficient, target=EntropyTargetConfig(**target))
    temperature = make_temperature(config, action)
    assert isinstance(temperature, TargetTemperature)
    return temperature


def test_without_a_target_it_is_what_the_options_say() -> None:
    temperature = make_temperature(EntropyConfig(coefficient=0.3), HYBRID)
    assert temperature.follow(-100.0, 0.5) == {}
    assert [temperature.coefficient(progress) for progress in (0.0, 0.5, 1.0)] == [0.3, 0.3, 0.3]
    assert temperature.state() == {}


def test_without_a_target_it_may_fall_to_zero_over_the_run() -> None:
    config = EntropyConfig(coefficient=0.4, coefficient_schedule="linear")
    temperature = make_temperature(config, HYBRID)
    by_progress = [temperature.coefficient(progress) for progress in (0.0, 0.25, 1.0)]
    assert by_progress == pytest.approx([0.4, 0.3, 0.0])


def test_a_target_is_nats_for_each_dimension_and_a_part_of_what_each_branch_can_have() -> None:
    # 2 dimensions at -1, and half of ln 3 + ln 4.
    temperature = following(per_dimension=-1.0, fraction=0.5)
    assert temperature.target(0.0) == pytest.approx(-2.0 + 0.5 * math.log(12.0))
    assert following(action=DISCRETE, fraction=1.0).target(0.0) == pytest.approx(math.log(2.0))


def test_a_target_moves_on_a_line_over_the_run() -> None:
    # Per dimension 0 to -1, which 2 dimensions have; of ln 12 from 0.8 to 0.4.
    temperature = following(
        per_dimension=0.0, final_per_dimension=-1.0, fraction=0.8, final_fraction=0.4
    )
    for progress, nats in [
        (0.0, 0.8 * math.log(12.0)),
        (0.25, -0.5 + 0.7 * math.log(12.0)),
        (1.0, -2.0 + 0.4 * math.log(12.0)),
    ]:
        assert temperature.target(progress) == pytest.approx(nats)


def test_a_final_target_of_zero_is_one() -> None:
    temperature = following(action=DISCRETE, fraction=0.5, final_fraction=0.0)
    assert temperature.target(1.0) == 0.0


def test_the_coefficients_logarithm_moves_by_rate_times_what_the_entropy_lacks() -> None:
    # Target ln 2 / 2 = 0.3466. Entropy 0.1466 lacks 0.2 of it: ln alpha += 0.5 * 0.2.
    temperature = following(0.5, DISCRETE, fraction=0.5, rate=0.5)
    assert temperature.coefficient(0.0) == pytest.approx(0.5)
    target = 0.5 * math.log(2.0)
    metrics = temperature.follow(target - 0.2, 0.0)
    assert metrics == pytest.approx({"entropy/target": target, "entropy/distance": -0.2})
    assert temperature.coefficient(0.7) == pytest.approx(0.5 * math.exp(0.1))
    # The entropy is above its target by 0.6: the coefficient falls.
    assert temperature.follow(target + 0.6, 0.0)["entropy/distance"] == pytest.approx(0.6)
    assert temperature.coefficient(0.7) == pytest.approx(0.5 * math.exp(0.1 - 0.3))


def test_on_target_it_stays() -> None:
    temperature = following(0.5, DISCRETE, fraction=1.0)
    temperature.follow(math.log(2.0), 0.0)
    assert temperature.coefficient(0.0) == pytest.approx(0.5, rel=1e-12)


def test_the_target_that_is_followed_is_the_one_of_the_update() -> None:
    temperature = following(1.0, DISCRETE, fraction=1.0, final_fraction=0.0, rate=1.0)
    assert temperature.follow(0.25 * math.log(2.0), 0.75)["entropy/distance"] == pytest.approx(0.0)
    assert temperature.coefficient(0.75) == pytest.approx(1.0)


@pytest.mark.parametrize(("entropy", "end"), [(1e9, 0), (-1e9, 1), (5.0, 0), (-5.0, 1)])
def test_a_target_out_of_reach_makes_it_neither_zero_nor_infinite(entropy: float, end: int) -> None:
    temperature = following(0.5, DISCRETE, rate=0.1)
    for _ in range(100):
        temperature.follow(entropy, 0.0)
        least, most = COEFFICIENT_RANGE
        assert 0.0 < 0.999 * least < temperature.coefficient(0.0) < 1.001 * most < math.inf
    assert temperature.coefficient(0.0) == pytest.approx(COEFFICIENT_RANGE[end])
    # And it comes back as fast as from anywhere.
    temperature.follow(0.5 * math.log(2.0) + (1.0 if end else -1.0), 0.0)
    back = COEFFICIENT_RANGE[end] * math.exp(-0.1 if end else 0.1)
    assert temperature.coefficient(0.0) == pytest.approx(back)


def test_it_goes_on_where_its_state_was_taken() -> None:
    temperature, other = following(0.5), following(0.001)
    temperature.follow(-3.0, 0.0)
    other.load_state(temperature.state())
    assert other.coefficient(0.0) == temperature.coefficient(0.0)
    for each in (temperature, other):
        each.follow(4.0, 0.5)
    assert other.state() == temperature.state()


def test_a_target_given_to_a_run_that_had_none_begins_where_the_options_say() -> None:
    without = make_temperature(EntropyConfig(coefficient=0.3), DISCRETE)
    temperature = following(0.2)
    temperature.load_state(without.state())
    assert temperature.coefficient(0.0) == pytest.approx(0.2)
    temperature.follow(-1.0, 0.0)
    without.load_state(temperature.state())
    assert without.coefficient(0.0) == 0.3
