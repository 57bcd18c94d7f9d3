"""Starts the simulators that a run's configuration names, restarts and ends them.

A simulator's environment tells it what to do: ENTRAIN_ADDRESS (where to connect),
ENTRAIN_SIMULATOR (its name) and ENTRAIN_RECONNECT_S=0 (end with this trainer instead of waiting for
the next one). Its output goes to a file of its own. Nothing here knows of sessions or training.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from entrain.app.launch_plan import Simulator
from entrain.app.process_groups import all_ended, end_of, is_alive, may_be_killed, tell
from entrain.app.restarts import Again, CrashRestarts, Exit, Finished, Restarts
from entrain.app.simulator_lines import SimulatorLines
from entrain.errors import ConfigError
from entrain.run.disk import remedy
from entrain_envs.exit_codes import SUCCESS

logger = logging.getLogger(__name__)

TLS_CA = "ENTRAIN_TLS_CA"
"""Environment variable with the certificate authority that simulators trust."""

LARGEST_CODE = 0xFFFF
"""Exit codes that programs choose are smaller."""


class Launcher:
    """Keeps the planned simulators running until `start_no_more`. Owned by the event loop.

    Whether one that ended is started again is decided by its `Restarts`.
    """

    def __init__(
        self,
        simulators: Sequence[Simulator],
        *,
        environment: Mapping[str, str],
        environment_of: Callable[[str], Mapping[str, str]] = lambda _: {},
        restart_pause_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet.

        Args:
            simulators: to start.
            environment: variables for all of them.
            environment_of: variables for the one of a given name.
            restart_pause_s: after a first crash, where `CrashRestarts` decide.
            clock: in seconds.
        """
        self._simulators = list(simulators)
        self.environment = environment
        self._environment_of = environment_of
        self._restart_pause_s = restart_pause_s
        self._clock = clock
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._needed: list[asyncio.Task[None]] = []
        """The watchers of simulators without which the run cannot go on."""
        self.on_end: Callable[[str], None] = _nothing
        """Called with the name of each simulator whose process has ended."""
        self._last_failure = ""
        self._kills: dict[str, str] = {}
        self._lines = SimulatorLines([])
        self._following: asyncio.Task[None] | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether there were simulators that are needed and all of them have ended for good."""
        return bool(self._needed) and all(watcher.done() for watcher in self._needed)

    @property
    def names(self) -> Sequence[str]:
        """The name that each simulator that is needed is given."""
        return [simulator.name for simulator in self._simulators if simulator.is_needed]

    @property
    def logs(self) -> Sequence[Path]:
        """The file of each simulator that says most."""
        return [simulator.telling_log for simulator in self._simulators]

    @property
    def last_words(self) -> str:
        """The end of a message: how the latest simulator failed; "" if none did."""
        return f". {self._last_failure}" if self._last_failure else ""

    def add(self, simulators: Sequence[Simulator]) -> None:
        """Start these too; not after `start`."""
        self._simulators += simulators

    async def start(self) -> None:
        """Start every simulator; ConfigError if a command cannot be run."""
        self._lines = SimulatorLines([simulator.log for simulator in self._simulators])
        for simulator in self._simulators:
            await self._start(simulator)
            watcher = asyncio.create_task(self._watch(simulator))
            self._watchers.append(watcher)
            if simulator.is_needed:
                self._needed.append(watcher)
        if self._simulators:
            self._following = asyncio.create_task(self._lines.follow())

    async def start_no_more(self) -> None:
        """Start none again: the run is over, and simulators that are told so end by themselves."""
        await _cancelled(self._watchers)

    async def stop(self, *, grace_s: float = 0.0, patience_s: float = 5.0) -> None:
        """End the simulators that still run.

        Args:
            grace_s: in which they may end by themselves: they have been told that the run is over,
                and may be closing windows and files.
            patience_s: after which those that were asked to end (SIGTERM) are killed.
        """
        await self.start_no_more()
        await _cancelled([self._following] if self._following else [])
        self._lines.look()
        await all_ended(list(self._processes.values()), within_s=grace_s)
        processes = [p for p in self._processes.values() if tell(p, kill=False)]
        await all_ended(processes, within_s=patience_s)
        for process in processes:
            if tell(process, kill=True):
                logger.warning("simulator process %d does not end; it is killed", process.pid)
            await process.wait()

    def kill(self) -> None:
        """Kill the simulators that still run, without waiting: the trainer itself ends at once."""
        for process in self._processes.values():
            tell(process, kill=True)

    def is_running(self, name: str) -> bool:
        """Returns whether the simulator of that name was started and its process has not ended."""
        process = self._processes.get(name)
        return process is not None and process.returncode is None

    def end(self, name: str, because: str) -> None:
        """Kill one simulator; whether it is started again is decided as after a crash.

        Args:
            name: of a simulator that runs.
            because: for the log; follows "was killed: ".
        """
        self._kills[name] = because
        tell(self._processes[name], kill=True)

    async def _start(self, simulator: Simulator) -> None:
        if simulator.own_log is not None:
            _set_aside(simulator.own_log)
        with _opened(simulator.log) as log:
            try:
                self._processes[simulator.name] = await asyncio.create_subprocess_exec(
                    *simulator.command,
                    stdin=subprocess.PIPE if simulator.stdin else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._process_environment(simulator),
                    # Ctrl+C in the terminal reaches only the trainer, which ends simulators itself.
                    start_new_session=os.name == "posix",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                raise ConfigError(_cannot_run(simulator.command[0], error)) from None
        logger.info("started %s: %s", simulator.name, shlex.join(simulator.command))
        await _feed(self._processes[simulator.name], simulator.stdin)

    def _process_environment(self, simulator: Simulator) -> dict[str, str]:
        # entrain-env is installed beside the interpreter, which need not be on the PATH.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {
            **os.environ,
            "PATH": path,
            "ENTRAIN_SIMULATOR": simulator.name,
            "ENTRAIN_RECONNECT_S": "0",
            **self.environment,
            **simulator.variables,
            **self._environment_of(simulator.name),
        }

    async def _watch(self, simulator: Simulator) -> None:
        restarts = (simulator.restarts or self._crash_restarts)()
        while True:
            process, began_s = self._processes[simulator.name], self._clock()
            code = await process.wait()
            self.on_end(simulator.name)
            now_s = self._clock()
            ending = self._ending_of(simulator.name, code)
            words = simulator.words()
            told = f"{ending}{_quoted(words)}"
            decision = restarts.after(Exit(code, now_s - began_s, now_s, told))
            if isinstance(decision, Finished):
                self._finish(simulator.name, process)
                return
            if code == SUCCESS:
                # A script may leave the game behind that it started.
                await end_of(process)
            # A process that a wrapper script left behind must not run beside the next one.
            tell(process, kill=True)
            self._last_failure = told
            if not isinstance(decision, Again):
                ending = f"{ending} {decision.why}"
            level = logging.WARNING if isinstance(decision, Again) else logging.ERROR
            log = simulator.telling_log
            logger.log(level, "%s%s", ending, _quoted(words, log))
            if not isinstance(decision, Again):
                return
            await asyncio.sleep(decision.pause_s)
            await self._start(simulator)

    def _crash_restarts(self) -> Restarts:
        return CrashRestarts(self._restart_pause_s)

    def _ending_of(self, name: str, code: int) -> str:
        because = self._kills.pop(name, None)
        if because is None or not may_be_killed(code):
            return f"{name} ended with {_describe(code)}"
        return f"{name} was killed: {because}"

    def _finish(self, name: str, process: asyncio.subprocess.Process) -> None:
        logger.info("%s has ended", name)
        if not is_alive(process):
            # Days later its process id may be another program's, which `stop` must not end.
            del self._processes[name]


async def _cancelled(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    """Write to its standard input, and close that; one that ends before it has read all may."""
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        process.stdin.write(content)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


def _opened(path: Path) -> BinaryIO:
    """Returns the file for a simulator's output; if the disk refuses it, one that drops it all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        logger.warning(
            "%s cannot be written, and what its simulator prints is dropped: %s; %s",
            path,
            error.strerror,
            remedy(error, path),
        )
        return Path(os.devnull).open("ab")


def _set_aside(path: Path) -> None:
    """Keep the file of a process before: the next one writes it anew."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.replace(path.with_name(f"{path.stem}-prev{path.suffix}"))


def _cannot_run(program: str, error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        advice = "it was built for another system or processor, or is a script without #! line"
    elif error.errno == errno.EACCES and Path(program).is_file():
        advice = f"allow it with: chmod +x {shlex.quote(program)}"
    else:
        advice = "give a program that is on the PATH, or its path, in simulators.launch"
    return f"cannot run '{program}' ({error.strerror or error}); {advice}"


def _nothing(name: str) -> None:
    pass


def _quoted(words: str, log: Path | None = None) -> str:
    """The end of a sentence that says how a simulator ended."""
    where = f" in {log}" if log is not None else ""
    return f"; its last words{where}: {words}" if words else f"; it wrote nothing{where}"


def _describe(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    if code > LARGEST_CODE:
        # What Windows says of a crash is known by this form: 0xC0000005 is an access violation.
        return f"exit code 0x{code:08X}"
    return f"exit code {code}"
