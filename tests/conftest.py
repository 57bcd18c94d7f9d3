"""Shapes are checked in the whole suite: installed here, before any test imports the packages."""

from collections.abc import Iterator

import jaxtyping
import pytest

from support import shape_checks

shape_checks.install()


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """As in production: for tests of what is done with wrong shapes, and of what calls cost."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
