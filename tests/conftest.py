"""What holds for the whole suite: shapes are checked, and no example is judged by its time.

Shapes are checked from before any test imports the packages.
"""

import logging
from collections.abc import Iterator

import jaxtyping
import pytest
from hypothesis import settings

from support import shape_checks

shape_checks.install()
# A busy machine must not fail a test; pytest's own limit ends one that hangs.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _checks_begin_anew() -> None:
    shape_checks.Tests.begun += 1


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """As in production: for tests of what is done with wrong shapes, and of what calls cost."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def _no_command_logs_on() -> Iterator[None]:
    """Take away what a command logs by: the stderr of its test is closed when the next one logs."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # Those of pytest are of classes of its own.
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo what a command does to logging."""
    loggers = [logging.getLogger(name) for name in (None, "entrain", "entrain_envs")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
