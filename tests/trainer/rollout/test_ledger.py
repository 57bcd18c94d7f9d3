"""The ledger balances by definition; the sums are done here by hand."""

from hypothesis import given
from hypothesis import strategies as st

from entrain.rollout.ledger import Ledger


def test_steps_that_are_neither_closed_nor_dropped_are_open() -> None:
    ledger = Ledger().plus(opened=5).plus(closed=2).plus(dropped=1)
    assert (ledger.opened, ledger.closed, ledger.dropped, ledger.open) == (5, 2, 1, 2)


def test_adding_to_a_ledger_leaves_the_old_one_as_it_was() -> None:
    ledger = Ledger(opened=1)
    ledger.plus(opened=1, closed=1, dropped=1)
    assert ledger == Ledger(opened=1)


@given(st.integers(0), st.integers(0), st.integers(0))
def test_a_ledger_comes_back_from_its_state(opened: int, closed: int, dropped: int) -> None:
    ledger = Ledger(opened, closed, dropped)
    assert Ledger(**ledger.state()) == ledger
