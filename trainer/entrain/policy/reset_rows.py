"""Columns with a row put in before every reset, in which a recurrent layer clears its state.

So one call of the library goes through columns that are reset on the way, and they stay nearly as
short as they were. Where columns get fewer rows than others, rows behind their end hold the state.

    reset   column 0   . . R .        column 0   0 1 C 2 3
            column 1   . . . .        column 1   0 1 2 3 H

Shapes: T steps, B columns, M rows with those that were put in, F features.
"""

import torch
from torch import Tensor

NUM_FLAGS = 2
"""Features that say what a row is for: one is 1 where the state is cleared, one where it is held,
none in a row with a step."""


class ResetRows:
    """Where the rows of [T, B] lie in [M, B], and back."""

    def __init__(self, reset: Tensor) -> None:
        """Make room before every row of [T, B] bool that is reset, but for those at the top."""
        steps, columns = reset.shape
        is_cleared = reset.clone()
        is_cleared[0] = False
        before = is_cleared.cumsum(0)
        step = torch.arange(steps, device=reset.device).unsqueeze(1)
        row = step + before

        self.count = steps + int(before[-1].max())
        """M."""

        column = torch.arange(columns, device=reset.device)
        places = row * columns + column
        self.places = places.flatten()
        """[T * B] the place m * B + b of each step."""

        flags = torch.zeros(self.count * columns, NUM_FLAGS, device=reset.device)
        flags[places[is_cleared] - columns, 0] = 1.0
        index = torch.arange(self.count, device=reset.device).unsqueeze(1)
        flags[:, 1] = (index > row[-1]).flatten()
        self.flags = flags.view(self.count, columns, NUM_FLAGS)
        """[M, B, 2] see `NUM_FLAGS`."""

    def put_in(self, x: Tensor) -> Tensor:
        """[T * B, F] to [M, B, F], zero in rows that are no step."""
        rows = x.new_zeros(self.flags.shape[0] * self.flags.shape[1], x.shape[1])
        return rows.index_copy(0, self.places, x).view(*self.flags.shape[:2], -1)

    def take_out(self, x: Tensor) -> Tensor:
        """[M, B, F] to [T * B, F]."""
        return x.flatten(0, 1).index_select(0, self.places)

    def take_last(self, x: Tensor) -> Tensor:
        """[M, B, F] to [B, F], the last step of every column."""
        return x.flatten(0, 1).index_select(0, self.places[-x.shape[1] :])
