"""So much of something at once, and no more."""

import pytest

from entrain.errors import LimitError
from entrain.serving.limits import Limit


def test_what_is_given_back_can_be_taken_again() -> None:
    allowance = Limit(10, of="agents", option="server.max_agents")
    allowance.take(10, who="left")
    allowance.take(-4, who="left")
    allowance.take(4, who="right")
    assert allowance.used == 10


def test_too_much_is_refused_with_numbers_and_a_remedy_and_takes_nothing() -> None:
    allowance = Limit(10_000, of="agents", option="server.max_agents")
    allowance.take(8_000, who="left")
    with pytest.raises(
        LimitError,
        match=r"right asks for 2,001 agents when 8,000 of 10,000 are taken; raise server.max_ag",
    ):
        allowance.take(2_001, who="right")
    assert allowance.used == 8_000
    allowance.take(2_000, who="right")


def test_giving_back_is_never_refused() -> None:
    allowance = Limit(1, of="agents", option="server.max_agents")
    allowance.take(1, who="left")
    allowance.limit = 0
    allowance.take(0, who="left")
    allowance.take(-1, who="left")
    assert allowance.used == 0
