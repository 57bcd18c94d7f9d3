"""Starts runs that are due, as many as there are places and ports, or finds that they live."""

import logging
from collections.abc import Callable, Sequence
from math import inf

from entrain.run.disk import remedy
from entrain.supervise import processes
from entrain.supervise.commands import Commands
from entrain.supervise.endings import Endings, stamp_of_summary
from entrain.supervise.ports import Ports
from entrain.supervise.processes import Living
from entrain.supervise.served_run import ServedRun

logger = logging.getLogger(__name__)

ELSEWHERE_S = 10.0
"""After which a folder that another trainer has is looked at again."""


class Starts:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        commands: Commands,
        endings: Endings,
        *,
        ports: Ports,
        page_ports: Ports | None = None,
        at_once: int,
        clock: Callable[[], float],
        save: Callable[[], None],
        start: Callable[..., Living] = processes.start,
    ) -> None:
        """Start nothing yet.

        Args:
            commands: that start runs.
            endings: decides about what cannot be started.
            ports: for simulators.
            page_ports: of the runs' own pages; None: any that are free.
            at_once: runs that may live at a time.
            clock: seconds that never jump.
            save: writes the records.
            start: starts a process.
        """
        self._commands = commands
        self._endings = endings
        self._ports = ports
        self._page_ports = page_ports
        self._at_once = at_once
        self._clock = clock
        self._save = save
        self._start = start
        self._mark = str(commands.runs_directory.absolute())

    def start_due(self, runs: Sequence[ServedRun]) -> None:
        """Start those of all `runs` that are due."""
        now_s = self._clock()
        living = [run for run in runs if run.living is not None]
        due = [run for run in runs if run.is_wanted and run.due_s <= now_s]
        # Whoever has waited longest is first, so that one that fails keeps no other from its turn.
        has_ports = True
        for run in sorted(due, key=lambda run: (run.record.ended, run.name)):
            run.waits_for = ""
            if self.adopt_holder(run, living):
                living.append(run)
            elif run.is_elsewhere:
                run.due_s = now_s + ELSEWHERE_S
            elif len(living) >= self._at_once:
                run.waits_for = f"a place: {self._at_once} at once (--at-once)"
            else:
                has_ports = has_ports and self._begin(run, living)
                if run.living is not None:
                    living.append(run)
                elif not has_ports:
                    run.waits_for = f"a port: none is free ({self._options()})"

    def adopt(self, run: ServedRun, living: Living) -> None:
        """From now on, this is the run's process."""
        run.living, run.since_s, run.asked_s = living, self._clock(), inf
        known = (run.record.process, run.record.began)
        if not run.record.is_starting and known != (living.pid, living.began):
            # Of one that somebody else started, what there is counts as an earlier process's.
            run.note_record(summary_stamp=stamp_of_summary(run))
        run.note_record(
            process=living.pid, began=living.began, is_own=living.is_own, is_starting=False
        )

    def adopt_holder(self, run: ServedRun, living: Sequence[ServedRun]) -> bool:
        """Whether a process has the run's folder already; it is the run's from now on.

        Args:
            run: that has no process.
            living: those that have one.
        """
        lock = run.folder.lock_file
        owner = processes.holder(lock)
        run.is_elsewhere = False
        if owner is None:
            return False
        found = processes.process_of(owner, lock, self._mark, is_own=run.record.is_starting)
        if found is None:
            run.is_elsewhere, run.waits_for = True, f"its folder, which {owner} has"
            return False
        for other in living:
            if other.living is not None and other.living.pid == found.pid:
                run.is_elsewhere = True
                run.waits_for = f"its folder, which is that of {other.name} too"
                return False
        self.adopt(run, found)
        return True

    def _begin(self, run: ServedRun, living: Sequence[ServedRun]) -> bool:
        """Start a run; False if no port is free, for this or any other."""
        if run.file is None:
            return True
        port = self._ports.free_one(
            self._commands.host,
            taken={each.record.port for each in living},
            before=run.record.port,
        )
        page_port = self._page_port(run, living)
        if port is None or page_port is None:
            return False
        # Written before: should this process be killed now, the next one knows whose run it was.
        run.note_record(
            port=port,
            page_port=page_port,
            is_starting=True,
            summary_stamp=stamp_of_summary(run),
        )
        self._save()
        try:
            config = run.config
            has_websocket = config is not None and config.server.websocket is not None
            command = self._commands.train(run.file, port, page_port, has_websocket=has_websocket)
            started = self._start(command, output=run.output, mark=self._mark)
        except OSError as error:
            why = f"it cannot be started: {error.strerror or error}; {remedy(error, run.output)}"
            self._endings.note_no_start(run, why)
            return True
        self.adopt(run, started)
        # Of what fails again and again, as seldom as its end is said.
        is_said = run.record.failures & (run.record.failures - 1) == 0
        dial = self._commands.to_dial(port)
        logger.log(
            logging.INFO if is_said else logging.DEBUG,
            "%s is started: process %d%s",
            run.name,
            started.pid,
            f", simulators dial {dial}" if dial else "",
        )
        return True

    def _page_port(self, run: ServedRun, living: Sequence[ServedRun]) -> int | None:
        """The port of a run's own page: 0 for any; None if there is none."""
        host = self._commands.page_host
        if self._page_ports is None or host is None:
            return 0
        taken = {each.record.page_port for each in living}
        return self._page_ports.free_one(host, taken=taken, before=run.record.page_port)

    def _options(self) -> str:
        pages = "" if self._page_ports is None else f", --page-ports {self._page_ports}"
        return f"--ports {self._ports}{pages}"
