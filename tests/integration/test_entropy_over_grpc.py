"""Simulators of the five-state chain, over real streams: the policy that theory says comes out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from entrain.app.build import load_policies
from entrain.run.folder import RunFolder
from exact_answers import bonus_chain, soft_chain
from live_run import config_from, newest, simulators, train
from tables import probabilities, values
from toy_environments import Chain

CONFIG = """
seed: 3
server: {{address: "unix:{socket}", lockstep: true}}
simulators: {{expect: 2}}
policies:
  toy:
    total_steps: 245760
    network: {{hidden_sizes: []}}
    normalize_observations: false
    entropy: {{objective: {objective}, coefficient: 0.5}}
    rollout_steps: 4096
    discount: 0.9
    algorithm:
      minibatch_size: 2048
      num_epochs: 2
      learning_rate: 0.1
      gae_lambda: 0.9
      advantage_normalization: none
      max_grad_norm: 0.0
"""


@pytest.mark.parametrize(("objective", "published"), [("soft_return", 0.152), ("bonus", 0.688)])
async def test_the_chain_as_a_simulator_ends_where_its_objective_says(
    tmp_path: Path, objective: str, published: float
) -> None:
    value, exact = soft_chain(0.5) if objective == "soft_return" else bonus_chain(0.5)
    assert exact[2] == pytest.approx(published, abs=1e-3)
    config = config_from(CONFIG.format(socket=tmp_path / "s", objective=objective), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "chain")
    chains = {name: Chain(num_agents=256) for name in ("alpha", "beta")}
    with simulators(f"unix:{tmp_path}/s", chains) as reports:
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    assert sum(report.closed for report in reports) >= 245760
    assert run.trainers["toy"].progress.updates == 60
    # What is looked at is what the run has left on disk.
    policy = load_policies(config, newest(folder))["toy"]
    right = probabilities(policy, torch.eye(3))[:, 1]
    np.testing.assert_allclose(right, exact, atol=0.015)
    np.testing.assert_allclose(values(policy, torch.eye(3))[:, 0], value, atol=0.04)
