"""Serves what a function of a Python program makes: `python -m entrain_envs.program`.

The program that launches this process writes to its standard input: a line of JSON (`path`, where
its modules are; `copies`, how many to make), then the function, as cloudpickle writes it. All else
is as of the command `entrain-env`, whose variables say where the trainer is.
"""

import json
import pickle
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from entrain_envs import command_line
from entrain_envs.__main__ import run
from entrain_envs.grpc_lines import silence


def main() -> int:
    """Make what standard input asks for and serve it; returns the exit code."""
    silence()
    copies, make = read(sys.stdin.buffer)
    # Options that the command line has for all environments, with their defaults.
    arguments = ["gymnasium", "the environment of a program", "--count", str(copies)]
    options = command_line.parser().parse_args(arguments)
    options.kind, options.make = "program", make
    return run(options)


def read(pipe: BinaryIO) -> tuple[int, Callable[[], Any]]:
    """Returns how many copies to make, and what makes one."""
    about = json.loads(pipe.readline())
    # Before the function is read: modules that it is of are found there.
    sys.path[:] = about["path"]
    # The program that launched this process wrote it, and nobody else can.
    make: Callable[[], Any] = pickle.load(pipe)  # noqa: S301
    return int(about["copies"]), make


if __name__ == "__main__":
    sys.exit(main())
