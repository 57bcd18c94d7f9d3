"""Simulators of the five-state chain, over real streams: the policy that theory says comes out."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from entrain.app.build import load_policies
from entrain.run.folder import RunFolder
from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver, Report
from entrain_envs.errors import ConnectionLostError
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

SOFT_Q = """
seed: 3
server: {{address: "unix:{socket}"}}
simulators: {{expect: 2}}
policies:
  toy:
    total_steps: 6144
    rollout_steps: 128
    network: {{hidden_sizes: []}}
    normalize_observations: false
    discount: 0.9
    policy_lag: {policy_lag}
    entropy: {{coefficient: {alpha}}}
    algorithm:
      kind: soft_q
      learning_starts: 128
      batch_size: 256
      updates_per_step: 0.1
      learning_rate: 0.1
      learning_rate_schedule: linear
      target_rate: 0.5
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


@contextmanager
def visitor(address: str) -> Iterator[Sequence[Report]]:
    """A simulator that leaves after 16 episodes and comes again, until the trainer is done."""
    reports: list[Report] = []
    is_over = threading.Event()

    def visit() -> None:
        while not is_over.is_set() and (not reports or reports[-1].episodes >= 16):
            chain = Chain(num_agents=8)
            # One that leaves as the run ends finds nobody when it comes again.
            client = TrainerClient(
                address, chain.behaviours, simulator="gamma", connect_s=10.0, reconnect_s=30.0
            )
            try:
                reports.append(Driver(chain, client, episodes=16).run())
            except ConnectionLostError:
                assert is_over.wait(60.0), "the trainer did not answer before the run was over"

    thread = threading.Thread(target=visit)
    thread.start()
    yield reports
    is_over.set()
    thread.join(60.0)
    assert not thread.is_alive()


@pytest.mark.parametrize(("alpha", "policy_lag"), [(0.1, 0), (0.5, 1)])
async def test_soft_q_learns_the_chain_from_simulators_that_come_and_go(
    tmp_path: Path, alpha: float, policy_lag: int
) -> None:
    _, exact = soft_chain(alpha)
    settings = SOFT_Q.format(socket=tmp_path / "s", alpha=alpha, policy_lag=policy_lag)
    config = config_from(settings, tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "chain")
    address = f"unix:{tmp_path}/s"
    chains = {"alpha": Chain(num_agents=32), "beta": Chain(num_agents=32)}
    with simulators(address, chains), visitor(address) as visits:
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    trainer = run.trainers["toy"]
    ledger = trainer.ledger
    assert ledger.opened == ledger.closed + ledger.dropped
    assert ledger.closed == trainer.progress.env_steps >= 6144
    assert len(visits) > 1, "it came again"
    policy = load_policies(config, newest(folder))["toy"]
    right = probabilities(policy, torch.eye(3))[:, 1]
    # Total variation, with two choices.
    np.testing.assert_allclose(right, exact, atol=0.02)
