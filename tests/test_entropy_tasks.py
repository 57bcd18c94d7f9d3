"""The mazes of the entropy benchmark are the tasks that their drawings promise."""

from collections.abc import Sequence

import numpy as np
import pytest
from benchmarks.entropy_tasks import DECEPTION, MOVED_WALL, TWO_GOALS, Maze, MazeTask

from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

UP, DOWN, LEFT, RIGHT = range(4)
FIRST, MID = int(StepType.FIRST), int(StepType.MID)
TERMINATED, TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

SMALL = MazeTask(
    name="small",
    maps=(("#####", "#S G#", "#####"), ("#####", "#S###", "#####")),
    pays={"G": 1.0},
    step_reward=-0.25,
    episode_steps=4,
)
"""Two steps right is the goal; in map 1 it is walled off."""


def begun(task: MazeTask, *, num_agents: int = 1, map_: int = 0) -> Maze:
    maze = Maze(task, num_agents=num_agents)
    maze.reset(seed=0, parameters={"map": map_})
    return maze


def moved(maze: Maze, *moves: int) -> TimestepBatch:
    """The timesteps after one move of each agent that awaits one."""
    actions = ActionBatch(
        continuous=np.zeros((len(moves), 0), np.float32),
        discrete=np.array(moves, np.int32)[:, None],
        policy_version=0,
    )
    timesteps = maze.step({"maze": actions})["maze"]
    timesteps.check(maze.spec)
    return timesteps


def walked(maze: Maze, moves: Sequence[int]) -> list[TimestepBatch]:
    return [moved(maze, move) for move in moves]


def cells(timesteps: TimestepBatch, *, height: int) -> list[tuple[int, int]]:
    """(row, column) that each timestep shows."""
    position = timesteps.observation["position"]
    rows, columns = position[:, :height], position[:, height:]
    return list(zip(rows.argmax(1).tolist(), columns.argmax(1).tolist(), strict=True))


def test_an_agent_sees_its_row_and_its_column() -> None:
    timesteps = Maze(SMALL, num_agents=1).reset(seed=0, parameters={})["maze"]
    # Height 3, width 5; the start is in row 1, column 1.
    np.testing.assert_array_equal(timesteps.observation["position"], [[0, 1, 0, 0, 1, 0, 0, 0]])
    assert timesteps.step_type.tolist() == [FIRST]


def test_each_move_goes_its_way() -> None:
    # The start of the two goals is in the middle of a free field of three rows: row 2, column 5.
    for move, there in {UP: (1, 5), DOWN: (3, 5), LEFT: (2, 4), RIGHT: (2, 6)}.items():
        assert cells(moved(begun(TWO_GOALS), move), height=5) == [there]


def test_a_move_into_a_wall_costs_a_step_and_goes_nowhere() -> None:
    timesteps = moved(begun(SMALL), UP)
    assert cells(timesteps, height=3) == [(1, 1)]
    assert timesteps.reward.tolist() == [-0.25]
    assert timesteps.step_type.tolist() == [MID]


def test_reaching_a_goal_pays_less_the_step_and_begins_the_next_episode() -> None:
    first, second = walked(begun(SMALL), [RIGHT, RIGHT])
    assert first.step_type.tolist() == [MID]
    assert second.step_type.tolist() == [TERMINATED, FIRST]
    assert second.reward.tolist() == [0.75, 0.0]
    assert cells(second, height=3) == [(1, 3), (1, 1)]


def test_an_episode_that_takes_too_long_is_truncated_where_it_stands() -> None:
    *_, third, fourth = walked(begun(SMALL), [RIGHT, LEFT, UP, RIGHT])
    assert third.step_type.tolist() == [MID]
    assert fourth.step_type.tolist() == [TRUNCATED, FIRST]
    assert cells(fourth, height=3) == [(1, 2), (1, 1)]


