"""Three mazes in which it matters whether a policy stays undecided. Vectorised over agents.

A maze is drawn as text: `#` is wall, `S` is where episodes begin, any other letter ends an episode
and pays. Four moves; one into a wall goes nowhere. Several drawings of one maze, between which the
parameter `map` chooses, are a world that changes. Nothing here knows of policies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    ActionBatch,
    BoolArray,
    Int64Array,
    StepType,
    TimestepBatch,
)

Float64Array = npt.NDArray[np.float64]

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""(rows, columns) of up, down, left, right: the four choices, in this order."""

WALL, START = "#", "S"


@dataclass(frozen=True, kw_only=True)
class MazeTask:
    """A maze, and what being in it is worth."""

    name: str

    maps: Sequence[Sequence[str]]
    """Drawings of the same size, each with one `S`; episodes begin in the one that is chosen."""

    pays: Mapping[str, float]
    """{letter: reward for reaching it}; that ends the episode."""

    step_reward: float = 0.0
    """For every move, the last one too."""

    episode_steps: int
    """After so many the episode is truncated."""


DECEPTION = MazeTask(
    name="deception",
    maps=(
        (
            "#############",
            "#           #",
            "#           #",
            "#n S       F#",
            "#           #",
            "#           #",
            "#############",
        ),
    ),
    pays={"n": 0.1, "F": 1.0},
    step_reward=-0.01,
    episode_steps=50,
)
"""A near goal pays little, a far one much, and every step costs: the way to the far goal looks bad
until it has been gone to the end many times."""

TWO_GOALS = MazeTask(
    name="two goals",
    maps=(
        (
            "###########",
            "#         #",
            "#A   S   B#",
            "#         #",
            "###########",
        ),
        (
            "###########",
            "#         #",
            "##   S   B#",
            "#         #",
            "###########",
        ),
        (
            "###########",
            "#         #",
            "#A   S   ##",
            "#         #",
            "###########",
        ),
    ),
    pays={"A": 1.0, "B": 1.0},
    episode_steps=50,
)
"""Two goals, equally far, equally good. Map 1 has A closed, map 2 B; the policy cannot see it."""

MOVED_WALL = MazeTask(
    name="moved wall",
    maps=(
        (
            "###########",
            "#    G    #",
            "#         #",
            "######### #",
            "#         #",
            "#    S    #",
            "###########",
        ),
        (
            "###########",
            "#    G    #",
            "#         #",
            "# #########",
            "#         #",
            "#    S    #",
            "###########",
        ),
    ),
    pays={"G": 1.0},
    step_reward=-0.01,
    episode_steps=50,
)
"""The gap in a wall moves from one end to the other; the policy cannot see it.

After Sutton & Barto 2018, "Reinforcement learning", section 8.3, the blocking maze."""


