"""Which of an environment's copies belong together, and the seed of each.

A copy's seed and its agents' numbers depend on its place among all copies, and not on how these are
divided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from entrain_envs.errors import OptionError


@dataclass(frozen=True)
class Copies:
    """`count` of `total` copies, from number `first` on."""

    first: int
    count: int
    total: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise OptionError(f"count is {self.count}; it must be at least 1")

    @classmethod
    def all(cls, count: int) -> "Copies":
        """All copies together."""
        return cls(0, count, count)

    @property
    def are_first(self) -> bool:
        """Whether the first copy is among them: it speaks for all."""
        return self.first == 0

    def seeds(self, seed: int) -> Sequence[int]:
        """A seed for each, drawn from the seed of all."""
        drawn = np.random.SeedSequence(seed).generate_state(self.total)
        seeds: list[int] = drawn[self.first : self.first + self.count].tolist()
        return seeds

    def divided(self, parts: int) -> Sequence["Copies"]:
        """So many parts of nearly the same size, or fewer if there are fewer copies."""
        parts = min(parts, self.count)
        cuts = [self.first + self.count * part // parts for part in range(parts + 1)]
        return [Copies(begin, end - begin, self.total) for begin, end in pairwise(cuts)]
