"""Deletes old runs that have ended, so that a directory of runs does not fill its disk.

A run is deleted only if it is completed, or its file was removed; only a folder right inside the
folder of runs, and no link; only with its lock, which no trainer has then; and said before.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrain.errors import EntrainError
from entrain.run.lock import RunLock
from entrain.supervise.served_run import ServedRun

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on ended runs and on the space that runs take."""

    keep_last: int | None = None
    """Ended runs; None: all."""

    quota_bytes: int | None = None
    """Of the folder of runs; None: what the disk has."""


def may_be_deleted(run: ServedRun) -> bool:
    """Whether a run is over for good."""
    is_over = run.file is None or run.record.rest == "completed"
    return is_over and run.living is None and run.record.rest != "deleted" and run.record.ended > 0


def too_many(runs: Sequence[ServedRun], keep_last: int | None) -> Sequence[ServedRun]:
    """Returns those of `runs` that are beyond the newest `keep_last` that have ended."""
    ended = sorted(filter(may_be_deleted, runs), key=lambda run: -run.record.ended)
    return [] if keep_last is None else ended[keep_last:]


def size_of(path: Path) -> int:
    """Returns the bytes on the disk of all files in a folder; links count as what they are."""
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            try:
                about = (Path(place) / name).lstat()
            except OSError:
                continue
            total += about.st_blocks * 512 if hasattr(about, "st_blocks") else about.st_size
    return total


def delete(path: Path, inside: Path, why: str) -> str:
    """Delete the folder of a run; returns why it was not, or "" if it is gone.

    Args:
        path: of the run.
        inside: the folder of runs.
        why: for the log.
    """
    problem = _problem(path, inside)
    if problem:
        return problem
    try:
        with RunLock(path / "run.lock"):
            logger.warning("%s is deleted: %s", path, why)
            shutil.rmtree(path)
    except EntrainError as error:
        return str(error)
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def _problem(path: Path, inside: Path) -> str:
    if path.is_symlink():
        return "it is a link, and what it leads to is not this directory's"
    try:
        is_inside = path.resolve(strict=True).parent == inside.resolve(strict=True)
    except OSError as error:
        return f"{error.strerror or error}"
    if not is_inside or not path.is_dir():
        return f"it is no folder in {inside}"
    if not any((path / name).exists() for name in ("config.yaml", "checkpoints")):
        return "it is no run folder: it has no config.yaml and no checkpoints"
    return ""


class Cleaner:
    """Applies limits now and then. `clean` runs in a thread of its own, one at a time."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        """Delete nothing yet; `directory` is the folder of runs."""
        self._directory = directory
        self._limits = limits
        self._complaint = ""
        self._refused: set[str] = set()

    @property
    def is_needed(self) -> bool:
        """Whether there are any limits."""
        return self._limits.keep_last is not None or self._limits.quota_bytes is not None

    def clean(self, runs: Sequence[ServedRun]) -> Sequence[ServedRun]:
        """Delete what is too much; returns what was deleted.

        Args:
            runs: all of them; those that may be deleted must not be started meanwhile.
        """
        kept = self._limits.keep_last
        deleted = [
            run
            for run in too_many(runs, kept)
            if self._delete(run, f"of the runs that have ended, the newest {kept} are kept")
        ]
        quota = self._limits.quota_bytes
        if quota is not None:
            deleted += self._clean_quota([run for run in runs if run not in deleted], quota)
        return deleted

    def _clean_quota(self, runs: Sequence[ServedRun], quota: int) -> Sequence[ServedRun]:
        size, deleted = size_of(self._directory), []
        for run in sorted(filter(may_be_deleted, runs), key=lambda run: run.record.ended):
            if size <= quota:
                break
            its_size = size_of(run.folder.path)
            why = f"the runs take {_mib(size)}, more than the quota of {_mib(quota)}"
            if self._delete(run, why):
                deleted.append(run)
                size -= its_size
        self._complain(size, quota)
        return deleted

    def _complain(self, size: int, quota: int) -> None:
        words = ""
        if size > quota:
            words = (
                f"{self._directory} takes more than the quota of {_mib(quota)} (--quota-gib), and "
                "nothing in it has ended that could be deleted"
            )
        if words and words != self._complaint:
            logger.warning("%s", words)
        self._complaint = words

    def _delete(self, run: ServedRun, why: str) -> bool:
        problem = delete(run.folder.path, self._directory, why)
        if problem and run.name not in self._refused:
            self._refused.add(run.name)
            logger.warning("%s is not deleted: %s", run.folder.path, problem)
        return not problem


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
