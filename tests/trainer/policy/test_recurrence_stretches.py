"""Columns are cut at resets, laid side by side, and put back where they were."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from entrain.policy.stretches import Stretches


def test_two_columns_by_hand() -> None:
    # Rows t * B + b of T = 4, B = 2; column 0 is 0 2 4 6, column 1 is 1 3 5 7.
    # Column 0 is reset at step 2, column 1 never, so there are three stretches:
    #   0 2 - -     4 6 - -     1 3 5 7
    reset = torch.zeros(4, 2, dtype=torch.bool)
    reset[2, 0] = True
    stretches = Stretches(reset)
    assert stretches.count == 3
    assert stretches.rows.tolist() == [[0, 4, 1], [2, 6, 3], [2, 6, 5], [2, 6, 7]]
    assert stretches.padding.tolist() == [
        [False, False, False],
        [False, False, False],
        [True, True, False],
        [True, True, False],
    ]
    # Row 0 is in place 0 * 3 + 0, row 1 in 0 * 3 + 2, row 2 in 1 * 3 + 0, ...
    assert stretches.places.tolist() == [0, 2, 3, 5, 1, 8, 4, 11]
    assert stretches.first.tolist() == [0, 2]
    assert stretches.last.tolist() == [1, 2]


def test_a_reset_at_the_top_cuts_nothing() -> None:
    reset = torch.zeros(3, 2, dtype=torch.bool)
    without = Stretches(reset)
    reset[0] = True
    assert without.count == Stretches(reset).count == 2
    assert not Stretches(reset).padding.any()


@st.composite
def resets(draw: st.DrawFn) -> torch.Tensor:
    steps, columns = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    flags = st.lists(st.booleans(), min_size=steps * columns, max_size=steps * columns)
    return torch.tensor(draw(flags)).view(steps, columns)


@given(resets())
def test_every_row_is_in_one_place_and_comes_back(reset: torch.Tensor) -> None:
    stretches = Stretches(reset)
    rows = torch.arange(reset.numel())
    assert torch.equal(stretches.rows.flatten()[stretches.places], rows)
    assert sorted(stretches.rows[~stretches.padding].tolist()) == rows.tolist()


@given(resets())
def test_a_stretch_is_of_one_column_in_order_and_reset_at_most_at_its_beginning(
    reset: torch.Tensor,
) -> None:
    stretches = Stretches(reset)
    columns = reset.shape[1]
    for rows, padding in zip(stretches.rows.T, stretches.padding.T, strict=True):
        assert len(set((rows % columns).tolist())) == 1
        steps = (rows // columns)[~padding]
        assert torch.equal(steps, steps[0] + torch.arange(len(steps)))
        assert not reset.flatten()[rows[~padding][1:]].any()
        assert (rows[padding] == rows[~padding][-1]).all()


@given(resets())
def test_there_are_no_more_rows_of_padding_than_the_longest_stretch_needs(
    reset: torch.Tensor,
) -> None:
    assert not Stretches(reset).padding.all(dim=1).any()
