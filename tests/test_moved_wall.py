"""The twin of soft Q in the moved wall: exact chances, exact values, and a table that learns."""

import numpy as np
import pytest
import torch
from benchmarks import entropy_runs, soft_table
from benchmarks.entropy_runs import BENCHMARKS, Learner
from benchmarks.entropy_tasks import MOVED_WALL, Maze
from benchmarks.moved_wall import NEW_GAP, UNDECIDED, CellMaze, cell_policy, chance
from benchmarks.soft_table import (
    GOAL,
    HEIGHT,
    WIDTH,
    SoftTable,
    exact_q,
    next_cells,
    number,
    soft_values,
    table_options,
)

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_policy
from entrain_envs.timestep import ActionBatch

UP, DOWN, LEFT, RIGHT = range(4)


def always(move: int) -> np.ndarray:
    policy = np.zeros((HEIGHT, WIDTH, 4))
    policy[:, :, move] = 1.0
    return policy


def test_the_chance_to_get_to_a_cell_by_hand() -> None:
    # The start is in row 5, column 5. Always left goes to column 1 of that row, never to the gap.
    assert chance(always(LEFT), map_=1, cell=(5, 1)) == 1.0
    assert chance(always(LEFT), map_=1, cell=NEW_GAP) == 0.0
    # Up in column 1 as well: through the gap in the second map, against the wall in the first.
    policy = always(LEFT)
    policy[:, 1] = always(UP)[:, 1]
    assert chance(policy, map_=1, cell=NEW_GAP) == 1.0
    assert chance(policy, map_=0, cell=NEW_GAP) == 0.0
    # (4, 1) is reached with the fifth step; left of it is wall, so that the 45 steps that are left
    # are as many tries of one chance in ten thousand.
    policy[5, 1], policy[4, 1] = always(UP)[5, 1], [1e-4, 0.0, 1.0 - 1e-4, 0.0]
    assert chance(policy, map_=1, cell=NEW_GAP) == pytest.approx(1 - 0.9999**45)


def test_an_episode_that_has_reached_the_goal_goes_nowhere_else() -> None:
    # Left, up through the gap to row 1, and right: onto the goal in column 5, and never past it.
    policy = always(LEFT)
    policy[:, 1], policy[1] = always(UP)[:, 1], always(RIGHT)[1]
    assert chance(policy, map_=1, cell=GOAL) == 1.0
    assert chance(policy, map_=1, cell=(1, 4)) == 1.0
    assert chance(policy, map_=1, cell=(1, 6)) == 0.0


def test_a_policy_plays_in_the_maze_that_it_has_learned_to_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entropy_runs, "PLAYED_EPISODES", 1)
    options = {"algorithm": {"kind": "soft_q"}, "entropy": {"coefficient": 1.0}}
    learner = Learner(BENCHMARKS["moved_wall"], options, seed=1, maze=CellMaze)
    assert -0.5 <= learner.play(map_=0)[0] < 1.0


def test_an_undecided_policy_finds_each_gap_as_often() -> None:
    undecided = np.full((HEIGHT, WIDTH, 4), UNDECIDED)
    new = chance(undecided, map_=1, cell=NEW_GAP)
    assert new == pytest.approx(chance(undecided, map_=0, cell=(3, 9)))


def test_moves_are_those_of_the_maze() -> None:
    maze = Maze(MOVED_WALL, num_agents=1)
    maze.reset(seed=0, parameters={"map": 1.0})
    cell, following = (5, 5), next_cells(1)
    for move in [LEFT, LEFT, LEFT, LEFT, DOWN, UP, UP, UP, UP, UP, RIGHT, DOWN, LEFT]:
        action = ActionBatch(
            continuous=np.zeros((1, 0), np.float32),
            discrete=np.array([[move]], np.int32),
            policy_version=0,
        )
        position = maze.step({"maze": action})["maze"].observation["position"][0]
        there = int(position[:HEIGHT].argmax()), int(position[HEIGHT:].argmax())
        assert following[number(*cell), move] == number(*there)
        cell = there


def test_exact_values_by_hand() -> None:
    # At next to no temperature the value is that of the shortest way, of 12 steps: the goal pays
    # 1 - 0.01 with the last, and -0.01 each of the 11 before it.
    q = exact_q(0, alpha=1e-6, discount=0.97)
    expected = 0.97**11 - 0.01 * (1 - 0.97**12) / (1 - 0.97)
    assert soft_values(q, 1e-6)[number(5, 5)] == pytest.approx(expected, abs=1e-4)
    # Four choices of the same worth: that and alpha ln 4.
    assert soft_values(np.full(4, 2.0), 0.5) == pytest.approx(2.0 + 0.5 * np.log(4))


def test_a_table_that_is_exact_stays_so_in_the_first_map() -> None:
    table = SoftTable(table_options(0.01, 16), seed=1)
    before = table.q.copy()
    for _ in range(20):
        table.act(map_=0)
        table.learn()
    np.testing.assert_allclose(table.q, before, atol=1e-9)


def test_a_table_comes_back_after_the_wall_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft_table, "TOTAL_STEPS", 60_000)
    table = SoftTable(table_options(0.01, 64), seed=1)
    curve = table.train()
    is_after = curve.env_steps > 30_000
    assert curve.value[~is_after][-1] > 0.85
    assert np.nanmin(curve.value[is_after]) == pytest.approx(-0.5)
    assert curve.final() > 0.85
    assert chance(table.policy, map_=1, cell=GOAL) > 0.99


def test_a_network_is_seen_in_the_cell_that_its_observation_shows() -> None:
    maze = Maze(MOVED_WALL, num_agents=1)
    config = PolicyConfig.model_validate(
        {"network": {"hidden_sizes": ()}, "normalize_observations": False}
    )
    policy = make_policy(maze.spec, config, seed=0)
    with torch.no_grad():
        policy.action_head.weight.zero_()
        # Down is preferred by 2 in row 4, right by 3 in column 7.
        policy.action_head.weight[DOWN, 4] = 2.0
        policy.action_head.weight[RIGHT, HEIGHT + 7] = 3.0
    seen = cell_policy(policy, maze)
    expected = np.exp([0.0, 2.0, 0.0, 3.0])
    np.testing.assert_allclose(seen[4, 7], expected / expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(seen[3, 6], [0.25] * 4, rtol=1e-6)


def test_a_maze_of_cells_shows_one_number_for_where_an_agent_is() -> None:
    maze = CellMaze(MOVED_WALL, num_agents=2)
    timesteps = maze.reset(seed=0, parameters={})["maze"]
    timesteps.check(maze.spec)
    position = timesteps.observation["position"]
    assert position.argmax(axis=1).tolist() == [number(5, 5)] * 2
    assert position.sum(axis=1).tolist() == [1.0, 1.0]
