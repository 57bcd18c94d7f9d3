"""How long simulators wait and how large batches are."""

import math

import pytest

from entrain.serving.measures import Distribution, Measures


def test_values_are_counted_below_their_bound() -> None:
    distribution = Distribution((1.0, 2.0, 4.0))
    for value in (0.5, 1.0, 1.5, 4.0, 9.0):
        distribution.note(value)
    assert distribution.counts == [2, 1, 1, 1]
    assert distribution.total == 16.0


def test_a_quantile_is_a_bound_below_which_that_share_lies() -> None:
    distribution = Distribution((1.0, 2.0, 4.0))
    assert math.isnan(distribution.quantile(0.5))
    for value in [0.5] * 50 + [1.5] * 49 + [3.0]:
        distribution.note(value)
    assert [distribution.quantile(share) for share in (0.5, 0.51, 0.99, 1.0)] == [1, 2, 2, 4]
    distribution.note(100.0)
    assert distribution.quantile(1.0) == math.inf


def test_each_simulator_has_its_own_latency_and_all_have_one() -> None:
    now_s = 1.0
    measures = Measures(clock=lambda: now_s)
    one, other = measures.timer(), measures.timer()
    # Of a step that came before the run was resumed.
    one.end()
    one.begin()
    now_s = 1.1
    other.begin()
    now_s = 1.3
    one.end()
    other.end()
    assert one.latency.total == pytest.approx(0.3)
    assert other.latency.total == pytest.approx(0.2)
    assert measures.latency.total == pytest.approx(0.5)
    assert sum(measures.latency.counts) == 2
