"""Draws of samplers: as likely as they should be, the same when repeated, each in its time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.environment_parameters import (
    GaussianSampler,
    MultirangeSampler,
    Sampler,
    UniformSampler,
)
from entrain.serving.parameters import EnvironmentParameters, drawn

COUNT = 20_000


def draws(sampler: Sampler) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([drawn(sampler, f"run/1/mass/{number}") for number in range(COUNT)])


def moments(intervals: list[tuple[float, float]]) -> tuple[float, float]:
    """Mean and variance of a number that is equally likely anywhere within intervals."""
    total = sum(high - low for low, high in intervals)
    mean = sum((high**2 - low**2) / 2 for low, high in intervals) / total
    square = sum((high**3 - low**3) / 3 for low, high in intervals) / total
    return mean, square - mean**2


@pytest.mark.parametrize(
    ("sampler", "mean", "variance"),
    [
        # (high - low) ** 2 / 12
        (UniformSampler(low=-1.0, high=5.0), 2.0, 3.0),
        (GaussianSampler(mean=3.0, standard_deviation=0.5), 3.0, 0.25),
        (MultirangeSampler(intervals=((0.0, 1.0), (8.0, 11.0))), *moments([(0, 1), (8, 11)])),
        # Where intervals overlap, numbers are twice as likely.
        (MultirangeSampler(intervals=((0.0, 2.0), (1.0, 2.0))), 1.1666667, 0.3055556),
    ],
)
def test_draws_have_the_moments_of_their_sampler(
    sampler: Sampler, mean: float, variance: float
) -> None:
    numbers = draws(sampler)
    standard_error = math.sqrt(variance / COUNT)
    assert abs(numbers.mean() - mean) < 4 * standard_error
    # The standard error of a variance, of a normal distribution; of the others it is smaller.
    assert abs(numbers.var() - variance) < 4 * variance * math.sqrt(2 / COUNT)


def test_gaussian_draws_lie_where_they_should() -> None:
    numbers = draws(GaussianSampler(mean=0.0, standard_deviation=1.0))
    for at, share in ((-1.0, 0.158655), (0.0, 0.5), (1.0, 0.841345), (2.0, 0.977250)):
        assert abs(np.mean(numbers < at) - share) < 4 * math.sqrt(0.25 / COUNT)


bounds = st.floats(-1e300, 1e300)


@settings(max_examples=60)
@given(ends=st.lists(st.tuples(bounds, bounds).map(sorted), min_size=1, max_size=4), key=st.text())
def test_no_draw_lies_outside(ends: list[list[float]], key: str) -> None:
    intervals = tuple((low, high) for low, high in ends)
    number = drawn(MultirangeSampler(intervals=intervals), key)
    slack = 1e-12
    assert any(
        low - slack * abs(low) <= number <= high + slack * abs(high) for low, high in intervals
    )
    assert number == drawn(MultirangeSampler(intervals=intervals), key)


def test_single_points_are_equally_likely() -> None:
    numbers = draws(MultirangeSampler(intervals=((1.0, 1.0), (4.0, 4.0))))
    assert set(numbers) == {1.0, 4.0}
    assert abs(np.mean(numbers == 1.0) - 0.5) < 4 * math.sqrt(0.25 / COUNT)


def test_a_simulator_draws_by_its_seed_and_its_number_of_draws() -> None:
    parameters = EnvironmentParameters({"mass": UniformSampler(), "gravity": 9.81})
    one = parameters.of(simulator="a", seed=1)
    assert one.are_drawn
    first = one.values
    one.go_on_after(1)
    assert one.values["mass"] != first["mass"]
    assert one.changed_since(first) == {"mass": one.values["mass"]}
    assert parameters.of(simulator="a", seed=1).values == first
    assert parameters.of(simulator="a", seed=2).values != first
    again = parameters.of(simulator="a", seed=1)
    again.go_on_after(1)
    assert again.values == one.values


def test_a_sampler_with_a_seed_draws_the_same_in_every_run() -> None:
    parameters = EnvironmentParameters({"mass": UniformSampler(seed=3)})
    of_one_run = parameters.of(simulator="a", seed=1)
    assert parameters.of(simulator="a", seed=2).values == of_one_run.values
    assert parameters.of(simulator="b", seed=1).values != of_one_run.values


def test_two_parameters_draw_independently() -> None:
    parameters = EnvironmentParameters({"mass": UniformSampler(), "wind": UniformSampler()})
    values = parameters.of(simulator="a", seed=1).values
    assert values["mass"] != values["wind"]


def test_an_update_reaches_simulators_and_leaves_other_draws_alone() -> None:
    parameters = EnvironmentParameters({"mass": UniformSampler(), "gravity": 9.81})
    simulator = parameters.of(simulator="a", seed=1)
    before = simulator.values
    assert parameters.version == 0
    parameters.update({"gravity": 3.7})
    assert parameters.version == 1
    assert parameters.specification == {"mass": UniformSampler(), "gravity": 3.7}
    assert simulator.changed_since(before) == {"gravity": 3.7}
    parameters.update({"mass": 2.0})
    assert not simulator.are_drawn
    assert simulator.values == {"mass": 2.0, "gravity": 3.7}
