"""Rows are inserted before resets, and every step is found again where it was put."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from entrain.policy.reset_rows import ResetRows


def test_two_columns_by_hand() -> None:
    # Column 0 is reset at step 2, column 1 never:   0 1 C 2 3     0 1 2 3 H
    reset = torch.zeros(4, 2, dtype=torch.bool)
    reset[2, 0] = True
    rows = ResetRows(reset)
    assert rows.count == 5
    # Step 0 of column 0 is in place 0 * 2 + 0, of column 1 in 0 * 2 + 1; step 2 of column 0 is in
    # row 3, of column 1 in row 2.
    assert rows.places.tolist() == [0, 1, 2, 3, 6, 5, 8, 7]
    assert rows.flags[:, 0].tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]]
    assert rows.flags[:, 1].tolist() == [[0, 0], [0, 0], [0, 0], [0, 0], [0, 1]]


def test_a_reset_at_the_top_needs_no_row() -> None:
    reset = torch.zeros(3, 2, dtype=torch.bool)
    reset[0] = True
    rows = ResetRows(reset)
    assert rows.count == 3
    assert not rows.flags.any()


@st.composite
def resets(draw: st.DrawFn) -> Tensor:
    steps, columns = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    flags = st.lists(st.booleans(), min_size=steps * columns, max_size=steps * columns)
    return torch.tensor(draw(flags)).view(steps, columns)


@given(resets())
def test_what_is_put_in_comes_out_and_is_zero_elsewhere(reset: Tensor) -> None:
    rows = ResetRows(reset)
    x = torch.arange(1.0, 1 + 2 * reset.numel()).view(-1, 2)
    within = rows.put_in(x)
    assert within.shape == (rows.count, reset.shape[1], 2)
    assert torch.equal(rows.take_out(within), x)
    assert torch.equal(rows.take_last(within), x[-reset.shape[1] :])
    assert torch.equal(within == 0.0, rows.flags.sum(-1, keepdim=True).expand_as(within) > 0)


@given(resets())
def test_a_column_is_its_steps_in_order_with_a_row_before_each_reset(reset: Tensor) -> None:
    rows = ResetRows(reset)
    steps = torch.arange(reset.shape[0]).unsqueeze(1).expand_as(reset).flatten()
    within = rows.put_in(steps.unsqueeze(1).float()).squeeze(-1)
    for b, flags in enumerate(rows.flags.unbind(1)):
        expected = []
        for step in range(len(reset)):
            if step and reset[step, b]:
                expected.append("clear")
            expected.append(f"step {step}")
        expected += ["hold"] * (rows.count - len(expected))
        found = [
            "clear" if clear else "hold" if hold else f"step {int(step)}"
            for (clear, hold), step in zip(flags.tolist(), within[:, b].tolist(), strict=True)
        ]
        assert found == expected


@given(resets())
def test_there_are_no_more_rows_than_the_column_with_most_resets_needs(reset: Tensor) -> None:
    rows = ResetRows(reset)
    assert rows.count == len(reset) + int(reset[1:].sum(0).max())
    assert not rows.flags[:, :, 1].all(dim=1).any()
