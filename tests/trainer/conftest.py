"""What several folders of tests share."""

import logging
from collections.abc import Iterator

import pytest

from entrain.policy import parallel_groups


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Undo what a command does to logging."""
    loggers = [logging.getLogger(name) for name in (None, "entrain", "entrain_envs")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="module", params=["in turn", "in parallel"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test twice: groups of recurrent layers one after the other, and in parallel."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in parallel":
            patch.setattr(parallel_groups, "MIN_NUMBERS", 0)
        yield
