"""metrics.csv: one row per update, of any behaviour; its columns grow as new metrics appear.

An evaluation has a row of its own: it has a value of `evaluation/env_steps`, and no update has one.

    behaviour,env_steps,wall_time,rollout/episode_return_mean,...
    walker,2048,1763638811.250,12.5,...

An empty cell was not measured; `nan` was measured and is not a number. Rows are appended, so that
an update costs the same after a million others; only a new column rewrites the file, in one step.
"""

import contextlib
import csv
import io
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt

from entrain.errors import ConfigError
from entrain.evaluation_metrics import EVALUATION_ENV_STEPS
from entrain.run.disk import remedy
from entrain.run.durable import replace_file

logger = logging.getLogger(__name__)

BEHAVIOUR, ENV_STEPS, WALL_TIME = KEYS = ("behaviour", "env_steps", "wall_time")
"""Columns that every row has."""

Float64Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """The N rows of one behaviour, in the order in which they were measured."""

    env_steps: npt.NDArray[np.int64]
    """[N]."""

    wall_time: Float64Array
    """[N] seconds since 1970."""

    columns: Mapping[str, Float64Array]
    """{metric: [N]}; NaN where it was not measured."""

    def __post_init__(self) -> None:
        for name, column in [("wall_time", self.wall_time), *self.columns.items()]:
            if column.shape != self.env_steps.shape:
                raise ValueError(
                    f"{name} is {list(column.shape)}; it must be {list(self.env_steps.shape)}"
                )

    @property
    def updates(self) -> Self:
        """The rows of updates alone."""
        return self._where(~self._are_evaluations)

    @property
    def evaluations(self) -> Self:
        """The rows of evaluations alone."""
        return self._where(self._are_evaluations)

    @property
    def _are_evaluations(self) -> npt.NDArray[np.bool_]:
        evaluated_at = self.columns.get(EVALUATION_ENV_STEPS.name)
        if evaluated_at is None:
            return np.zeros(len(self.env_steps), np.bool_)
        return np.isfinite(evaluated_at)

    def _where(self, chosen: npt.NDArray[np.bool_]) -> Self:
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return type(self)(self.env_steps[chosen], self.wall_time[chosen], columns)


class MetricsTable:
    """Appends rows to one file. Owned by the process that holds the run's lock.

    If the file cannot be written now (the disk is full; a spreadsheet holds it open on Windows),
    rows wait in memory until it can, and the run goes on.
    """

    def __init__(self, path: Path) -> None:
        """Append to the file at `path`, if it exists."""
        self._path = path
        self._columns: list[str] = list(KEYS)
        self._waiting: list[Mapping[str, str]] = []
        # The first write also removes what a crash left of the last row.
        self._rewrite = True
        self._complained = False
        if path.exists():
            header, _ = _read_rows(path)
            self._columns += [name for name in header if name not in KEYS]

    def __repr__(self) -> str:
        return f"<MetricsTable {self._path}: {len(self._columns)} columns>"

    def drop_rows_beyond(self, env_steps: Mapping[str, int]) -> Mapping[str, tuple[int, int]]:
        """Remove rows that a run resumed at `env_steps` of each behaviour will measure again.

        Returns:
            {behaviour: (updates whose rows were removed, env steps of the last row)}; all rows of
            behaviours that are not named are among them.
        """
        rows = self._all_rows()
        kept: list[Mapping[str, str]] = []
        dropped: list[Mapping[str, str]] = []
        for row in rows:
            is_known = int(row[ENV_STEPS]) <= env_steps.get(row[BEHAVIOUR], -1)
            (kept if is_known else dropped).append(row)
        self._waiting = []
        try:
            replace_file(self._path, self._text(kept, header=True))
        except OSError as error:
            raise ConfigError(
                f"{self._path} cannot be written: {error.strerror}; make room on the disk, or "
                "close the program that has it open, before resuming"
            ) from error
        self._rewrite = False
        return _counted(dropped)

    def append(
        self, behaviour: str, *, env_steps: int, wall_time: float, metrics: Mapping[str, float]
    ) -> None:
        """Add one row; `flush` writes it to the file."""
        new = [name for name in metrics if name not in self._columns]
        self._columns += new
        self._rewrite = self._rewrite or bool(new)
        keys = {BEHAVIOUR: behaviour, ENV_STEPS: str(env_steps), WALL_TIME: f"{wall_time:.3f}"}
        # repr is the shortest text that reads back as the same number.
        values = {name: repr(float(value)) for name, value in metrics.items()}
        self._waiting.append({**values, **keys})

    def flush(self) -> None:
        """Write the rows that wait; they go on waiting if the file cannot be written."""
        if not self._waiting:
            return
        try:
            if self._rewrite or not self._path.exists():
                replace_file(self._path, self._text(self._all_rows(), header=True))
            else:
                _append_file(self._path, self._text(self._waiting, header=False))
        except OSError as error:
            self._complain(f"{error.strerror}; {remedy(error, self._path)}")
        except ConfigError as error:
            self._complain(str(error))
        else:
            if self._complained:
                waited = len(self._waiting)
                logger.info("%s is written again, the %d rows that waited too", self._path, waited)
            self._waiting, self._rewrite, self._complained = [], False, False

    def _complain(self, reason: str) -> None:
        if not self._complained:
            logger.warning(
                "%s cannot be written: %s; rows wait in memory until it can", self._path, reason
            )
        self._complained = True

    def _text(self, rows: Sequence[Mapping[str, str]], *, header: bool) -> str:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _all_rows(self) -> list[Mapping[str, str]]:
        """Returns the rows in the file and those that wait."""
        written = _read_rows(self._path)[1] if self._path.exists() else []
        return [*written, *self._waiting]


