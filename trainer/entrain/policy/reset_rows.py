"""Inserts a row before every reset of a column, in which a recurrent layer clears its state.

So one call of torch can process whole columns despite resets inside them. The columns become a few
rows longer; those with fewer resets get rows at their end in which the layer holds its state.

    reset   column 0   . . R .        column 0   0 1 C 2 3
            column 1   . . . .        column 1   0 1 2 3 H

Shapes: T steps, B columns, M rows including the inserted ones, F features.
"""

import numpy as np
import torch
from torch import Tensor

NUM_FLAGS = 2
"""Features that say what a row is for: the first is 1 where the state is cleared, the second where
it is held; both are 0 in a row that is a step."""


class ResetRows:
    """Maps the rows of [T, B] to their places in [M, B], and back."""

    def __init__(self, reset: Tensor) -> None:
        """Insert a row where `reset`, [T, B] bool, is true, except at the top of a column."""
        # In numpy: a dozen operations on so few numbers cost a third of what they do in torch.
        is_cleared = reset.numpy(force=True).copy()
        steps, columns = is_cleared.shape
        is_cleared[0] = False
        before = is_cleared.cumsum(axis=0)
        row = np.arange(steps)[:, np.newaxis] + before

        self.count = steps + int(before[-1].max())
        """M."""

        places = row * columns + np.arange(columns)
        self.places = torch.from_numpy(places.ravel()).to(reset.device)
        """[T * B] the place m * B + b of each step."""

        flags = np.zeros((self.count, columns, NUM_FLAGS), np.float32)
        flags.reshape(-1, NUM_FLAGS)[places[is_cleared] - columns, 0] = 1.0
        flags[..., 1] = np.arange(self.count)[:, np.newaxis] > row[-1]
        self.flags = torch.from_numpy(flags).to(reset.device)
        """[M, B, 2] see `NUM_FLAGS`."""

    def put_in(self, x: Tensor) -> Tensor:
        """[T * B, F] to [M, B, F], zero in the rows that are not steps."""
        rows = x.new_zeros(self.flags.shape[0] * self.flags.shape[1], x.shape[1])
        return rows.index_copy(0, self.places, x).view(*self.flags.shape[:2], -1)

    def take_out(self, x: Tensor) -> Tensor:
        """[M, B, F] to [T * B, F]."""
        return x.flatten(0, 1).index_select(0, self.places)

    def take_last(self, x: Tensor) -> Tensor:
        """[M, B, F] to [B, F], the last step of every column."""
        return x.flatten(0, 1).index_select(0, self.places[-x.shape[1] :])
