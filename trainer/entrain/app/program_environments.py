"""Environments that a Python program makes by a function of its own, as simulators.

    program --stdin: the function--> a process that makes and serves it --dials--> trainer

Each has a process, so that it does not compete with the trainer for Python's lock, and so that it
may crash. The function may be defined anywhere, in a notebook as well: cloudpickle writes it down,
for a pipe between these two processes alone.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import cloudpickle

from entrain.app.launch_plan import NO_VARIABLES, Simulator
from entrain.errors import ConfigError

MakeEnvironment: TypeAlias = Callable[[], Any]
"""Makes an environment of Gymnasium or PettingZoo, or an `entrain_envs.environment.Environment`."""


@dataclass(frozen=True)
class ProgramEnvironment:
    """One such environment, ready to be started again and again."""

    name: str
    """As a simulator."""

    content: bytes = field(repr=False)
    """For the process's standard input; see `entrain_envs.program`."""

    @classmethod
    def of(cls, make: MakeEnvironment, *, name: str, copies: int) -> "ProgramEnvironment":
        """Write down `make`, of which the process makes so many copies.

        Raises:
            ConfigError: it holds something that cannot be given to another process.
        """
        try:
            function = cloudpickle.dumps(make)
        except Exception as error:  # whatever pickling somebody's objects comes to
            raise ConfigError(
                f"simulators: the function {make!r} cannot be given to a process of its own: "
                f"{type(error).__name__}: {error}. Let it make what it needs, such as windows, "
                "files and threads, when it is called"
            ) from error
        about = {"path": sys.path, "copies": copies}
        return cls(name, json.dumps(about).encode() + b"\n" + function)

    def named(self, name: str) -> "ProgramEnvironment":
        """Another one, which the same function makes."""
        return replace(self, name=name)


def processes_of(
    environments: Sequence[ProgramEnvironment],
    *,
    logs: Path,
    variables: Mapping[str, str] = NO_VARIABLES,
    are_needed: bool = True,
) -> tuple[Simulator, ...]:
    """Returns the processes of these.

    Args:
        environments: of a program.
        logs: folder for what they print.
        variables: see `Simulator`.
        are_needed: likewise.
    """
    return tuple(
        Simulator(
            each.name,
            (sys.executable, "-m", "entrain_envs.program"),
            logs / f"{each.name}.log",
            stdin=each.content,
            variables=variables,
            is_needed=are_needed,
        )
        for each in environments
    )