def read_metrics(path: Path) -> Mapping[str, Series]:
    """Returns all rows of the file at `path`, by behaviour in order of appearance.

    Raises:
        ConfigError: there is no file, or it is no metrics file.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not there; a run writes it with its first update")
    header, rows = _read_rows(path)
    behaviours = dict.fromkeys(row[BEHAVIOUR] for row in rows)
    metrics = [name for name in header if name not in KEYS]
    return {
        behaviour: _series([row for row in rows if row[BEHAVIOUR] == behaviour], metrics)
        for behaviour in behaviours
    }


def _series(rows: Sequence[Mapping[str, str]], metrics: Sequence[str]) -> Series:
    return Series(
        env_steps=np.array([int(row[ENV_STEPS]) for row in rows], np.int64),
        wall_time=np.array([float(row[WALL_TIME]) for row in rows], np.float64),
        columns={
            name: np.array([_number(row[name]) for row in rows], np.float64) for name in metrics
        },
    )


def _counted(rows: Sequence[Mapping[str, str]]) -> Mapping[str, tuple[int, int]]:
    """Returns {behaviour: (number of its updates' rows, env steps of its last row)}."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        number, last = found.get(row[BEHAVIOUR], (0, 0))
        number += not is_of_evaluation(row)
        found[row[BEHAVIOUR]] = (number, max(last, int(row[ENV_STEPS])))
    return found


def is_of_evaluation(row: Mapping[str, object]) -> bool:
    """Whether a row, {column: what is in it}, is that of an evaluation; else it is an update's."""
    return bool(row.get(EVALUATION_ENV_STEPS.name))


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan


def _append_file(path: Path, text: str) -> None:
    size = path.stat().st_size
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError:
        # A full disk may have taken a part of a row, to which the next row would be appended.
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def _read_rows(path: Path) -> tuple[Sequence[str], list[Mapping[str, str]]]:
    """Returns the header and all whole rows; a last row that a crash cut short is left out."""
    text = path.read_bytes().decode(errors="replace")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    header = next(_readable(lines), [])
    if tuple(header[: len(KEYS)]) != KEYS:
        raise ConfigError(
            f"{path} is not a metrics file: it begins with {','.join(header)[:60]!r}, not with "
            f"{','.join(KEYS)!r}; move it away"
        )
    return header, [dict(zip(header, cells, strict=True)) for cells in _whole(lines, header)]


def _whole(lines: Iterator[list[str]], header: Sequence[str]) -> Iterator[list[str]]:
    for cells in _readable(lines):
        with contextlib.suppress(ValueError):
            if len(cells) == len(header) and abs(int(cells[1])) < 2**63:
                for cell in cells[2:]:
                    _number(cell)
                yield cells


def _readable(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yields rows; those that are no CSV (a damaged disk) are left out."""
    while True:
        with contextlib.suppress(csv.Error):
            yield from lines
            return
