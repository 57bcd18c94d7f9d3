"""metrics.csv: no row is lost, none is counted twice, whatever happens to the file."""

import csv
import errno
import logging
import math
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrain.errors import ConfigError
from entrain.run import table as table_module
from entrain.run.table import MetricsTable, Series, read_metrics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def add(table: MetricsTable, behaviour: str, env_steps: int, **metrics: float) -> None:
    table.append(behaviour, env_steps=env_steps, wall_time=float(env_steps), metrics=metrics)


def write(path: Path, *rows: tuple[str, int, dict[str, float]]) -> MetricsTable:
    table = MetricsTable(path)
    for behaviour, env_steps, metrics in rows:
        add(table, behaviour, env_steps, **metrics)
        table.flush()
    return table


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def full_disk(*arguments: object, **options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_row_holds_who_when_and_what(path: Path) -> None:
    table = MetricsTable(path)
    table.append("walker", env_steps=2048, wall_time=1763638811.25, metrics={"policy/kl": 0.01})
    table.flush()
    assert lines(path) == [
        "behaviour,env_steps,wall_time,policy/kl",
        "walker,2048,1763638811.250,0.01",
    ]


def test_a_new_metric_becomes_a_column_and_old_rows_keep_theirs(path: Path) -> None:
    write(path, ("w", 1, {"a": 1.0}), ("w", 2, {"b": 2.0}), ("w", 3, {"b": 3.0, "a": 4.0}))
    assert lines(path) == [
        "behaviour,env_steps,wall_time,a,b",
        "w,1,1.000,1.0,",
        "w,2,2.000,,2.0",
        "w,3,3.000,4.0,3.0",
    ]


def test_rows_of_known_columns_are_appended_without_reading_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(path, ("w", 1, {"a": 1.0}))
    with monkeypatch.context() as patch:
        patch.setattr(table_module, "_read_rows", full_disk)
        patch.setattr(table_module, "replace_file", full_disk)
        add(table, "w", 2, a=2.0)
        table.flush()
    assert len(lines(path)) == 3


def test_a_spreadsheet_reads_it_whatever_a_behaviour_is_called(path: Path) -> None:
    names = ['a,b "c"', "line\nbreak", "Läufer", ""]
    write(path, *((name, i, {"a": 0.5}) for i, name in enumerate(names)))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["behaviour"] for row in rows] == names
    assert list(read_metrics(path)) == names


behaviours = st.sampled_from(["walker", "a,b", "two\nlines"])
metrics = st.dictionaries(
    st.sampled_from(["a", "b/c", 'd"e']), st.floats(allow_nan=True), max_size=3
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(behaviours, metrics, st.booleans()), max_size=12))
def test_what_is_written_is_what_is_read(
    path: Path, rows: list[tuple[str, dict[str, float], bool]]
) -> None:
    path.unlink(missing_ok=True)
    table = MetricsTable(path)
    for step, (behaviour, values, reopened) in enumerate(rows):
        table.append(behaviour, env_steps=step, wall_time=0.0, metrics=values)
        table.flush()
        if reopened:
            table = MetricsTable(path)
    read: list[tuple[int, str, dict[str, Any]]] = []
    for behaviour, series in read_metrics(path).items() if rows else ():
        for i, step in enumerate(series.env_steps):
            cells = {name: column[i] for name, column in series.columns.items()}
            read.append((int(step), behaviour, cells))
    for (behaviour, values, _), (_, named, cells) in zip(rows, sorted(read), strict=True):
        assert named == behaviour
        for name, cell in cells.items():
            np.testing.assert_equal(cell, values.get(name, math.nan))


def test_a_later_sitting_goes_on_where_the_file_ends(path: Path) -> None:
    write(path, ("w", 1, {"a": 1.0}))
    write(path, ("w", 2, {"a": 2.0, "b": 2.0}))
    series = read_metrics(path)["w"]
    np.testing.assert_array_equal(series.env_steps, [1, 2])
    np.testing.assert_array_equal(series.columns["a"], [1.0, 2.0])
    np.testing.assert_array_equal(series.columns["b"], [math.nan, 2.0])


