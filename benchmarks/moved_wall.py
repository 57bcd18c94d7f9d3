"""Why soft Q comes back late after the wall has moved: its policy, seen exactly, beside a table.

python -m benchmarks.moved_wall --temperature 0.01 --every 64     # table and network

Of the network: the chance, computed without sampling, that an episode of its policy gets to the new
gap; and the same if it were undecided in the columns next to the gap, where nobody is any more once
the first map is learned. The table (`soft_table`) has values of its own for each cell; networks can
come close to one: `--network cells` shows them each cell as such, not as a row and a column, and
`--network linear` has no hidden layers besides, which is a table, by the code that is to be tested.
"""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.entropy import Run, header, row
from benchmarks.entropy_runs import BENCHMARKS, TOTAL_STEPS, Learner, Measured, merged, recovery
from benchmarks.entropy_tasks import MOVED_WALL, MOVES, START, Maze, MazeTask
from benchmarks.soft_table import (
    CELLS,
    GOAL,
    HEIGHT,
    WIDTH,
    Float64Array,
    Int64Array,
    SoftTable,
    next_cells,
    number,
    table_options,
)
from entrain.policy.actor_critic import ActorNetwork
from entrain.trainer import Update
from entrain_envs.spec import BehaviourSpec, ObservationSpec

NEW_GAP = (3, 1)
BESIDE_GAP = (slice(4, 6), slice(1, 5))
"""Rows and columns below the new gap, up to the start's column."""

UNDECIDED = 1 / len(MOVES)
WATCHED_EVERY = 7_500
"""Env steps."""


def chance(policy: Float64Array, *, map_: int, cell: tuple[int, int]) -> float:
    """Probability that an episode of `policy` [HEIGHT, WIDTH, moves] is ever in `cell`."""
    following = next_cells(map_)
    here = np.zeros(HEIGHT * WIDTH)
    here[np.flatnonzero(CELLS[map_] == START)] = 1.0
    by_cell = policy.reshape(-1, len(MOVES))
    arrived = 0.0
    for _ in range(MOVED_WALL.episode_steps):
        moved = np.zeros(len(here))
        np.add.at(moved, following, here[:, None] * by_cell)
        arrived += float(moved[number(*cell)])
        moved[[number(*cell), number(*GOAL)]] = 0.0
        here = moved
    return arrived


class CellMaze(Maze):
    """The same, but what is seen has a number for each cell: no two have anything in common."""

    def __init__(self, task: MazeTask, *, num_agents: int) -> None:
        """See `Maze`."""
        super().__init__(task, num_agents=num_agents)
        seen = ObservationSpec("position", (HEIGHT * WIDTH,))
        self.spec = BehaviourSpec(self.spec.name, (seen,), self.spec.action)

    def position(self, row: Int64Array, column: Int64Array) -> Float64Array:
        """See `Maze.position`."""
        return np.asarray(np.eye(HEIGHT * WIDTH)[row * WIDTH + column])


NETWORKS: Mapping[str, tuple[type[Maze], Mapping[str, Any]]] = {
    "shared": (Maze, {}),
    "cells": (CellMaze, {}),
    "linear": (
        CellMaze,
        {"network": {"hidden_sizes": ()}, "algorithm": {"learning_rate": 0.03}},
    ),
}
"""{name: what is seen, and other options of the policy}."""


class WatchedLearner(Learner):
    """A policy in training, whose chances to get to the new gap are noted after the change."""

    def __init__(self, options: Mapping[str, Any], *, network: str, seed: int) -> None:
        """See `Learner`; `network` is one of `NETWORKS`."""
        maze, more = NETWORKS[network]
        super().__init__(BENCHMARKS["moved_wall"], merged(options, more), seed=seed, maze=maze)
        self.seen: list[tuple[int, float, float, float]] = []
        """Env steps; chance of the gap; of the gap, were it undecided beside it; of the goal."""

    def record(self, update: Update) -> None:
        """See `Learner.record`."""
        super().record(update)
        env_steps = update.progress.env_steps
        if env_steps < TOTAL_STEPS / 2 + len(self.seen) * WATCHED_EVERY:
            return
        policy = cell_policy(self.policy, self.maze)
        undecided = policy.copy()
        undecided[BESIDE_GAP] = UNDECIDED
        self.seen.append(
            (
                env_steps,
                chance(policy, map_=1, cell=NEW_GAP),
                chance(undecided, map_=1, cell=NEW_GAP),
                chance(policy, map_=1, cell=GOAL),
            )
        )


@torch.no_grad()
def cell_policy(policy: ActorNetwork, maze: Maze) -> Float64Array:
    """[HEIGHT, WIDTH, moves] probabilities of a network in every cell of a maze."""
    rows, columns = np.divmod(np.arange(HEIGHT * WIDTH), WIDTH)
    position = maze.position(rows, columns)
    shown = {"position": torch.from_numpy(position).float().unsqueeze(0)}
    reset = torch.ones(1, len(rows), dtype=torch.bool)
    features, _ = policy.backbone(shown, policy.initial_state(len(rows)), reset)
    logits: torch.Tensor = policy.action_head(features[0])
    probability = torch.softmax(logits.double(), dim=-1).numpy()
    return np.asarray(probability.reshape(HEIGHT, WIDTH, len(MOVES)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--temperature", type=float, default=0.01)
    parser.add_argument("--every", type=int, default=64, help="env steps for each gradient step")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", choices=sorted(NETWORKS), default="shared")
    parser.add_argument("--table", action="store_true", help="only the table, which is quick")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    alpha, every, seeds = arguments.temperature, arguments.every, range(1, arguments.seeds + 1)
    print(f"temperature {alpha:g}, a gradient step every {every} env steps, {len(seeds)} seeds\n")
    curves = [SoftTable(table_options(alpha, every), seed=seed).train() for seed in seeds]
    tables = [Measured(curve, recovery(curve)) for curve in curves]
    print(f"{header(tables[0])}\n{row('table', tables)}", flush=True)
    if arguments.table:
        return
    options = Run("moved_wall", "soft Q", alpha, 1, every).options
    learners = [WatchedLearner(options, network=arguments.network, seed=seed) for seed in seeds]
    print(
        row(f"network, {arguments.network}", [learner.train() for learner in learners]), flush=True
    )
    for seed, learner in zip(seeds, learners, strict=True):
        print(f"\n| seed {seed}, env steps | gap | gap, undecided beside it | goal |")
        print("|---|---|---|---|")
        for env_steps, *chances in learner.seen:
            print(f"| {env_steps:,} | {' | '.join(f'{each:.5f}' for each in chances)} |")


if __name__ == "__main__":
    main()
