"""Starts the simulators that a run's configuration names, restarts and ends them.

A simulator's environment tells it what to do: ENTRAIN_ADDRESS (where to connect),
ENTRAIN_SIMULATOR (its name) and ENTRAIN_RECONNECT_S=0 (end with this trainer instead of waiting for
the next one). Its output goes to a file of its own. Nothing here knows of sessions or training.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from entrain.app.simulator_lines import SimulatorLines
from entrain.config.run import LaunchConfig
from entrain.errors import ConfigError
from entrain.run.disk import remedy
from entrain_envs.exit_codes import MISFIT, SUCCESS, USAGE

logger = logging.getLogger(__name__)

MAX_RESTARTS = 5
"""Restarts of one simulator that keeps crashing; then it is not started again."""

RELIABLE_S = 60.0
"""After running for this long, a simulator's count of crashes begins anew."""

START_S = 10.0
"""A simulator that fails twice in the same words within this long has not begun to simulate."""

SHELL_CODES = (126, 127)
"""Exit codes by which a shell says that the program is not executable, or not there."""

TAIL_BYTES = 64 * 1024
"""Length of the end of a log in which its last line is looked for."""

LOOK_S = 0.05
"""Time between two looks whether the processes that a simulator started have ended."""


@dataclass(frozen=True)
class Simulator:
    """One process to start."""

    name: str
    command: tuple[str, ...]
    log: Path


def plan(launch: Sequence[LaunchConfig], *, address: str, logs: Path) -> tuple[Simulator, ...]:
    """Returns the processes that `launch` asks for, with placeholders filled in.

    Args:
        launch: from the configuration.
        address: that simulators connect to.
        logs: folder for their output.
    """
    simulators = []
    for options in launch:
        for index in range(options.count):
            name = f"{options.name}-{index}"
            values = {"{address}": address, "{index}": str(index), "{name}": name}
            command = tuple(_fill(word, values) for word in options.words)
            simulators.append(Simulator(name, command, logs / f"{name}.log"))
    names = [simulator.name for simulator in simulators]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"simulators.launch gives one name twice ({', '.join(names)}); "
            "give each entry a name of its own"
        )
    return tuple(simulators)


