"""Columns cut where they are reset, and the pieces laid side by side.

Shapes: T steps, B columns, N stretches of at most M steps. A stretch is a piece of a column in
which nothing is reset after its first row, so that one call of the library can unroll all of them.

    reset   column 0   . . R .        stretch 0  0 1 -      M = 4
            column 1   . . . .        stretch 1  2 3 -      N = 3
                                      stretch 2  0 1 2 3
"""

import torch
from torch import Tensor


class Stretches:
    """Where the rows of [T, B] lie in the padded [M, N], and back. All are indices."""

    def __init__(self, reset: Tensor) -> None:
        """Cut [T, B] bool at every row that is reset, and at the first, which need not be."""
        steps, columns = reset.shape
        # Always a copy: the transpose of a single column is contiguous as it is.
        begins = reset.t().clone(memory_format=torch.contiguous_format)
        begins[:, 0] = True
        # One column behind another: cell p is step p % T of column p // T.
        begins = begins.flatten()
        cell = torch.arange(len(begins), device=reset.device)
        first_cell = begins.nonzero().squeeze(1)
        end = torch.cat([first_cell[1:], cell.new_tensor([len(begins)])])
        stretch = begins.cumsum(0) - 1
        offset = cell - first_cell[stretch]

        self.count = len(first_cell)
        """N."""

        step = torch.arange(int(offset.max()) + 1, device=reset.device).unsqueeze(1)
        # Padding repeats the last row of its own stretch, so that nothing of others gets there.
        source = torch.minimum(first_cell + step, end - 1)
        self.rows = source % steps * columns + source // steps
        """[M, N] the row t * B + b in each place."""

        self.padding = first_cell + step >= end
        """[M, N] true behind the end of a stretch."""

        by_column = (offset * self.count + stretch).view(columns, steps)
        self.places = by_column.t().flatten()
        """[T * B] the place m * N + n of each row."""

        self.first = stretch.view(columns, steps)[:, 0]
        """[B] the stretch that each column begins with."""

        self.last = stretch.view(columns, steps)[:, -1]
        """[B] the stretch that each column ends with."""
