"""Learning runs take minutes, and run as in production: without checks of shapes."""

import pytest


@pytest.fixture(autouse=True)
def as_in_production(unchecked_shapes: None) -> None:
    """The work is that of `unchecked_shapes`."""
