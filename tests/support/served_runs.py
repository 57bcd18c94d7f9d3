"""Supervisors over runs whose processes are made up, with a clock that a test sets."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome, RunSummary
from entrain.supervise.commands import Commands
from entrain.supervise.files import Directory
from entrain.supervise.places import Places
from entrain.supervise.ports import Ports
from entrain.supervise.processes import Living
from entrain.supervise.records import RecordFile
from entrain.supervise.served_run import ServedRun
from entrain.supervise.supervisor import Rules, Supervisor


class MadeUp(Living):
    """A process that ends when a test says so."""

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__(4711, "1", is_own=True)
        self.command = command
        self.ended_with: int | None = None
        self.asked = 0
        self.killed = 0
        self.saves_at_once = True

    @property
    def has_ended(self) -> bool:
        return self.ended_with is not None

    @property
    def code(self) -> int | None:
        return self.ended_with

    def ask_to_end(self) -> None:
        self.asked += 1
        if self.saves_at_once:
            self.ended_with = 0

    def kill(self) -> None:
        self.killed += 1
        self.ended_with = -9


class FoundAgain(MadeUp):
    """One that another supervisor started: its exit code is not known."""

    @property
    def code(self) -> int | None:
        return None


class World:
    """A directory, its supervisor, and what it started."""

    def __init__(self, folder: Path, *, page_host: str | None = None, **rules: Any) -> None:
        self.directory = folder / "lab"
        self.directory.mkdir(exist_ok=True)
        self.places = Places(self.directory)
        self.places.make()
        self.now_s = 1000.0
        self.started: list[MadeUp] = []
        self.refuses: OSError | None = None
        self._page_host = page_host
        self._rules = Rules(
            **{"ports": Ports(61000, 61099), "at_once": 100, "stop_s": 30.0, **rules}
        )
        self.begin_anew()

    def begin_anew(self) -> None:
        """As after kill -9 of the supervisor."""
        self.supervisor = Supervisor(
            Directory(self.directory),
            RecordFile(self.places.state),
            Commands(self.places.runs_directory, host="localhost", page_host=self._page_host),
            self._rules,
            output=self.places.output,
            clock=lambda: self.now_s,
            start=self._start,
        )
        self.supervisor.find_again()

    def _start(self, command: Sequence[str], *, output: Path, mark: str) -> Living:
        if self.refuses is not None:
            raise self.refuses
        self.started.append(MadeUp(command))
        return self.started[-1]

    def write(self, name: str, text: str = "seed: 1\n") -> Path:
        """A settings file."""
        path = self.directory / f"{name}.yaml"
        path.write_text(text)
        return path

    async def steps(self, count: int = 2, *, seconds: float = 0.0) -> None:
        """So many steps, with that time before each."""
        for _ in range(count):
            self.now_s += seconds
            await self.supervisor.step()

    def run(self, name: str) -> ServedRun:
        return self.supervisor.runs[name]

    def run_folder(self, name: str) -> RunFolder:
        """The folder of a run, which is made."""
        folder = self.supervisor._commands.folder(name)
        folder.path.mkdir(parents=True, exist_ok=True)
        return folder

    def process(self, name: str) -> MadeUp:
        living = self.run(name).living
        assert isinstance(living, MadeUp)
        return living

    def state(self, name: str) -> str:
        return self.run(name).state(self.now_s)

    def end(self, name: str, code: int, outcome: Outcome | None = None) -> None:
        """Have its process end, after it wrote a summary."""
        if outcome is not None:
            folder = self.run(name).folder
            folder.path.mkdir(parents=True, exist_ok=True)
            save_summary(folder.summary, outcome)
        self.process(name).ended_with = code


def save_summary(path: Path, outcome: Outcome) -> None:
    """Of a run without policies."""
    RunSummary(
        name=path.parent.name,
        outcome=outcome,
        started_at=1000.0,
        ended_at=2000.0,
        seconds=4.0,
        simulators=(),
        software=(),
        policies={},
        counters={},
    ).save(path)


STAND_IN = Path(__file__).parent / "stand_in_trainer.py"
"""A program that takes the words of `entrain train`, has a run's lock and trains nothing."""


def stand_in(*arguments: str) -> "subprocess.Popen[bytes]":
    """It, started by hand."""
    return subprocess.Popen([sys.executable, str(STAND_IN), *arguments])
