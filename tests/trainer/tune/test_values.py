"""What a run is worth at each look, from its table as it grows."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrain.config.load import load_config
from entrain.run.table import MetricsTable
from entrain.supervise import following
from entrain.tune.values import RunValues

METRIC = "rollout/episode_return_last_100"


class Table:
    """A run's table, and its values."""

    def __init__(
        self, folder: Path, *policies: str, policy: str | None = None, metric: str = METRIC
    ) -> None:
        steps = [f"policies.{name}.total_steps=2000" for name in policies]
        path = folder / "metrics.csv"
        self._table = MetricsTable(path)
        self.values = RunValues(path, load_config(None, steps), metric, policy)

    def write(self, env_steps: int, value: float) -> None:
        self._append(env_steps, {METRIC: value}, "hopper")

    def add(self, env_steps: int, value: float | None, policy: str = "hopper") -> None:
        metrics: Mapping[str, float] = {} if value is None else {METRIC: value}
        self._append(env_steps, {"policy/kl": 0.5, **metrics}, policy)
        self.values.look()

    def add_evaluation(self, env_steps: int, value: float, *, begun_at: int) -> None:
        metrics = {"evaluation/return_mean": value, "evaluation/env_steps": float(begun_at)}
        self._append(env_steps, metrics, "hopper")
        self.values.look()

    def _append(self, env_steps: int, metrics: Mapping[str, float], policy: str) -> None:
        self._table.append(policy, env_steps=env_steps, wall_time=1.0, metrics=metrics)
        self._table.flush()


def test_before_the_first_row_nothing_is_known(tmp_path: Path) -> None:
    values = Table(tmp_path, "hopper").values
    values.look()
    assert values.looks == 0
    assert math.isnan(values.newest)


def test_a_look_is_a_twentieth_of_the_total_steps(tmp_path: Path) -> None:
    # Looks are at 100, 200, 300 ... of 2000 steps.
    table = Table(tmp_path, "hopper")
    table.add(90, 1.0)
    assert table.values.looks == 0
    table.add(110, 2.0)
    assert table.values.looks == 1
    table.add(390, 4.0)
    assert table.values.looks == 3
    table.add(2100, 5.0)
    assert table.values.looks == 20
    # The first row at or beyond 100 is that of 110; beyond 200 and 300 that of 390.
    assert [table.values.value_at(look) for look in (1, 2, 3, 4)] == [2.0, 4.0, 4.0, 5.0]
    assert table.values.newest == 5.0


def test_a_row_without_the_metric_has_the_value_before(tmp_path: Path) -> None:
    table = Table(tmp_path, "hopper")
    table.add(100, None)
    assert math.isnan(table.values.value_at(1))
    table.add(200, 3.0)
    table.add(300, None)
    table.add(400, math.nan)
    assert [table.values.value_at(look) for look in (2, 3, 4)] == [3.0, 3.0, 3.0]
    assert table.values.newest == 3.0


def test_a_look_of_several_policies_waits_for_all_and_is_their_mean(tmp_path: Path) -> None:
    table = Table(tmp_path, "hopper", "walker")
    table.add(200, 3.0)
    table.add(100, 9.0, "walker")
    assert table.values.looks == 1
    assert table.values.value_at(1) == 6.0


def test_one_policy_may_be_the_one_that_counts(tmp_path: Path) -> None:
    table = Table(tmp_path, "hopper", "walker", policy="walker")
    table.add(200, 3.0)
    assert table.values.looks == 0
    table.add(100, 9.0, "walker")
    assert table.values.newest == 9.0


@pytest.mark.parametrize("name", ["hopper", "anything"])
def test_behaviours_without_a_policy_of_their_name_have_the_steps_of_all_others(
    tmp_path: Path, name: str
) -> None:
    table = Table(tmp_path, "*")
    table.add(500, 1.0, name)
    assert table.values.looks == 5


def test_a_metric_of_evaluations_is_read_from_their_rows(tmp_path: Path) -> None:
    # Looks are at 100, 200, 300 ... of 2000 steps; the evaluation of 200 is over at 390.
    table = Table(tmp_path, "hopper", metric="evaluation/return_mean")
    table.add(100, 1.0)
    table.add(200, 2.0)
    assert math.isnan(table.values.newest)
    table.add_evaluation(390, 7.0, begun_at=200)
    table.add(2000, 3.0)
    assert table.values.looks == 20
    assert math.isnan(table.values.value_at(2))
    assert [table.values.value_at(look) for look in (3, 20)] == [7.0, 7.0]
    table.add_evaluation(2000, 8.0, begun_at=2000)
    assert table.values.newest == 8.0


def test_rows_of_evaluations_without_the_metric_are_passed_over(tmp_path: Path) -> None:
    table = Table(tmp_path, "hopper")
    table.add_evaluation(200, 7.0, begun_at=200)
    assert table.values.looks == 0


def test_a_table_larger_than_one_look_takes_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_BYTES", 128)
    table = Table(tmp_path, "hopper")
    for number in range(1, 21):
        table.write(100 * number, float(number))
    table.values.look()
    assert (table.values.looks, table.values.newest) == (20, 20.0)
