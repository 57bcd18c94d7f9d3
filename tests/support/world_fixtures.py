"""Fixtures of tests that run a trainer without a network."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import TimestepBatch
from support.world import BIRD, WALKER, FakeTimers, Row, World, timesteps_of


@pytest.fixture
def walker() -> BehaviourSpec:
    """Observes eyes[2], acts with one continuous number."""
    return WALKER


@pytest.fixture
def bird() -> BehaviourSpec:
    """Observes one height, acts with branches of 3 and 2."""
    return BIRD


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Makes a world; options are those of ServerConfig."""
    return World


@pytest.fixture
def world() -> World:
    """One with default options."""
    return World()


@pytest.fixture
def rows() -> Callable[..., TimestepBatch]:
    """Rows of the walker: `rows((agent, step type, reward), ...)`."""

    def make(*rows: Row) -> TimestepBatch:
        return timesteps_of(WALKER, rows)

    return make


@pytest.fixture
def timers() -> FakeTimers:
    """A clock that stands still."""
    return FakeTimers()


@pytest.fixture
def count_statements() -> Callable[[Callable[[], object]], int]:
    """Counts the lines of both packages that a call runs."""

    def count(run: Callable[[], object]) -> int:
        lines = 0

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal lines
            source = frame.f_code.co_filename
            lines += event == "line" and any(
                name in source for name in ("entrain/serving/", "entrain/native/", "entrain_envs/")
            )
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(before)
        return lines

    return count
