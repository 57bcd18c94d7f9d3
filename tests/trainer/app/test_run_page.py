"""Curves of a run's page that earlier sittings measured."""

import math
from pathlib import Path

import pytest

from entrain.app.run_page import fill
from entrain.metrics import EPISODE_RETURN_MEAN, STATISTICS
from entrain.page.board import Board, LogLines
from entrain.run.table import MetricsTable


class Noted(Board):
    """Remembers what it is told, as it is told."""

    def __init__(self) -> None:
        super().__init__(LogLines(lambda record: (record.levelname, record.getMessage())))
        self.told: list[tuple[object, ...]] = []

    def note_update(self, policy: str, *about: object, **more: object) -> None:
        self.told.append((policy, *about, *more.values()))


def test_curves_begin_with_every_update_of_the_table(tmp_path: Path) -> None:
    table, board = MetricsTable(tmp_path / "metrics.csv"), Noted()
    for steps in (10, 20):
        reported = {f"{STATISTICS}speed": 2.0 if steps == 10 else math.nan}
        metrics = {EPISODE_RETURN_MEAN.name: steps / 4.0, **reported}
        table.append("walker", env_steps=steps, wall_time=steps + 0.5, metrics=metrics)
    table.flush()
    fill(board, tmp_path / "metrics.csv")
    assert board.told == [
        ("walker", {EPISODE_RETURN_MEAN.name: 2.5}, {"speed": 2.0}, 10, 10.5),
        ("walker", {EPISODE_RETURN_MEAN.name: 5.0}, {}, 20, 20.5),
    ]


def test_a_table_that_cannot_be_read_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = Noted()
    fill(board, tmp_path / "metrics.csv")
    assert board.told == []
    assert "the page begins without earlier curves: " in caplog.text
