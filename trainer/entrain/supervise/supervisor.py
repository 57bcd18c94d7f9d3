"""Keeps what lives equal to what should: starts, starts again, stops, and finds again.

One step after the other: what files are there, which processes have ended, which runs are due.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrain.supervise import processes
from entrain.supervise.commands import Commands, Reading
from entrain.supervise.endings import Endings
from entrain.supervise.files import Files, SettingsFile
from entrain.supervise.ports import Ports
from entrain.supervise.processes import Living
from entrain.supervise.records import Record, RecordFile
from entrain.supervise.served_run import ServedRun
from entrain.supervise.starts import Starts

logger = logging.getLogger(__name__)

SHUTDOWN_S = 10.0
"""What ended as asked this short before the supervisor is stopped was stopped with it."""

KILLED_S = 5.0
"""How long a killed process may take to be gone."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How runs are treated."""

    ports: Ports
    at_once: int
    """Runs that live at a time."""

    page_ports: Ports | None = None
    """Of the runs' own pages; None: any that are free."""

    restarts: bool = True
    """Whether one that died is started again."""

    stop_s: float = 120.0
    """In which a run may save and end before it is killed."""


class Supervisor:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        directory: Files,
        records: RecordFile,
        commands: Commands,
        rules: Rules,
        *,
        output: Path,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[..., Living] = processes.start,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            directory: of the files.
            records: what is remembered.
            commands: what files ask for.
            rules: how runs are treated.
            output: folder for what runs print.
            clock: seconds that never jump.
            start: starts a process.
        """
        self._directory = directory
        self._records = records
        self._commands = commands
        self._rules = rules
        self._output = output
        self._clock = clock
        self._endings = Endings(clock, restarts=rules.restarts)
        self._starts = Starts(
            commands,
            self._endings,
            ports=rules.ports,
            page_ports=rules.page_ports,
            at_once=rules.at_once,
            clock=clock,
            save=self.save,
            start=start,
        )
        self.runs: dict[str, ServedRun] = {}
        """By name."""
        self.can_read = False
        """Whether the directory could be read at the last look."""
        self._complaint = ""

    def find_again(self) -> None:
        """Take up what is remembered, and what lives of it. ConfigError: see `RecordFile.load`."""
        for name, record in self._records.load().items():
            run = self._new(name, record)
            living = processes.found_again(record.process, record.began)
            if living is not None:
                self._starts.adopt(run, living)
            else:
                self._starts.adopt_holder(run, self.living)
            if run.living is not None:
                logger.info("%s lives on as process %d", name, run.living.pid)
            self._endings.number = max(self._endings.number, record.ended)

    async def step(self) -> None:
        """Bring everything up to date once."""
        await self._look()
        self._note_ends()
        for run in self.living:
            if self._clock() - run.asked_s > self._rules.stop_s:
                self._kill(run)
        self._starts.start_due(list(self.runs.values()))
        self.save()

    def save(self) -> None:
        """Write what is to be remembered."""
        now_s = self._clock()
        for run in self.runs.values():
            state = run.state(now_s)
            dial = "" if run.living is None else self._commands.to_dial(run.record.port)
            shown = (state, run.says(state), dial)
            if shown != (run.record.state, run.record.says, run.record.dial):
                run.note_record(state=state, says=run.says(state), dial=dial)
        self._records.save({name: run.record for name, run in self.runs.items()})

    @property
    def living(self) -> Sequence[ServedRun]:
        """The runs that have a process."""
        return [run for run in self.runs.values() if run.living is not None]

    # Files

    async def _look(self) -> None:
        try:
            files = await asyncio.to_thread(self._directory.look)
        except OSError as error:
            self.can_read = False
            reason = f"{error.strerror or error}; runs go on as they are until it can"
            self._complain(f"{self._directory.path} cannot be read: {reason}")
            return
        if self._complaint:
            logger.info("%s can be read again", self._directory.path)
        self.can_read, self._complaint = True, ""
        changed = [file for file in files.values() if self._is_news(file)]
        readings = await asyncio.to_thread(self._commands.read_all, changed)
        for file, reading in zip(changed, readings, strict=True):
            self._take(file, reading)
        self._remove_what_is_gone(files)

    def _complain(self, words: str) -> None:
        if words != self._complaint:
            logger.error("%s", words)
        self._complaint = words

    def _is_news(self, file: SettingsFile) -> bool:
        run = self.runs.get(file.name)
        return run is None or run.file != file

    def _take(self, file: SettingsFile, reading: Reading) -> None:
        run = self.runs.get(file.name) or self._new(file.name, Record(name=file.name))
        stamp = "-".join(map(str, file.stamp))
        run.file, run.config, run.problem = file, reading.config, reading.problem
        run.note = reading.note
        if stamp != run.record.stamp:
            run.note_record(stamp=stamp, rest="", failures=0)
            run.due_s = -float("inf")
        if reading.problem:
            logger.error("%s", reading.problem)
        elif reading.note and run.living is not None:
            logger.warning("%s goes on as it is: %s", run.name, reading.note)

    def _new(self, name: str, record: Record) -> ServedRun:
        output = self._output / f"{name}.txt"
        run = ServedRun(name, self._commands.folder(name), output, record)
        self.runs[name] = run
        return run

    def _remove_what_is_gone(self, files: Mapping[str, SettingsFile]) -> None:
        for run in list(self.runs.values()):
            if run.name in files:
                continue
            if run.file is not None or not run.record.rest:
                self._remove(run)
            if run.living is None and not run.folder.path.exists():
                # Nothing is left of it.
                del self.runs[run.name]

    def _remove(self, run: ServedRun) -> None:
        run.file, run.config, run.problem, run.note = None, None, "", ""
        # The same file may come back, and is news then.
        run.note_record(stamp="")
        if run.living is None:
            run.note_record(rest="removed")
        elif run.living.is_own and not run.is_stopping:
            logger.info("the file of %s is gone: the run saves and stops", run.name)
            self._ask_to_end(run)

    # Ends

    def _ask_to_end(self, run: ServedRun) -> None:
        if run.living is not None:
            run.asked_s = self._clock()
            run.living.ask_to_end()

    def _note_ends(self) -> None:
        for run in self.living:
            if run.living is not None and run.living.has_ended:
                self._endings.note(run, run.living)
            else:
                processes.bound_output(run.output)

    def _kill(self, run: ServedRun) -> None:
        run.asked_s = self._clock()
        logger.error(
            "%s did not save and end within %.0f s: it is killed, and goes on from its newest "
            "checkpoint",
            run.name,
            self._rules.stop_s,
        )
        if run.living is not None:
            run.living.kill()

    async def stop(self, *, every_s: float, beat: Callable[[], None] = lambda: None) -> None:
        """Have all runs save and end, and wait for them; then nothing is to be done any more.

        Args:
            every_s: between two looks.
            beat: called with every look.
        """
        for run in self.runs.values():
            if run.record.rest == "stopped" and self._clock() - run.ended_s < SHUTDOWN_S:
                run.note_record(rest="")
        own = [run for run in self.living if run.living is not None and run.living.is_own]
        for run in own:
            self._ask_to_end(run)
        await self._ended(own, self._rules.stop_s, every_s, beat)
        late = [run for run in own if run.living is not None]
        for run in late:
            self._kill(run)
        await self._ended(late, KILLED_S, every_s, beat)
        self.save()

    async def _ended(
        self, runs: Sequence[ServedRun], within_s: float, every_s: float, beat: Callable[[], None]
    ) -> None:
        deadline_s = self._clock() + within_s
        self._note_ends()
        while any(run.living is not None for run in runs) and self._clock() < deadline_s:
            beat()
            await asyncio.sleep(every_s)
            self._note_ends()
