"""Curves in bounded memory."""

import math

import numpy as np
import pytest

from entrain.page.curves import MOST_NAMES, Curves, coarser


def noted(curves: Curves, values: list[float], *, name: str = "policy/kl") -> None:
    for value in values:
        updates = curves.updates + 1
        time_s = 10.0 * updates
        # The clock on the wall was set back by a day after the second update.
        wall_time = 1e9 + time_s - (86_400.0 if updates > 2 else 0.0)
        curves.note({name: value}, env_steps=100 * updates, wall_time=wall_time, seconds=time_s)


def everything(curves: Curves) -> slice:
    return curves.rows_after(0, most=curves.updates + 1)


def test_until_it_is_full_every_update_is_a_row() -> None:
    curves = Curves(most=4)
    noted(curves, [1.0, 2.0, 3.0])
    rows = everything(curves)
    assert curves.env_steps(rows).tolist() == [100, 200, 300]
    assert curves.seconds(rows).tolist() == [10.0, 20.0, 30.0]
    assert curves.wall_time(rows).tolist() == [1e9 + 10.0, 1e9 + 20.0, 1e9 - 86_370.0]
    curve = curves.curve("policy/kl", rows)
    assert curve is not None
    assert curve.mean.tolist() == curve.low.tolist() == curve.high.tolist() == [1.0, 2.0, 3.0]


def test_a_full_table_merges_pairs_and_loses_no_spike() -> None:
    curves = Curves(most=4)
    noted(curves, [1.0, 9.0, 3.0, 5.0, -7.0, 1.0, 2.0])
    # Pairs (1, 9), (3, 5), (-7, 1), and the first half of the next.
    rows = everything(curves)
    curve = curves.curve("policy/kl", rows)
    assert curve is not None
    assert curve.low.tolist() == [1.0, 3.0, -7.0, 2.0]
    assert curve.mean.tolist() == [5.0, 4.0, -3.0, 2.0]
    assert curve.high.tolist() == [9.0, 5.0, 1.0, 2.0]
    assert curves.env_steps(rows).tolist() == [200, 400, 600, 700]
    assert curves.seconds(rows).tolist() == [20.0, 40.0, 60.0, 70.0]
    assert curves.first_updates(rows).tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("count", [1, 5, 16, 17, 1000, 4097])
def test_of_any_number_of_updates_the_mean_is_exact_and_rows_are_bounded(count: int) -> None:
    curves = Curves(most=16)
    values = np.random.default_rng(1).normal(size=count).tolist()
    noted(curves, values)
    rows = everything(curves)
    first = [*curves.first_updates(rows).tolist(), count]
    lengths = np.diff(first)
    curve = curves.curve("policy/kl", rows)
    assert curve is not None
    assert len(curves) <= 16
    assert (curve.mean * lengths).sum() == pytest.approx(sum(values))
    for begin, end, low, high in zip(first, first[1:], curve.low, curve.high, strict=False):
        assert (low, high) == (min(values[begin:end]), max(values[begin:end]))


def test_what_was_not_measured_is_nan_and_does_not_count() -> None:
    curves = Curves(most=4)
    noted(curves, [1.0, 2.0])
    noted(curves, [math.nan, 7.0, 8.0], name="value/loss")
    rows = everything(curves)
    curve = curves.curve("value/loss", rows)
    assert curve is not None
    # Pairs (1, 2), (NaN, 7), then 8.
    assert curve.mean.tolist()[1:] == [7.0, 8.0]
    assert math.isnan(curve.mean[0])
    assert curves.curve("policy/clip", rows) is None


def test_a_reader_asks_for_what_is_new_and_gets_the_unfinished_row_again() -> None:
    curves = Curves(most=4)
    noted(curves, [1.0] * 7)
    rows = curves.rows_after(6, most=100)
    assert curves.first_updates(rows).tolist() == [6]
    assert curves.env_steps(rows).tolist() == [700]
    noted(curves, [1.0])
    assert curves.env_steps(curves.rows_after(6, most=100)).tolist() == [800]


def test_names_without_end_get_no_curves() -> None:
    curves = Curves(most=4)
    metrics = {f"name/{i}": 1.0 for i in range(MOST_NAMES + 9)}
    curves.note(metrics, env_steps=1, wall_time=1.0, seconds=1.0)
    assert len(curves.names) == MOST_NAMES


def test_the_speed_is_that_of_the_newest_rows_by_a_clock_that_nobody_sets() -> None:
    curves = Curves(most=4)
    assert math.isnan(curves.env_steps_per_second())
    noted(curves, [1.0, 1.0, 1.0])
    assert curves.env_steps_per_second() == 10.0


def test_fewer_points_are_spread_evenly_and_end_with_the_newest() -> None:
    assert list(coarser(range(5), 9)) == [0, 1, 2, 3, 4]
    assert list(coarser(range(9), 3)) == [0, 4, 8]
    assert list(coarser(range(100), 1)) == [99]