def test_rows_beyond_the_restored_step_are_forgotten_for_each_behaviour(path: Path) -> None:
    table = write(
        path,
        ("walker", 100, {"a": 1.0}),
        ("jumper", 150, {"a": 2.0}),
        ("walker", 200, {"a": 3.0}),
        ("jumper", 250, {"a": 4.0}),
        ("new", 10, {"a": 5.0}),
    )
    dropped = table.drop_rows_beyond({"walker": 200, "jumper": 249})
    assert sum(number for number, _ in dropped.values()) == 2
    kept = {name: series.env_steps.tolist() for name, series in read_metrics(path).items()}
    assert kept == {"walker": [100, 200], "jumper": [150]}


def test_after_a_resume_no_step_stands_there_twice(path: Path) -> None:
    write(path, *(("w", step, {"a": 1.0}) for step in (1, 2, 3, 4)))
    resumed = MetricsTable(path)
    resumed.drop_rows_beyond({"w": 2})
    for step in (3, 4, 5):
        add(resumed, "w", step, a=9.0)
        resumed.flush()
    series = read_metrics(path)["w"]
    np.testing.assert_array_equal(series.env_steps, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(series.columns["a"], [1, 1, 9, 9, 9])


def test_a_file_that_refuses_at_a_resume_is_a_clear_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(path, ("w", 1, {"a": 1.0}), ("w", 2, {"a": 1.0}))
    before = path.read_bytes()
    monkeypatch.setattr(table_module, "replace_file", full_disk)
    with pytest.raises(ConfigError, match=r"No space left on device; make room"):
        table.drop_rows_beyond({"w": 1})
    assert path.read_bytes() == before


def test_rows_that_still_wait_are_dropped_as_well(path: Path) -> None:
    table = MetricsTable(path)
    add(table, "w", 1, a=1.0)
    add(table, "w", 5, a=1.0)
    assert [number for number, _ in table.drop_rows_beyond({"w": 3}).values()] == [1]
    assert read_metrics(path)["w"].env_steps.tolist() == [1]


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_row_that_a_crash_cut_short_is_passed_over_and_mended(path: Path, cut: int) -> None:
    write(path, ("w", 1, {"a": 1.5}), ("w", 2, {"a": 2.25}))
    whole = path.read_bytes()
    # The last row is 'w,2,2.000,2.25\n': every prefix of it, even 'w,2,2.000,2.2'.
    path.write_bytes(whole[:-cut])
    assert read_metrics(path)["w"].columns["a"].tolist() == [1.5]
    write(path, ("w", 3, {"a": 3.5}))
    assert read_metrics(path)["w"].columns["a"].tolist() == [1.5, 3.5]


@pytest.mark.parametrize("failing", ["append", "rewrite"])
def test_rows_wait_for_a_disk_that_refuses_and_it_is_said_once(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    failing: str,
) -> None:
    table = write(path, ("w", 1, {"a": 1.0}))
    before = path.read_bytes()
    name = "a" if failing == "append" else "b"
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(table_module, "replace_file", full_disk)
        patch.setattr(Path, "open", full_disk)
        for step in (2, 3):
            add(table, "w", step, **{name: 2.0})
            table.flush()
    assert path.read_bytes() == before
    assert caplog.text.count("rows wait in memory") == 1
    table.flush()
    assert read_metrics(path)["w"].env_steps.tolist() == [1, 2, 3]


def test_a_row_that_a_full_disk_took_in_part_is_taken_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(path, ("w", 1, {"a": 1.0}))
    really_open = Path.open

    class Filling:
        """Takes three bytes, then is full."""

        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> "Filling":
            return self

        def __exit__(self, *error: object) -> None:
            self._file.close()

        def write(self, text: str) -> NoReturn:
            self._file.write(text[:3])
            self._file.flush()
            full_disk()

    def open_filling(self: Path, *arguments: Any, **options: Any) -> Filling:
        return Filling(really_open(self, *arguments, **options))

    add(table, "w", 2, a=2.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_filling)
        table.flush()
    table.flush()
    assert lines(path)[1:] == ["w,1,1.000,1.0", "w,2,2.000,2.0"]


def test_a_file_that_someone_removed_is_begun_again(path: Path) -> None:
    table = write(path, ("w", 1, {"a": 1.0}))
    path.unlink()
    add(table, "w", 2, a=2.0)
    table.flush()
    assert lines(path) == ["behaviour,env_steps,wall_time,a", "w,2,2.000,2.0"]


@pytest.mark.parametrize("content", ["", "a;b;c\n1;2;3\n", "\xff\xfe\n", "behaviour\n"])
def test_a_file_that_is_no_metrics_file_is_not_overwritten(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is not a metrics file.*move it away"):
        MetricsTable(path)
    assert path.read_text(encoding="utf-8") == content


def test_no_file_is_a_clear_error(path: Path) -> None:
    with pytest.raises(ConfigError, match="a run writes it with its first update"):
        read_metrics(path)


def test_an_empty_cell_and_nan_and_infinity_are_read(path: Path) -> None:
    write(path, ("w", 1, {"a": math.nan, "b": -math.inf}), ("w", 2, {"a": 1e-300}))
    assert lines(path)[1:] == ["w,1,1.000,nan,-inf", "w,2,2.000,1e-300,"]
    series = read_metrics(path)["w"]
    np.testing.assert_array_equal(series.columns["a"], [math.nan, 1e-300])
    np.testing.assert_array_equal(series.columns["b"], [-math.inf, math.nan])


def test_numbers_of_numpy_are_written_like_any_other(path: Path) -> None:
    write(path, ("w", 1, {"a": np.float64(0.5), "b": float(np.float32(2))}))
    assert lines(path)[1] == "w,1,1.000,0.5,2.0"


def test_a_series_of_unequal_columns_is_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"a is \[2\]; it must be \[1\]"):
        Series(np.zeros(1, np.int64), np.zeros(1), {"a": np.zeros(2)})


def test_appending_does_not_depend_on_the_length_of_the_file(path: Path) -> None:
    table = write(path, ("w", 1, {"a": 1.0}))
    size = path.stat().st_size
    add(table, "w", 2, a=2.0)
    table.flush()
    assert path.stat().st_size == size + len("w,2,2.000,2.0\n")
    assert os.listdir(path.parent) == ["metrics.csv"]  # noqa: PTH208


def test_rows_of_evaluations_are_told_from_those_of_updates(path: Path) -> None:
    table = write(
        path,
        ("walker", 100, {"policy/kl": 0.1}),
        ("walker", 150, {"evaluation/return_mean": 5.0, "evaluation/env_steps": 100.0}),
        ("walker", 200, {"policy/kl": 0.2}),
        ("bird", 300, {"evaluation/return_mean": 1.0, "evaluation/env_steps": 200.0}),
    )
    walker, bird = read_metrics(path).values()
    assert walker.updates.env_steps.tolist() == [100, 200]
    assert walker.updates.columns["policy/kl"].tolist() == [0.1, 0.2]
    assert walker.evaluations.columns["evaluation/return_mean"].tolist() == [5.0]
    assert bird.updates.env_steps.tolist() == []
    # Updates are counted that are done again; an evaluation is none.
    assert table.drop_rows_beyond({"walker": 100, "bird": 0}) == {
        "walker": (1, 200),
        "bird": (0, 300),
    }


def test_without_an_evaluation_every_row_is_of_an_update(path: Path) -> None:
    write(path, ("walker", 100, {"policy/kl": 0.1}))
    (walker,) = read_metrics(path).values()
    assert walker.updates.env_steps.tolist() == [100]
    assert walker.evaluations.env_steps.tolist() == []
