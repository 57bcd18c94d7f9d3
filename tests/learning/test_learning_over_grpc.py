"""Whole runs, as a user starts them, reach what the field publishes: seeds, a mean, a threshold."""

import statistics
from pathlib import Path

import pytest
from benchmarks.learning import TASKS
from benchmarks.runs import train


@pytest.mark.learning
@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_mean_final_return_over_seeds_reaches_the_threshold(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    runs = [
        train(
            task.config, tmp_path / f"{name}-{seed}", f"seed={seed}", "server.address=localhost:0"
        )
        for seed in range(1, task.num_seeds + 1)
    ]
    finals = [task.score(run) for run in runs]
    assert statistics.mean(finals) >= task.threshold, f"{finals}, wanted {task.source}"


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "policy"), [("ball", "ball"), ("cartpole", "CartPole-v1"), ("pendulum", "Pendulum-v1")]
)
def test_learning_while_collecting_reaches_the_same_threshold(
    name: str, policy: str, tmp_path: Path
) -> None:
    task = TASKS[name]
    settings = ("server.address=localhost:0", f"policies.{policy}.policy_lag=1")
    runs = [
        train(task.config, tmp_path / f"{name}-{seed}", f"seed={seed}", *settings)
        for seed in range(1, task.num_seeds + 1)
    ]
    finals = [task.score(run) for run in runs]
    assert statistics.mean(finals) >= task.threshold, f"{finals}, wanted {task.source}"


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("cartpole", "CartPole-v1.algorithm.learning_rate=1e-12"),
        # Then values come to a tenth of what they should be.
        ("cartpole_soft_q", "CartPole-v1.algorithm.target_rate=0.001"),
        ("pendulum_sac", "Pendulum-v1.algorithm.learning_starts=10_000"),
    ],
)
def test_a_policy_that_does_not_learn_misses_the_threshold(
    name: str, setting: str, tmp_path: Path
) -> None:
    task = TASKS[name]
    options = ("server.address=localhost:0", f"policies.{setting}")
    run = train(task.config, tmp_path / "broken", *options)
    least = task.threshold - 0.25 * abs(task.threshold)
    assert task.score(run) < least