class Maze:
    """Agents that never meet, each in a maze of its own. An `entrain_envs` Environment."""

    def __init__(self, task: MazeTask, *, num_agents: int) -> None:
        cells = np.array([[list(row) for row in drawing] for drawing in task.maps])
        self._task = task
        self._cells = cells
        self._next = _transitions(cells)
        self._reward = np.full(cells.shape, task.step_reward, np.float32)
        for letter, reward in task.pays.items():
            self._reward[cells == letter] += np.float32(reward)
        self._ends = np.isin(cells, list(task.pays))
        self._starts = np.stack([np.argwhere(drawing == START)[0] for drawing in cells])
        self.spec = BehaviourSpec(
            "maze",
            (ObservationSpec("position", (cells.shape[1] + cells.shape[2],)),),
            ActionSpec(branches=(len(MOVES),)),
        )
        self.num_agents = num_agents
        self._chosen_map = 0
        self._map = np.zeros(num_agents, np.int64)
        self._row = np.zeros(num_agents, np.int64)
        self._column = np.zeros(num_agents, np.int64)
        self._age = np.zeros(num_agents, np.int64)
        self._acting = np.arange(num_agents)
        self._endings = dict.fromkeys(task.pays, 0)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """One: every agent is alike."""
        return (self.spec,)

    def take_endings(self) -> Mapping[str, int]:
        """{letter: episodes that ended there} since the last call; not those that ran out."""
        endings = self._endings
        self._endings = dict.fromkeys(self._task.pays, 0)
        return endings

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """`map`: the drawing in which episodes begin from now on."""
        self._chosen_map = int(parameters.get("map", self._chosen_map))

    def close(self) -> None:
        """Nothing is held."""

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """All agents at the start. Nothing is random, so `seed` decides nothing."""
        del seed
        self.set_parameters(parameters)
        everyone = np.ones(self.num_agents, np.bool_)
        self._begin(everyone)
        self._acting = np.arange(self.num_agents)
        return {self.spec.name: self._timesteps(everyone, int(StepType.FIRST), 0.0)}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Move everyone; whose episode ended begins the next at once."""
        move = np.empty(self.num_agents, np.int64)
        move[self._acting] = actions[self.spec.name].discrete[:, 0]
        self._row, self._column = self._next[self._map, self._row, self._column, move].T
        self._age += 1
        there = (self._map, self._row, self._column)
        for letter in self._endings:
            self._endings[letter] += int(np.count_nonzero(self._cells[there] == letter))
        step_type = np.select(
            [self._ends[there], self._age == self._task.episode_steps],
            [int(StepType.TERMINATED), int(StepType.TRUNCATED)],
            int(StepType.MID),
        )
        everyone = np.ones(self.num_agents, np.bool_)
        outcomes = self._timesteps(everyone, step_type, self._reward[there])
        ended = step_type != int(StepType.MID)
        self._begin(ended)
        firsts = self._timesteps(ended, int(StepType.FIRST), 0.0)
        self._acting = np.concatenate([np.flatnonzero(~ended), firsts.agent_id])
        return {self.spec.name: _joined(self.spec, outcomes, firsts)}

    def _begin(self, agents: BoolArray) -> None:
        self._map[agents] = self._chosen_map
        self._row[agents], self._column[agents] = self._starts[self._chosen_map]
        self._age[agents] = 0

    def _timesteps(
        self, agents: BoolArray, step_type: npt.ArrayLike, reward: npt.ArrayLike
    ) -> TimestepBatch:
        return TimestepBatch.of(
            self.spec,
            agent_id=np.flatnonzero(agents),
            step_type=step_type,
            reward=reward,
            observation={"position": self.position(self._row[agents], self._column[agents])},
        )

    def position(self, row: Int64Array, column: Int64Array) -> Float64Array:
        """[N, numbers] what is seen in these cells: which row it is, and which column."""
        _, height, width = self._cells.shape
        return np.concatenate([np.eye(height)[row], np.eye(width)[column]], axis=1)


def _transitions(cells: npt.NDArray[np.str_]) -> Int64Array:
    """[maps, height, width, moves, 2] row and column that each move leads to."""
    maps, height, width = cells.shape
    here = np.moveaxis(np.indices((maps, height, width)), 0, -1)[..., None, :]
    # The drawing's border is wall, so that nothing that is not wall can leave it.
    there = here[..., 1:] + np.array(MOVES)
    there = there.clip(0, [height - 1, width - 1])
    is_wall = cells[here[..., 0], there[..., 0], there[..., 1]] == WALL
    reached: Int64Array = np.where(is_wall[..., None], here[..., 1:], there)
    return reached


def _joined(spec: BehaviourSpec, first: TimestepBatch, second: TimestepBatch) -> TimestepBatch:
    return TimestepBatch.of(
        spec,
        agent_id=np.concatenate([first.agent_id, second.agent_id]),
        step_type=np.concatenate([first.step_type, second.step_type]),
        reward=np.concatenate([first.reward, second.reward]),
        observation={
            name: np.concatenate([first.observation[name], second.observation[name]])
            for name in first.observation
        },
    )
