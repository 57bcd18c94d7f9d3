"""A tuning of real runs: CartPole over gRPC, by commands as users type them."""

import subprocess
import sys
from pathlib import Path

import pytest

from entrain.config.load import load_config
from entrain.run.table import read_metrics

pytestmark = pytest.mark.learning

SETTINGS = f"""\
name: cartpole
simulators:
  launch:
    - command: [{sys.executable}, -m, entrain_envs, gymnasium, CartPole-v1, --count, "8"]
policies:
  CartPole-v1:
    total_steps: 10000
    rollout_steps: 256
    normalize_observations: false
    algorithm: {{minibatch_size: 256, num_epochs: 10}}
search:
  trials: 2
  sampler: random
  options:
    policies.CartPole-v1.algorithm.learning_rate: {{choices: [1e-6, 3e-3]}}
"""


def entrain(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "entrain", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_best_of_two_learning_rates_is_the_one_that_learns(tmp_path: Path) -> None:
    (tmp_path / "cartpole.yaml").write_text(SETTINGS)
    # Of two random draws both may be the same, so it is tried until both were.
    tuning = tmp_path / "runs" / "cartpole-tuning"
    for trials in range(2, 10):
        said = entrain(tmp_path, "tune", "cartpole.yaml", "--set", f"search.trials={trials}")
        tried = {
            load_config(path, []).policies["CartPole-v1"].algorithm.learning_rate
            for path in (tuning / "trials").glob("*.yaml")
        }
        if len(tried) == 2:
            break
    assert tried == {1e-6, 3e-3}
    assert "entrain train runs/cartpole-tuning/best.yaml" in said
    best = load_config(tuning / "best.yaml", [])
    assert best.policies["CartPole-v1"].algorithm.learning_rate == 3e-3
    entrain(tmp_path, "train", "runs/cartpole-tuning/best.yaml")
    series = read_metrics(tmp_path / "runs" / "cartpole-best" / "metrics.csv")["CartPole-v1"]
    assert series.columns["rollout/episode_return_last_100"][-1] > 60.0
