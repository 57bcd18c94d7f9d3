"""history.jsonl: when a run began and ended, and what was asked of it from outside, a line each.

{"time": "2026-11-29T15:00:00Z", "what": "changed", "settings": [...], "updates": {...}}
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from entrain.errors import EntrainError
from entrain_envs.log_lines import utc

logger = logging.getLogger(__name__)

MOST_BYTES = 4 * 2**20
"""Of the file before it becomes history.1.jsonl, in place of the one before."""

MOST_WORDS = 2000


class History:
    """Appends to the history of one run. Owned by the process that holds the run's lock."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        """Append to the file at `path`; `clock` gives seconds since 1970."""
        self._path = path
        self._clock = clock

    def note(self, what: str, **facts: object) -> None:
        """Append one line. A disk that refuses is logged."""
        line = {"time": f"{utc(self._clock())[:19]}Z", "what": what, **facts}
        try:
            if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
                self._path.replace(self._path.with_name("history.1.jsonl"))
            with self._path.open("ab+") as file:
                # A crash may have cut the last line short.
                if not _ends_line(file):
                    file.write(b"\n")
                file.write(json.dumps(line, default=str).encode() + b"\n")
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error.strerror or error)

    @contextmanager
    def sitting(self, env_steps: Callable[[], int]) -> Iterator[None]:
        """Note that a trainer begins, and an error that ends it; a good end is the caller's.

        Args:
            env_steps: returns how many there are by then.
        """
        self.note("began", pid=os.getpid())
        try:
            yield
        except Exception as error:
            code = error.exit_code if isinstance(error, EntrainError) else EntrainError.exit_code
            why = str(error)[:MOST_WORDS]
            self.note("ended", outcome="failed", exit_code=code, why=why, env_steps=env_steps())
            raise


def read_history(path: Path) -> Sequence[Mapping[str, Any]]:
    """Returns what is in the file, oldest first; lines that are damaged are left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("what"), str):
            found.append(entry)
    return found


def _ends_line(file: BinaryIO) -> bool:
    """Whether the file is empty, or ends with a whole line."""
    if not file.seek(0, os.SEEK_END):
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
