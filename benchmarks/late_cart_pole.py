"""How long any policy can keep CartPole's pole up where late answers repeat the last push.

    python -m benchmarks.late_cart_pole [share of answers that are late] [cells in each direction]

Backward induction over the pole's angle and speed and the push that was applied last, on a grid
with linear interpolation. CartPole's cart has a place and a speed of its own, on which the pole
does not depend, and a track that ends; here the track has no end. So no policy does better than
this, whatever it sees or remembers, but for the grid's error, which shrinks with its cells.
"""

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

STEPS = 500
"""Of an episode, at most."""

LIMIT = 12 * np.pi / 180
FASTEST = 3.5
"""Bounds of the grid, in rad and rad/s. A pole as quick as that falls."""

STARTS = 0.05
"""An episode begins with angle and speed drawn evenly from minus this to this."""


def pushed(angle: Numbers, speed: Numbers, push: int) -> tuple[Numbers, Numbers]:
    """Angle and speed 20 ms later; push 0 is to the left. (Barto, Sutton, Anderson 1983)"""
    force = 10.0 if push else -10.0
    pole, cart, half_length, gravity = 0.1, 1.0, 0.5, 9.8
    total = pole + cart
    shared = (force + pole * half_length * speed**2 * np.sin(angle)) / total
    lever = half_length * (4 / 3 - pole * np.cos(angle) ** 2 / total)
    acceleration = (gravity * np.sin(angle) - np.cos(angle) * shared) / lever
    return angle + 0.02 * speed, speed + 0.02 * acceleration


@dataclass(frozen=True)
class Places:
    """Where N states are on a grid of M x M, for interpolation."""

    corner: npt.NDArray[np.int64]
    """[N] index of the corner with the smaller angle and speed, of M * M."""

    weights: Numbers
    """[4, N] of the corners: smaller both, next speed, next angle, next both."""

    @classmethod
    def of(cls, angle: Numbers, speed: Numbers, cells: int) -> "Places":
        """Of states, those beyond the grid at its edge."""
        most = cells - 1 - 1e-9
        row = np.clip((angle + LIMIT) / (2 * LIMIT) * (cells - 1), 0, most)
        column = np.clip((speed + FASTEST) / (2 * FASTEST) * (cells - 1), 0, most)
        i, j = row.astype(np.int64), column.astype(np.int64)
        p, q = row - i, column - j
        weights = np.stack([(1 - p) * (1 - q), (1 - p) * q, p * (1 - q), p * q])
        return cls(i * cells + j, weights)

    def look(self, values: Numbers, cells: int) -> Numbers:
        """[N] from [M * M]."""
        corners = [values[self.corner + at] for at in (0, 1, cells, cells + 1)]
        found: Numbers = np.sum(self.weights * np.stack(corners), axis=0)
        return found


def longest_mean_episode(late: float, *, cells: int, steps: int = STEPS) -> float:
    """The mean length of episodes under the best policy there is."""
    sides = np.linspace(-LIMIT, LIMIT, cells), np.linspace(-FASTEST, FASTEST, cells)
    angle, speed = (each.ravel() for each in np.meshgrid(*sides, indexing="ij"))
    states = [pushed(angle, speed, push) for push in (0, 1)]
    has_fallen = [np.abs(each) > LIMIT for each, _ in states]
    places = [Places.of(*state, cells) for state in states]
    # [last push][state]: steps that follow. The one in which the pole falls counts.
    values = [np.zeros(cells * cells)] * 2
    for _ in range(steps):
        after = [
            np.where(fallen, 0.0, place.look(value, cells))
            for fallen, place, value in zip(has_fallen, places, values, strict=True)
        ]
        best = np.maximum(*after)
        values = [1.0 + (1.0 - late) * best + late * repeated for repeated in after]
    starts = np.linspace(-STARTS, STARTS, 41)
    first_angle, first_speed = (each.ravel() for each in np.meshgrid(starts, starts))
    # Before there is a last push, the neutral one acts, which is the first.
    return float(Places.of(first_angle, first_speed, cells).look(values[0], cells).mean())


def main() -> None:
    given = sys.argv[1:]
    late = float(given[0]) if given else 0.3
    most = int(given[1]) if len(given) > 1 else 401
    cells = 101
    while cells <= most:
        print(f"{late:.0%} late, {cells} x {cells}: {longest_mean_episode(late, cells=cells):.1f}")
        cells = 2 * cells - 1


if __name__ == "__main__":
    main()
