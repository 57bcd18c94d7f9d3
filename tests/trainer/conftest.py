"""What several folders of tests share."""

from collections.abc import Iterator

import pytest

from entrain.policy import parallel_groups


@pytest.fixture(scope="module", params=["in turn", "in parallel"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run every test twice: groups of recurrent layers one after the other, and in parallel."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in parallel":
            patch.setattr(parallel_groups, "MIN_NUMBERS", 0)
        yield
