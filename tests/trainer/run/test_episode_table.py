"""Rows of episodes: appended, bounded by rotation, and cut back exactly when a run is resumed."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entrain.run.episode_table import (
    COLUMNS,
    LONGEST_CELL,
    EpisodeRows,
    EpisodeTable,
    older_path,
    read_episodes,
    statistics_cell,
)


def rows(
    *returns: float,
    first: int = 1,
    policy: str = "walker",
    simulator: str = "sim-0",
    statistics: str = "",
) -> EpisodeRows:
    count = len(returns)
    return EpisodeRows(
        policy=policy,
        first_number=first,
        returns=np.array(returns),
        lengths=np.full(count, 7),
        endings=np.full(count, "terminated", np.object_),
        simulators=np.full(count, simulator, np.object_),
        env_steps=4096,
        wall_time=1763638811.25,
        statistics=np.full(count, statistics, np.object_),
    )


def table_at(folder: Path, *, max_bytes: int = 10**6) -> EpisodeTable:
    return EpisodeTable(folder / "episodes.csv", max_bytes=max_bytes)


def numbers(folder: Path, policy: str = "walker") -> Sequence[int]:
    written = read_episodes(folder / "episodes.csv")
    return [int(row["episode"]) for row in written if row["policy"] == policy]


def test_each_episode_is_a_row_below_one_header(tmp_path: Path) -> None:
    for table, first in ((table_at(tmp_path), 1), (table_at(tmp_path), 3)):
        table.add(rows(1.5, -2.0, first=first))
        table.flush()
        table.flush()
    assert (tmp_path / "episodes.csv").read_text().splitlines() == [
        "policy,episode,return,length,ending,simulator,env_steps,wall_time,statistics,evaluation",
        "walker,1,1.5,7,terminated,sim-0,4096,1763638811.250,,",
        "walker,2,-2.0,7,terminated,sim-0,4096,1763638811.250,,",
        "walker,3,1.5,7,terminated,sim-0,4096,1763638811.250,,",
        "walker,4,-2.0,7,terminated,sim-0,4096,1763638811.250,,",
    ]


def test_statistics_are_json_of_any_name_whenever_it_comes(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    values = [{"coins": 3.0}, {"coins": 0.1, 'a "b", ü': -1e-9}]
    for number, each in enumerate(values, start=1):
        table.add(rows(0.0, first=number, statistics=statistics_cell(each)))
    table.flush()
    read = [row["statistics"] for row in read_episodes(tmp_path / "episodes.csv")]
    assert [json.loads(text) for text in read] == values
    assert "ü" in read[1]
    assert statistics_cell({}) == ""


def test_of_very_many_statistics_the_first_stay_and_are_still_json() -> None:
    values = {f"{number:03}{'x' * 80}": float(number) for number in range(100)}
    text = statistics_cell(values)
    kept = json.loads(text)
    assert list(kept.items()) == list(values.items())[: len(kept)]
    assert LONGEST_CELL - 100 < len(text) <= LONGEST_CELL
    fitting = {"x" * 190 + str(number): 0.5 for number in range(9)}
    assert json.loads(statistics_cell(fitting)) == fitting
    assert statistics_cell({"x" * LONGEST_CELL: 0.0}) == "{}"


def test_a_file_of_before_there_were_statistics_is_read_and_gets_their_column(
    tmp_path: Path,
) -> None:
    path = tmp_path / "episodes.csv"
    old = "walker,{},1.5,7,terminated,sim-0,4096,1763638811.250"
    lines = [",".join(COLUMNS[:-2]), old.format(1), old.format(2)]
    path.write_text("\n".join(lines) + "\n")
    assert [row["statistics"] for row in read_episodes(path)] == ["", ""]
    table = table_at(tmp_path)
    table.drop_rows_beyond({"walker": 1})
    table.add(rows(0.0, first=2, statistics="{}"))
    table.flush()
    header, *written = path.read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert [row.count(",") for row in written] == [header.count(",")] * 2
    assert numbers(tmp_path) == [1, 2]


def test_names_may_be_anything(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    table.add(rows(1.0, policy='a,"b"\nc', simulator="läufer,\n"))
    table.flush()
    (row,) = read_episodes(tmp_path / "episodes.csv")
    assert tuple(row) == COLUMNS
    assert (row["policy"], row["simulator"]) == ('a,"b"\nc', "läufer,\n")


def test_nothing_is_written_before_an_episode_is_over_or_if_it_is_switched_off(
    tmp_path: Path,
) -> None:
    table_at(tmp_path).flush()
    off = table_at(tmp_path, max_bytes=0)
    off.add(rows(1.0))
    off.flush()
    assert list(tmp_path.iterdir()) == []


def test_two_files_of_a_bounded_size_hold_the_newest_rows(tmp_path: Path) -> None:
    table = table_at(tmp_path, max_bytes=2000)
    for number in range(1, 501):
        table.add(rows(0.0, first=number))
        table.flush()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2
    assert max(sizes) < 2100
    kept = numbers(tmp_path)
    assert kept == list(range(kept[0], 501))


def test_rows_behind_the_checkpoint_are_removed_from_both_files(tmp_path: Path) -> None:
    table = table_at(tmp_path, max_bytes=300)
    for number in range(1, 9):
        table.add(rows(0.0, first=number))
        table.add(rows(0.0, first=number, policy="runner"))
        table.flush()
    assert older_path(tmp_path / "episodes.csv").exists()
    before = numbers(tmp_path)
    table.add(rows(0.0, first=9))
    table.drop_rows_beyond({"walker": 7})
    assert numbers(tmp_path) == [number for number in before if number <= 7]
    assert numbers(tmp_path, "runner") == []
    table.add(rows(0.0, first=8))
    table.flush()
    assert numbers(tmp_path)[-2:] == [7, 8]


def test_what_a_crash_left_of_a_row_is_removed(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    table.add(rows(0.0, 1.0))
    table.flush()
    path = tmp_path / "episodes.csv"
    path.write_text(path.read_text() + "walker,3,1.")
    table.drop_rows_beyond({"walker": 5})
    assert path.read_text().endswith("\n")
    assert numbers(tmp_path) == [1, 2]


def test_a_file_that_needs_no_change_is_left_alone(tmp_path: Path) -> None:
    table = table_at(tmp_path)
    table.add(rows(0.0, 1.0))
    table.flush()
    before = (tmp_path / "episodes.csv").stat()
    table.drop_rows_beyond({"walker": 2})
    assert (tmp_path / "episodes.csv").stat().st_ino == before.st_ino


def test_rows_wait_until_the_file_can_be_written_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "episodes.csv").mkdir()
    table = table_at(tmp_path)
    for number in (1, 2):
        table.add(rows(0.0, first=number))
        table.flush()
    assert len(caplog.messages) == 1
    (tmp_path / "episodes.csv").rmdir()
    table.flush()
    assert numbers(tmp_path) == [1, 2]


def test_episodes_of_evaluations_are_marked_and_cut_back_by_the_evaluations_number(
    tmp_path: Path,
) -> None:
    table = table_at(tmp_path)
    table.add(rows(1.0, 2.0))
    table.add(replace(rows(8.0, 9.0), evaluation=1))
    table.add(rows(3.0, first=3))
    table.add(replace(rows(7.0), evaluation=2))
    table.flush()
    table.drop_rows_beyond({"walker": 2}, evaluations=1)
    read = [(row["episode"], row["evaluation"]) for row in read_episodes(tmp_path / "episodes.csv")]
    assert read == [("1", ""), ("2", ""), ("1", "1"), ("2", "1")]
