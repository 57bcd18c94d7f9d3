"""Follows the files of a run that another process appends to: metrics.csv, and lines of a log.

Each look costs what is new, but for a file that was written anew: then all of it is read again.
Whoever follows never locks and never writes.
"""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from entrain.metrics import EPISODES
from entrain.run.table import BEHAVIOUR, ENV_STEPS, KEYS, is_of_evaluation

MOST_AT_FIRST = 64 * 1024
"""Bytes of a log that are read at the first look."""

MOST_AT_ONCE = 1024 * 1024
"""Bytes of a log that are read at any other."""


class Tail:
    """Reads the lines appended to a file; one that is replaced or cut is read from its start."""

    def __init__(self, path: Path) -> None:
        """Follow the file at `path`, which need not be there yet."""
        self._path = path
        self._file: tuple[int, int] | None = None
        self.offset = 0
        """Bytes of it that were read."""
        self.is_anew = True
        """Whether the newest look began at the beginning."""

    def read(self, *, most: int | None = None) -> bytes:
        """Returns whole lines that are new; of more than `most` bytes the newest."""
        try:
            with self._path.open("rb") as file:
                return self._read(file, most)
        except OSError:
            self.is_anew = False
            return b""

    def _read(self, file: BinaryIO, most: int | None) -> bytes:
        about = os.fstat(file.fileno())
        identity = about.st_dev, about.st_ino
        self.is_anew = identity != self._file or about.st_size < self.offset
        if self.is_anew:
            self._file, self.offset = identity, 0
        skipped = 0 if most is None else max(0, about.st_size - self.offset - most)
        file.seek(self.offset + skipped)
        content = file.read() if most is None else file.read(most)
        end = content.rfind(b"\n") + 1
        self.offset += skipped + end
        begin = content.find(b"\n") + 1 if skipped else 0
        return content[min(begin, end) : end]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The row of an update in metrics.csv, and what came before it."""

    behaviour: str
    env_steps: int
    updates: int
    """Rows of the behaviour until then."""

    episodes: int
    """That ended until then."""

    values: Mapping[str, float]
    """{column: number}; columns that were not measured are left out."""


class MetricsTail:
    """The updates' rows of metrics.csv as they come."""

    def __init__(self, path: Path) -> None:
        """Follow the file at `path`."""
        self._tail = Tail(path)
        self._header: Sequence[str] = ()
        self._counts: dict[str, tuple[int, int]] = {}
        self._is_first = True
        self.went_back = False
        """Whether the newest look found fewer rows than before: the run was resumed from an older
        checkpoint."""

    def read(self) -> Sequence[Measured]:
        """Returns the new rows; at the first look, and after rows were lost, the last of each
        behaviour.
        """
        content = self._tail.read()
        known = dict(self._counts)
        if self._tail.is_anew:
            self._header, self._counts = (), {}
        rows: list[Measured] = []
        newest: dict[str, Measured] = {}
        for row in self._parsed(content):
            newest[row.behaviour] = row
            if not self._is_first and row.updates > known.get(row.behaviour, (0, 0))[0]:
                rows.append(row)
        self.went_back = self._tail.is_anew and any(
            self._counts.get(name, (0, 0))[0] < updates for name, (updates, _) in known.items()
        )
        is_summary = self._is_first or self.went_back
        self._is_first = self._is_first and not newest
        return list(newest.values()) if is_summary else rows

    def _parsed(self, content: bytes) -> Iterator[Measured]:
        lines = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
        for cells in _readable(lines):
            if not self._header:
                self._header = cells if tuple(cells[: len(KEYS)]) == KEYS else ("?",)
                continue
            row = dict(zip(self._header, cells, strict=False))
            try:
                name, env_steps = row[BEHAVIOUR], int(row[ENV_STEPS])
                values = {key: float(it) for key, it in row.items() if it and key not in KEYS}
            except (KeyError, ValueError):
                continue
            if is_of_evaluation(row):
                continue
            updates, episodes = self._counts.get(name, (0, 0))
            ended = values.get(EPISODES.name, 0.0)
            counts = updates + 1, episodes + (int(ended) if ended == ended else 0)  # noqa: PLR0124
            self._counts[name] = counts
            yield Measured(
                behaviour=name,
                env_steps=env_steps,
                updates=counts[0],
                episodes=counts[1],
                values=values,
            )


def _readable(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yields rows; those that are no CSV are left out."""
    while True:
        try:
            yield from lines
        except csv.Error:
            continue
        return


class AlarmTail:
    """Warnings and errors in log.txt as they come, as (level, message)."""

    def __init__(self, path: Path) -> None:
        """Follow the file at `path`."""
        self._tail = Tail(path)
        self._most = MOST_AT_FIRST

    def read(self) -> Sequence[tuple[str, str]]:
        """Returns the new ones."""
        content, self._most = self._tail.read(most=self._most), MOST_AT_ONCE
        found = []
        for line in content.decode(errors="replace").splitlines():
            # 2026-11-29T15:00:00.123Z WARN  words
            _, _, rest = line.partition(" ")
            level, _, words = rest.partition(" ")
            if level in {"WARN", "ERROR"}:
                found.append((level, words.strip()))
        return found