class Launcher:
    """Keeps the planned simulators running until `stop`. Owned by the event loop.

    A simulator that ends with exit code 0 has finished. One whose exit code says that it would fail
    again is not restarted, nor is one that fails at its start twice in the same words. Any other is
    restarted, with growing pauses, up to `MAX_RESTARTS` times in a row.
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
            restart_pause_s: after a first crash; doubled after each further one.
            clock: in seconds.
        """
        self._simulators = simulators
        self.environment = environment
        self._environment_of = environment_of
        self._restart_pause_s = restart_pause_s
        self._clock = clock
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._last_failure = ""
        self._lines = SimulatorLines([simulator.log for simulator in simulators])
        self._following: asyncio.Task[None] | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether there were simulators to start and all of them have ended for good."""
        return bool(self._watchers) and all(watcher.done() for watcher in self._watchers)

    @property
    def names(self) -> Sequence[str]:
        """The name that each simulator is given."""
        return [simulator.name for simulator in self._simulators]

    @property
    def logs(self) -> Sequence[Path]:
        """The file of each simulator's output."""
        return [simulator.log for simulator in self._simulators]

    @property
    def last_words(self) -> str:
        """The end of a message: how the latest simulator failed; "" if none did."""
        return f". {self._last_failure}" if self._last_failure else ""

    async def start(self) -> None:
        """Start every simulator; ConfigError if a command cannot be run."""
        for simulator in self._simulators:
            await self._start(simulator)
            self._watchers.append(asyncio.create_task(self._watch(simulator)))
        if self._simulators:
            self._following = asyncio.create_task(self._lines.follow())

    async def stop(self, *, grace_s: float = 0.0, patience_s: float = 5.0) -> None:
        """End the simulators that still run.

        Args:
            grace_s: in which they may end by themselves: they have been told that the run is over,
                and may be closing windows and files.
            patience_s: after which those that were asked to end (SIGTERM) are killed.
        """
        tasks = [*self._watchers, *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lines.look()
        await _all_ended(list(self._processes.values()), within_s=grace_s)
        processes = [p for p in self._processes.values() if _tell(p, kill=False)]
        await _all_ended(processes, within_s=patience_s)
        for process in processes:
            if _tell(process, kill=True):
                logger.warning("simulator process %d does not end; it is killed", process.pid)
            await process.wait()

    def kill(self) -> None:
        """Kill the simulators that still run, without waiting: the trainer itself ends at once."""
        for process in self._processes.values():
            _tell(process, kill=True)

    async def _start(self, simulator: Simulator) -> None:
        with _opened(simulator.log) as log:
            try:
                self._processes[simulator.name] = await asyncio.create_subprocess_exec(
                    *simulator.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._process_environment(simulator),
                    # Ctrl+C in the terminal reaches only the trainer, which ends simulators itself.
                    start_new_session=os.name == "posix",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            except OSError as error:
                raise ConfigError(
                    f"simulators.launch: cannot run '{simulator.command[0]}' "
                    f"({error.strerror or error}); give a program that is on the PATH, or its path"
                ) from None
        logger.info("started %s: %s", simulator.name, shlex.join(simulator.command))

    def _process_environment(self, simulator: Simulator) -> dict[str, str]:
        # entrain-env is installed beside the interpreter, which need not be on the PATH.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {
            **os.environ,
            "PATH": path,
            "ENTRAIN_SIMULATOR": simulator.name,
            "ENTRAIN_RECONNECT_S": "0",
            **self.environment,
            **self._environment_of(simulator.name),
        }

    async def _watch(self, simulator: Simulator) -> None:
        crashes = 0
        before = ""
        while crashes <= MAX_RESTARTS:
            process, began_s = self._processes[simulator.name], self._clock()
            code = await process.wait()
            if code == SUCCESS:
                self._finish(simulator.name, process)
                return
            # A process that a wrapper script left behind must not run beside the next one.
            _tell(process, kill=True)
            ending = f"{simulator.name} ended with {_describe(code)}"
            words = last_line(simulator.log)
            self._last_failure = f"{ending}; its last words: {words}"
            lived_s = self._clock() - began_s
            failed_at_start = self._last_failure if code > 0 and lived_s < START_S else ""
            if _is_for_good(code, lived_s) or (failed_at_start and failed_at_start == before):
                logger.error(
                    "%s and would do so again: it is not restarted; its last words in %s: %s",
                    ending,
                    simulator.log,
                    words,
                )
                return
            before = failed_at_start
            logger.warning("%s; its last words in %s: %s", ending, simulator.log, words)
            crashes = 1 if lived_s >= RELIABLE_S else crashes + 1
            if crashes <= MAX_RESTARTS:
                await asyncio.sleep(self._restart_pause_s * 2 ** (crashes - 1))
                await self._start(simulator)
        logger.error("%s crashed %d times; it is not restarted any more", simulator.name, crashes)

    def _finish(self, name: str, process: asyncio.subprocess.Process) -> None:
        logger.info("%s has ended", name)
        if not _is_alive(process):
            # Days later its process id may be another program's, which `stop` must not end.
            del self._processes[name]


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


def _tell(process: asyncio.subprocess.Process, *, kill: bool) -> bool:
    """Tell a simulator and all processes that it started to end; returns whether any was running.

    A game is often started by a script, and goes on when the script ends.
    """
    try:
        if sys.platform != "win32":
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        elif process.returncode is not None:
            return False
        elif kill:
            process.kill()
        else:
            process.terminate()
    except (ProcessLookupError, PermissionError):
        # macOS raises PermissionError for a group of which only a zombie is left.
        return False
    return True


def _is_alive(process: asyncio.subprocess.Process) -> bool:
    """Returns whether a simulator or a process that it started still runs."""
    if sys.platform == "win32":
        return process.returncode is None
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def _all_ended(processes: Sequence[asyncio.subprocess.Process], *, within_s: float) -> None:
    """Wait until simulators and all processes that they started have ended, or time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            for process in processes:
                await _end_of(process)


async def _end_of(process: asyncio.subprocess.Process) -> None:
    """Wait until a simulator and all processes that it started have ended."""
    await process.wait()
    while _is_alive(process):
        await asyncio.sleep(LOOK_S)


def _is_for_good(code: int, lived_s: float) -> bool:
    """Returns whether the exit code says that the same command would fail again."""
    # Go ends with 2 when it panics; a wrong command line does not take a minute to notice.
    return code == MISFIT or (code in {USAGE, *SHELL_CODES} and lived_s < RELIABLE_S)


def last_line(path: Path) -> str:
    """Returns the last line of a file that is not empty; a word in brackets if there is none.

    Control characters, which a terminal might obey, are written as escapes.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return "(not readable)"
    line = next((line.strip() for line in reversed(lines) if line.strip()), "(nothing)")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def _fill(word: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, value)
    return word


def _describe(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
