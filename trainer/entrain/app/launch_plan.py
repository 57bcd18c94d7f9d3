"""Which simulator processes are to be started: their commands, logs and variables.

Nothing here starts any; see `launcher`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from entrain.app.restarts import Restarts
from entrain.config.launch import LaunchConfig
from entrain.errors import ConfigError

NO_VARIABLES: Mapping[str, str] = MappingProxyType({})

TAIL_BYTES = 64 * 1024
"""Length of the end of a log in which its last line is looked for."""


@dataclass(frozen=True)
class Simulator:
    """One process to start."""

    name: str
    command: tuple[str, ...]
    log: Path
    """Where what it prints goes."""

    own_log: Path | None = None
    """A file that the program writes itself, if it does."""

    last_words: Callable[[Sequence[Path]], str] | None = None
    """Quotes the end of its logs, the most telling first; None takes the last line."""

    restarts: Callable[[], Restarts] | None = None
    """Makes what decides about its restarts; None takes `CrashRestarts`."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment, besides those that all have."""

    stdin: bytes = field(default=b"", repr=False)
    """What it reads from its standard input, at each start."""

    is_needed: bool = True
    """Whether the run cannot go on once this one and all others that are needed have ended."""

    @property
    def logs(self) -> tuple[Path, ...]:
        """The files that may say why it ended, the most telling first."""
        return (self.log,) if self.own_log is None else (self.own_log, self.log)

    @property
    def telling_log(self) -> Path:
        """The first of them that says anything."""
        return next((log for log in self.logs if _size(log)), self.log)

    def words(self) -> str:
        """Returns the end of its logs, on one line; "" if they are empty."""
        return (self.last_words or _last_of)(self.logs)


def plan(
    launch: Sequence[LaunchConfig],
    *,
    address: str,
    logs: Path,
    indices: Callable[[int], Sequence[int]] = range,
    variables: Mapping[str, str] = NO_VARIABLES,
    are_needed: bool = True,
) -> tuple[Simulator, ...]:
    """Returns the processes that `launch` asks for, with placeholders filled in.

    Args:
        launch: from the configuration.
        address: that simulators connect to.
        logs: folder for their output.
        indices: which of so many copies are wanted.
        variables: see `Simulator`.
        are_needed: likewise.
    """
    simulators = []
    for options in launch:
        for index in indices(options.count):
            name = f"{options.name}-{index}"
            values = {"{address}": address, "{index}": str(index), "{name}": name}
            command = tuple(_fill(word, values) for word in options.words)
            simulators.append(
                Simulator(
                    name,
                    command,
                    logs / f"{name}.log",
                    variables=variables,
                    is_needed=are_needed,
                )
            )
    names = [simulator.name for simulator in simulators]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"simulators.launch gives one name twice ({', '.join(names)}); "
            "give each entry a name of its own"
        )
    return tuple(simulators)


def _fill(word: str, values: Mapping[str, str]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, value)
    return word


def _last_of(logs: Sequence[Path]) -> str:
    return last_line(logs[0])


def last_line(path: Path) -> str:
    """Returns the last line of a file that is not empty; "" if there is none.

    Control characters, which a terminal might obey, are written as escapes.
    """
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return "(not readable)"
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