def test_a_goal_reached_with_the_last_step_terminates() -> None:
    *_, last = walked(begun(SMALL), [UP, UP, RIGHT, RIGHT])
    assert last.step_type.tolist() == [TERMINATED, FIRST]


def test_actions_are_those_of_the_rows_that_awaited_them() -> None:
    maze = begun(SMALL, num_agents=2)
    moved(maze, RIGHT, UP)
    ended = moved(maze, RIGHT, UP)
    assert ended.agent_id.tolist() == [0, 1, 0]
    # Agent 1 went on, agent 0 began anew: its action comes second.
    after = moved(maze, RIGHT, UP)
    assert after.agent_id.tolist() == [0, 1]
    assert cells(after, height=3) == [(1, 1), (1, 2)]


def test_another_map_holds_from_the_next_episode() -> None:
    maze = begun(SMALL)
    moved(maze, RIGHT)
    maze.set_parameters({"map": 1})
    assert moved(maze, RIGHT).step_type.tolist() == [TERMINATED, FIRST]
    walled = moved(maze, RIGHT)
    assert cells(walled, height=3) == [(1, 1)]


def test_endings_are_counted_once() -> None:
    maze = begun(SMALL, num_agents=2)
    moved(maze, RIGHT, UP)
    moved(maze, RIGHT, UP)
    assert maze.take_endings() == {"G": 1}
    assert maze.take_endings() == {"G": 0}


@pytest.mark.parametrize("task", [DECEPTION, TWO_GOALS, MOVED_WALL])
def test_every_drawing_is_closed_and_has_one_start(task: MazeTask) -> None:
    for drawing in task.maps:
        assert len({len(row) for row in drawing}) == 1
        border = drawing[0] + drawing[-1] + "".join(row[0] + row[-1] for row in drawing)
        assert set(border) == {"#"}
        assert "".join(drawing).count("S") == 1


def test_the_near_goal_deceives() -> None:
    # Two steps left pay 0.1 - 2 * 0.01; eight steps right pay 1 - 8 * 0.01.
    left, right = [LEFT] * 2, [RIGHT] * 8
    assert sum(t.reward[0] for t in walked(begun(DECEPTION), left)) == pytest.approx(0.08)
    assert sum(t.reward[0] for t in walked(begun(DECEPTION), right)) == pytest.approx(0.92)
    # A policy that has not learned gets to the near goal far more often than to the far one.
    maze = begun(DECEPTION, num_agents=100)
    generator = np.random.default_rng(0)
    for _ in range(500):
        moved(maze, *generator.integers(4, size=100).tolist())
    endings = maze.take_endings()
    assert endings["n"] > 5 * endings["F"]


def test_the_two_goals_are_alike_until_one_is_closed() -> None:
    for steps, goal in ([LEFT] * 4, "A"), ([RIGHT] * 4, "B"):
        maze = begun(TWO_GOALS)
        assert walked(maze, steps)[-1].reward[0] == 1.0
        assert maze.take_endings()[goal] == 1
    for map_, steps in (1, [LEFT] * 4), (2, [RIGHT] * 4):
        assert walked(begun(TWO_GOALS, map_=map_), steps)[-1].step_type.tolist() == [MID]


def test_the_way_through_the_wall_is_as_long_after_it_moved() -> None:
    # From row 5, column 5, through the gap at an end of row 3, to row 1, column 5: 12 steps.
    right = [RIGHT] * 4 + [UP] * 4 + [LEFT] * 4
    left = [LEFT] * 4 + [UP] * 4 + [RIGHT] * 4
    assert walked(begun(MOVED_WALL), right)[-1].step_type.tolist() == [TERMINATED, FIRST]
    assert walked(begun(MOVED_WALL, map_=1), left)[-1].step_type.tolist() == [TERMINATED, FIRST]
    # The way that was learned ends at the wall.
    stuck = walked(begun(MOVED_WALL, map_=1), right)[-1]
    assert cells(stuck, height=7) == [(4, 5)]
