"""How many rows are evaluated at a time where there are many, so that what a layer puts out stays
in a processor's cache and in memory that the process has already.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from entrain.policy.trunk import Trunk

OBSERVED_BYTES = 2**18
"""Of the observations of a chunk in torch, about."""

FEWEST_ROWS, MOST_ROWS = 256, 2048
"""Of such a chunk. With fewer rows calls of torch cost more than the cache saves."""


def chunks(rows: int, most: int) -> Iterator[slice]:
    """Slices of nearly equal size, each of at most `most` rows; none is a small remainder."""
    size = math.ceil(rows / math.ceil(rows / most))
    return (slice(begin, min(begin + size, rows)) for begin in range(0, rows, size))


class ChunkedTrunk(Trunk):
    """A trunk on a processor that evaluates many rows in chunks, to the same features."""

    def __init__(self, trunk: Trunk, row_bytes: int) -> None:
        """Take over the layers of `trunk`, whose observations have `row_bytes` a row."""
        nn.Module.__init__(self)
        self.encoder, self.hidden_layers = trunk.encoder, trunk.hidden_layers
        self.feature_size = trunk.feature_size
        self._most = min(max(OBSERVED_BYTES // max(1, row_bytes), FEWEST_ROWS), MOST_ROWS)

    def forward(self, observation: Mapping[str, Tensor], rows: int) -> Tensor:
        """{name: [1, rows, *shape]} to [G, rows, F]."""
        if rows <= self._most:
            return super().forward(observation, rows)
        parts = []
        for part in chunks(rows, self._most):
            of_part = {name: values[:, part] for name, values in observation.items()}
            parts.append(super().forward(of_part, part.stop - part.start))
        return torch.cat(parts, dim=1)
