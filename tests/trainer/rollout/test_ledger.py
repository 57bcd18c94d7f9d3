"""The ledger balances by definition; the sums are done here by hand."""

from hypothesis import given
from hypothesis import strategies as st

from entrain.rollout.ledger import Ledger


def test_steps_that_are_neither_closed_nor_dropped_are_open() -> None:
    assert Ledger(opened=5, closed=2, dropped=1).open == 2


@given(st.integers(0), st.integers(0), st.integers(0))
def test_a_ledger_comes_back_from_its_state(opened: int, closed: int, dropped: int) -> None:
    ledger = Ledger(opened, closed, dropped)
    assert Ledger(**ledger.state()) == ledger
