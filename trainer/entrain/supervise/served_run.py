"""One run of a directory: its file, its folder, what is remembered of it, and its process."""

from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.supervise.files import SettingsFile
from entrain.supervise.processes import Living
from entrain.supervise.records import Record

STATES = (
    "running",
    "ending",
    "starting",
    "stopping",
    "waiting",
    "failed",
    "wrong file",
    "given up",
    "elsewhere",
    "stopped",
    "completed",
    "removed",
    "deleted",
)
"""What a run may be. failed: its process ended, and it is started again after a pause."""


@dataclass
class ServedRun:
    """See the module. Owned by the event loop."""

    name: str
    folder: RunFolder
    output: Path
    """File of what its process prints."""

    record: Record
    file: SettingsFile | None = None
    """None: it was removed from the directory."""

    config: RunConfig | None = None
    """What the file says; None if there is no file, or a wrong one."""

    problem: str = ""
    """What is wrong with the file."""

    note: str = ""
    """What a changed file says that does not count."""

    living: Living | None = None
    since_s: float = 0.0
    """When its process was started or found, by the supervisor's clock."""

    due_s: float = -inf
    """Not started before."""

    asked_s: float = field(default=inf)
    """When its process was asked to end."""

    waits_for: str = ""
    """What keeps it from being started, in words."""

    ended_s: float = -inf
    """When its process ended last, by that clock."""

    is_elsewhere: bool = False
    """Whether a trainer of another machine has its folder."""

    is_being_deleted: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether it should live now, but for pauses and places."""
        return (
            self.living is None
            and self.config is not None
            and not self.record.rest
            and not self.is_being_deleted
        )

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to end."""
        return self.asked_s != inf

    def note_record(self, **changed: Any) -> None:
        """Remember something else of it."""
        self.record = replace(self.record, **changed)

    def state(self, now_s: float) -> str:
        """One of `STATES`; of one that lives it is for its folder to say more."""
        if self.living is not None:
            return "stopping" if self.is_stopping else "running"
        if self.file is None:
            return "deleted" if self.record.rest == "deleted" else "removed"
        if self.problem:
            return "wrong file"
        if self.record.rest:
            return self.record.rest
        if self.is_elsewhere:
            return "elsewhere"
        return "failed" if self.due_s > now_s else "waiting"

    def says(self, state: str) -> str:
        """Why it is in that state, in words for people; "" if there is nothing to say."""
        if state == "wrong file":
            return self.problem
        if state in {"waiting", "elsewhere"}:
            return f"waits for {self.waits_for}" if self.waits_for else ""
        if state in {"failed", "given up", "stopped"}:
            return self.record.words
        return self.note
