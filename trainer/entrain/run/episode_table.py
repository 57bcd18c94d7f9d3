"""episodes.csv: one row per episode, of any policy. The older rows are in episodes.1.csv.

    policy,episode,return,length,ending,simulator,env_steps,wall_time,statistics,evaluation
    walker,1,212.4,180,terminated,walker-sim-0,4096,1763638811.250,"{""coins"": 3.0}",

A policy's episodes are numbered from 1. Those of an evaluation have its number in the last column,
and are numbered by themselves; in those of training it is empty. What simulators report is one
column of JSON, because names may be new at any time. Rows are written a few times a second, not one
by one. Once the file has its size it becomes the older one, whose rows are then forgotten.
"""

import csv
import io
import itertools
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entrain.errors import ConfigError
from entrain.run.durable import replace_file

logger = logging.getLogger(__name__)

COLUMNS = (
    "policy",
    "episode",
    "return",
    "length",
    "ending",
    "simulator",
    "env_steps",
    "wall_time",
    "statistics",
    "evaluation",
)

MOST_WAITING = 10_000
"""Batches of rows that wait in memory; while the file cannot be written, the newest ones."""

LONGEST_CELL = 2000
"""Characters of one episode's statistics."""


@dataclass(frozen=True, kw_only=True)
class EpisodeRows:
    """N episodes of one policy that were over at the same moment."""

    policy: str

    first_number: int
    """Of the first; the others follow it."""

    returns: NDArray[np.float64]
    """[N]."""

    lengths: NDArray[np.int64]
    """[N] steps."""

    endings: NDArray[np.object_]
    """[N] `terminated`, `truncated` or `dropped`."""

    simulators: NDArray[np.object_]
    """[N] names."""

    env_steps: int
    """Of the policy, then."""

    wall_time: float
    """Seconds since 1970."""

    statistics: NDArray[np.object_]
    """[N] cells; see `statistics_cell`."""

    evaluation: int | None = None
    """Number of the evaluation that they are of; None: of training."""


class EpisodeTable:
    """Appends rows. Owned by the process that holds the run's lock.

    If the file cannot be written, that is logged once, and rows wait: the run goes on.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Append to the file at `path`, if it exists.

        Args:
            path: of the newer file.
            max_bytes: of each of the two files; 0 writes none.
        """
        self._path = path
        self._older = older_path(path)
        self._max_bytes = max_bytes
        self._waiting: deque[EpisodeRows] = deque(maxlen=MOST_WAITING)
        self._complained = False

    def __repr__(self) -> str:
        return f"<EpisodeTable {self._path}>"

    def add(self, rows: EpisodeRows) -> None:
        """Add N rows; `flush` writes them."""
        if not self._max_bytes:
            return
        self._waiting.append(rows)
        if len(self._waiting) == MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait; they go on waiting if the file cannot be written."""
        if not self._waiting:
            return
        try:
            self._rotate_if_full()
            self._append(_text(self._waiting))
        except OSError as error:
            if not self._complained:
                logger.warning(
                    "%s cannot be written: %s; its newest rows wait in memory",
                    self._path,
                    error.strerror or error,
                )
            self._complained = True
        else:
            self._waiting.clear()
            self._complained = False

    def _rotate_if_full(self) -> None:
        if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
            self._path.replace(self._older)

    def _append(self, text: str) -> None:
        size = self._path.stat().st_size if self._path.exists() else 0
        with self._path.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            try:
                if not size:
                    text = ",".join(COLUMNS) + "\n" + text
                file.write(text)
                file.flush()
            except OSError:
                # A full disk may have taken a part of a row.
                file.truncate(size)
                raise

    def drop_rows_beyond(self, numbers: Mapping[str, int], *, evaluations: int = 0) -> None:
        """Remove episodes that a run resumed from a checkpoint will live through again.

        Args:
            numbers: {policy: number of its last episode in the checkpoint}; all rows of any other
                policy are removed, and what a crash left of a last row.
            evaluations: of the checkpoint; rows of later ones are removed.

        Raises:
            ConfigError: a file cannot be read or written.
        """
        self._waiting.clear()
        for path in (self._older, self._path):
            try:
                if path.exists():
                    _keep(path, numbers, evaluations)
            except OSError as error:
                raise ConfigError(
                    f"{path} cannot be written: {error.strerror}; make room on the disk, or close "
                    "the program that has it open, before resuming"
                ) from error


def _text(waiting: Iterable[EpisodeRows]) -> str:
    """Returns all of these rows as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    for rows in waiting:
        columns = (
            itertools.repeat(rows.policy),
            itertools.count(rows.first_number),
            map(repr, rows.returns.tolist()),
            rows.lengths.tolist(),
            rows.endings.tolist(),
            rows.simulators.tolist(),
            itertools.repeat(rows.env_steps),
            itertools.repeat(f"{rows.wall_time:.3f}"),
            rows.statistics.tolist(),
            itertools.repeat("" if rows.evaluation is None else rows.evaluation),
        )
        # Not strict: five of the columns have no end.
        writer.writerows(zip(*columns, strict=False))
    return text.getvalue()


def statistics_cell(values: Mapping[str, float]) -> str:
    """Returns finite values by name as JSON, "" if there are none.

    Of very many the first, as far as they fit into LONGEST_CELL characters.
    """
    text = json.dumps(dict(values), ensure_ascii=False) if values else ""
    if len(text) <= LONGEST_CELL:
        return text
    # Each entry brings two brackets here, and in the whole a comma and a blank.
    lengths = (len(json.dumps({name: value}, ensure_ascii=False)) for name, value in values.items())
    fitting = sum(total <= LONGEST_CELL for total in itertools.accumulate(lengths))
    return json.dumps(dict(itertools.islice(values.items(), fitting)), ensure_ascii=False)


def older_path(path: Path) -> Path:
    """Returns where the older rows of the file at `path` are: episodes.1.csv of episodes.csv."""
    return path.with_name(f"{path.stem}.1{path.suffix}")


def read_episodes(path: Path) -> Iterator[Mapping[str, str]]:
    """Yields the whole rows of the file at `path` and of the older one, oldest first."""
    for each in (older_path(path), path):
        if each.exists():
            for cells in _whole_rows(each):
                yield dict(zip(COLUMNS, cells, strict=True))


def _keep(path: Path, numbers: Mapping[str, int], evaluations: int) -> None:
    """Rewrite a file without the rows beyond these numbers, if there are any."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in _whole_rows(path):
        is_of_evaluation = cells[-1].isdecimal()
        most = evaluations if is_of_evaluation else numbers.get(cells[0], 0)
        if int(cells[-1] if is_of_evaluation else cells[1]) <= most:
            writer.writerow(cells)
    if path.stat().st_size != len(text.getvalue().encode(errors="backslashreplace")):
        replace_file(path, text.getvalue().encode(errors="backslashreplace"))


def _whole_rows(path: Path) -> Iterator[list[str]]:
    text = path.read_bytes().decode(errors="replace")
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    # A file of an earlier version lacks the last columns.
    lacking = [""] * (len(COLUMNS) - len(next(lines, COLUMNS)))
    for cells in lines:
        if len(cells) + len(lacking) == len(COLUMNS) and cells[1].isdecimal():
            yield [*cells, *lacking]
