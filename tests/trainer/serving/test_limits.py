"""Limits on what may be in use at once."""

import pytest

from entrain.errors import LimitError
from entrain.serving.limits import Limit


def test_what_is_given_back_can_be_taken_again() -> None:
    limit = Limit(10, of="agents", option="server.max_agents")
    limit.take(10, who="left")
    limit.take(-4, who="left")
    limit.take(4, who="right")
    assert limit.used == 10


def test_too_much_is_refused_with_numbers_and_a_remedy_and_takes_nothing() -> None:
    limit = Limit(10_000, of="agents", option="server.max_agents")
    limit.take(8_000, who="left")
    with pytest.raises(
        LimitError,
        match=r"right asks for 2,001 agents when 8,000 of 10,000 are taken; raise server.max_ag",
    ):
        limit.take(2_001, who="right")
    assert limit.used == 8_000
    limit.take(2_000, who="right")


def test_giving_back_is_never_refused() -> None:
    limit = Limit(1, of="agents", option="server.max_agents")
    limit.take(1, who="left")
    limit.limit = 0
    limit.take(0, who="left")
    limit.take(-1, who="left")
    assert limit.used == 0
