"""A supervisor's memory of its runs from one start to the next: one small JSON file.

    {"version": 1, "runs": {"walk": {"file": "walk.yaml", "port": 50100, "process": 4711, ...}}}

It is replaced in one step, so that a crash leaves the old one or the new one. What a run is, and
whether it lives, is in the run's own folder: without this file no run is lost or doubled.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from entrain.errors import ConfigError
from entrain.run.disk import remedy
from entrain.run.durable import replace_file

logger = logging.getLogger(__name__)

VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run."""

    name: str

    stamp: str = ""
    """Of the file when it was read last: an other one means that the file was changed."""

    port: int = 0
    """That simulators dial, by the newest start; 0 before the first."""

    page_port: int = 0
    """Of its own page, by that start; 0: any free one."""

    process: int = 0
    """Id of the process that was started; 0 if none is."""

    began: str = ""
    """When that process began, by the machine's ticks: process ids are used again."""

    is_starting: bool = False
    """Whether a process is about to be started, of which nothing is known yet."""

    summary_stamp: int = 0
    """Of summary.json right before that process began: another one is of this process."""

    is_own: bool = False
    """Whether the process that lives was started by a supervisor, and not by hand."""

    rest: str = ""
    """completed, stopped, given up, removed or deleted: why it is not started; "" if it is."""

    words: str = ""
    """What was said of its last end."""

    code: int | None = None
    """Its last exit code, where that is known."""

    failures: int = 0
    """In a row."""

    restarts: int = 0
    """In all."""

    state: str = ""
    """How it stood when this was written, for `entrain list`."""

    says: str = ""
    """Why, in words."""

    dial: str = ""
    """That its simulators dial, if it lived."""

    ended: int = 0
    """Grows with every end of a run, of whichever; 0 before its first. Not a time: clocks jump."""


_KINDS: Final[Mapping[str, Any]] = {
    "name": str, "stamp": str, "port": int, "page_port": int, "process": int, "began": str,
    "is_starting": bool, "is_own": bool, "rest": str, "words": str, "code": (int, type(None)),
    "failures": int, "restarts": int, "ended": int, "state": str, "says": str, "dial": str,
    "summary_stamp": int,
}  # fmt: skip


class RecordFile:
    """The file. Owned by the supervisor that has the lock; others only read."""

    def __init__(self, path: Path) -> None:
        """At this path, whether it exists or not."""
        self._path = path
        self._written: Mapping[str, Record] = {}
        self._has_complained = False

    def load(self, *, sets_aside: bool = True) -> Mapping[str, Record]:
        """Returns {name: record}; nothing where there is no file.

        Args:
            sets_aside: move a damaged file aside, so that a new one does not replace it.

        Raises:
            ConfigError: it is of another version, or cannot be read.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._path} cannot be read: {error}") from None
        try:
            kept = json.loads(text)
            version = kept["version"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._damaged("it is no JSON of a supervisor", sets_aside=sets_aside)
        if version != VERSION:
            raise ConfigError(
                f"{self._path} has version {str(version)[:20]}, and this entrain reads and writes "
                f"version {VERSION}: serve the directory with the entrain that wrote it, or move "
                "the file away; runs that live are found again without it"
            )
        try:
            return {name: _record(name, about) for name, about in kept["runs"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self._damaged(str(error), sets_aside=sets_aside)

    def _damaged(self, why: str, *, sets_aside: bool) -> Mapping[str, Record]:
        aside = self._path.with_name(f"{self._path.name}.damaged")
        if sets_aside:
            try:
                self._path.replace(aside)
            except OSError as error:
                raise ConfigError(
                    f"{self._path} is damaged and cannot be moved aside: {error}"
                ) from None
            logger.warning(
                "%s is damaged (%s): it is kept as %s, and runs are found by their folders",
                self._path,
                why[:200],
                aside,
            )
        return {}

    def save(self, records: Mapping[str, Record]) -> None:
        """Write them, unless the file says the same. A disk that refuses is said once."""
        if records == self._written:
            return
        runs = {name: _short(record) for name, record in sorted(records.items())}
        text = json.dumps({"version": VERSION, "runs": runs}) + "\n"
        try:
            self._path.parent.mkdir(exist_ok=True)
            replace_file(self._path, text)
        except OSError as error:
            if not self._has_complained:
                reason = f"{error.strerror or error}; {remedy(error, self._path)}"
                logger.warning(
                    "%s cannot be written: %s; runs go on, and it is tried again",
                    self._path,
                    reason,
                )
            self._has_complained = True
        else:
            if self._has_complained:
                logger.info("%s is written again", self._path)
            self._written, self._has_complained = dict(records), False


def _short(record: Record) -> Mapping[str, object]:
    return {name: value for name, value in vars(record).items() if name != "name"}


def _record(name: str, about: Any) -> Record:
    """Fields that are not there have their defaults; those that nobody knows are left out."""
    values = {field.name: about[field.name] for field in fields(Record) if field.name in about}
    values["name"] = name
    for field, kind in _KINDS.items():
        if field in values and not isinstance(values[field], kind):
            raise ValueError(f"{field} of '{name[:50]}' is {str(values[field])[:50]}")
    return Record(**values)
