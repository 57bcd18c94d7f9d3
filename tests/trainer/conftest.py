"""What several folders of tests share."""

from collections.abc import Iterator

import pytest

from entrain.policy import parallel_groups


@pytest.fixture(scope="module", params=["in turn", "side by side"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test twice: groups of recurrent layers in turn, as small as they are, and at once."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "side by side":
            patch.setattr(parallel_groups, "MIN_NUMBERS", 0)
        yield
