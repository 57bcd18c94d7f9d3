"""Soft Q with a table in the moved wall: values by iteration, and as learned from a replay.

A twin of `entrain.algorithms.soft_q` in plain numpy: the same formulas, a value for each cell and
move, as long a replay, as many gradient steps of as many rows. It generalises nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.entropy_runs import (
    NUM_AGENTS,
    OPTIONS,
    OPTIONS_BY_KIND,
    POINT_STEPS,
    TOTAL_STEPS,
    Curve,
)
from benchmarks.entropy_tasks import MOVED_WALL, MOVES, START, WALL

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

CELLS = np.array([[list(row) for row in drawing] for drawing in MOVED_WALL.maps])
HEIGHT, WIDTH = int(CELLS.shape[1]), int(CELLS.shape[2])
GOAL = (1, 5)


def next_cells(map_: int) -> Int64Array:
    """[cells, moves] the number of the cell that each move leads to; row * WIDTH + column."""
    following = np.empty((HEIGHT, WIDTH, len(MOVES)), np.int64)
    for cell in np.ndindex(HEIGHT, WIDTH):
        for move, (down, right) in enumerate(MOVES):
            # The border is wall, and nobody is in it: where it leads to does not matter.
            there = (cell[0] + down) % HEIGHT, (cell[1] + right) % WIDTH
            is_wall = CELLS[map_][there] == WALL
            following[cell][move] = number(*cell) if is_wall else number(*there)
    return following.reshape(-1, len(MOVES))


def number(row: int, column: int) -> int:
    """Of a cell."""
    return row * WIDTH + column


def soft_values(q: Float64Array, alpha: float) -> Float64Array:
    """V = alpha ln sum exp(Q / alpha), over the last axis."""
    best = q.max(axis=-1)
    summed = np.exp((q - best[..., None]) / alpha).sum(axis=-1)
    return np.asarray(best + alpha * np.log(summed))


def exact_q(map_: int, *, alpha: float, discount: float) -> Float64Array:
    """[cells, moves] soft values of a map that is known, by iteration to the fixed point."""
    following = next_cells(map_)
    ends = following == number(*GOAL)
    reward = MOVED_WALL.step_reward + MOVED_WALL.pays["G"] * ends
    q = np.zeros(following.shape)
    for _ in range(600):
        q = reward + discount * np.where(ends, 0.0, soft_values(q, alpha)[following])
    return q


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Of soft Q by a table; the names are those of the policy's options."""

    alpha: float
    every: int
    """Env steps for each gradient step."""

    discount: float
    rollout_steps: int
    replay_size: int
    batch_size: int
    target_rate: float
    step_size: float = 0.5
    """How far a value that was sampled goes towards the mean of its targets in the batch."""


class SoftTable:
    """Soft Q with a table, in as many mazes as there are agents."""

    def __init__(self, options: TableOptions, *, seed: int) -> None:
        """Begin with the exact values of the first map, and an empty replay."""
        self.q = exact_q(0, alpha=options.alpha, discount=options.discount)
        self._target = self.q.copy()
        self._options = options
        self._random = np.random.default_rng(seed)
        self._start = int(np.flatnonzero(CELLS[0] == START)[0])
        self._cell = np.full(NUM_AGENTS, self._start)
        self._map = np.zeros(NUM_AGENTS, np.int64)
        self._age = np.zeros(NUM_AGENTS, np.int64)
        self._following = np.stack([next_cells(map_) for map_ in range(len(CELLS))])
        self._replay = np.zeros((options.replay_size, 3), np.int64)
        """[M] (cell, move, following cell), the newest steps."""
        self._count = 0
        self._returns = np.zeros(NUM_AGENTS)

    @property
    def policy(self) -> Float64Array:
        """[HEIGHT, WIDTH, moves] probabilities."""
        q, alpha = self.q, self._options.alpha
        probability: Float64Array = np.exp((q - soft_values(q, alpha)[:, None]) / alpha)
        return probability.reshape(HEIGHT, WIDTH, len(MOVES))

    def act(self, *, map_: int) -> Sequence[float]:
        """One step of every agent, into the replay; the returns of the episodes that ended.

        Args:
            map_: in which episodes begin.
        """
        cumulated = self.policy.reshape(-1, len(MOVES))[self._cell].cumsum(axis=1)
        drawn = self._random.random((NUM_AGENTS, 1))
        move = (cumulated < drawn).sum(axis=1).clip(max=len(MOVES) - 1)
        following = self._following[self._map, self._cell, move]
        place = (self._count + np.arange(NUM_AGENTS)) % len(self._replay)
        self._replay[place] = np.stack([self._cell, move, following], axis=1)
        self._count += NUM_AGENTS
        at_goal = following == number(*GOAL)
        self._returns += MOVED_WALL.step_reward + MOVED_WALL.pays["G"] * at_goal
        self._age += 1
        ended = at_goal | (self._age == MOVED_WALL.episode_steps)
        returns: list[float] = self._returns[ended].tolist()
        self._cell = np.where(ended, self._start, following)
        self._map[ended] = map_
        self._age[ended], self._returns[ended] = 0, 0.0
        return returns

    def learn(self) -> None:
        """One gradient step's worth: sampled values move towards the mean of their targets."""
        options = self._options
        filled = min(self._count, len(self._replay))
        batch = self._replay[self._random.integers(filled, size=options.batch_size)]
        cell, move, following = batch.T
        ends = following == number(*GOAL)
        reward = MOVED_WALL.step_reward + MOVED_WALL.pays["G"] * ends
        after = soft_values(self._target[following], options.alpha)
        wanted = reward + options.discount * np.where(ends, 0.0, after)
        key = cell * len(MOVES) + move
        count = np.bincount(key, minlength=self.q.size)
        total = np.bincount(key, wanted, minlength=self.q.size)
        q, seen = self.q.reshape(-1), count > 0
        q[seen] += options.step_size * (total[seen] / count[seen] - q[seen])
        self._target += options.target_rate * (self.q - self._target)

    def train(self) -> Curve:
        """All of `TOTAL_STEPS`, with the change after half of them; as `Learner.train`."""
        options, points = self._options, []
        returns: list[float] = []
        for env_steps in range(NUM_AGENTS, TOTAL_STEPS + 1, NUM_AGENTS):
            returns += self.act(map_=int(2 * env_steps > TOTAL_STEPS))
            if env_steps % options.rollout_steps == 0:
                for _ in range(options.rollout_steps // options.every):
                    self.learn()
            if env_steps % POINT_STEPS == 0:
                mean = np.mean(returns) if returns else np.nan
                points.append((env_steps, mean, len(returns), np.nan))
                returns = []
        return Curve(*np.array(points).T)


def table_options(alpha: float, every: int) -> TableOptions:
    """Those of the network's runs."""
    of_kind = OPTIONS_BY_KIND["soft_q"]
    algorithm = of_kind["algorithm"]
    return TableOptions(
        alpha=alpha,
        every=every,
        discount=OPTIONS["discount"],
        rollout_steps=of_kind["rollout_steps"],
        replay_size=algorithm["replay_size"],
        batch_size=algorithm["batch_size"],
        target_rate=algorithm["target_rate"],
    )
