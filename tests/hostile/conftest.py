"""Runs under attack. Each has a good citizen, whose counts must be exact after every attack."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.attacked_run import GRPC, AttackedProgram, AttackedRun, attacked_program, attacked_run


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a unix socket."""
    with TemporaryDirectory(prefix="hostile-") as folder:
        yield Path(folder)


@pytest.fixture
def transport() -> str:
    """Over which a run is attacked; tests that are marked with `over_both` have it twice."""
    return GRPC


@pytest.fixture
def attacked(
    short_path: Path, transport: str
) -> Callable[..., AbstractAsyncContextManager[AttackedRun]]:
    """A run on the test's event loop, to be used with `async with`; see `attacked_run`."""
    return partial(attacked_run, short_path, transport=transport)


@pytest.fixture
def program(
    short_path: Path, transport: str
) -> Callable[..., AbstractContextManager[AttackedProgram]]:
    """The program `entrain train` in a process, to be used with `with`; see `attacked_program`."""
    return partial(attacked_program, short_path, transport=transport)
