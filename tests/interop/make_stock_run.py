"""Makes tests/cases/stock_run with ML-Agents' own classes: a policy of 3DBall's shapes after steps.

Runs in a virtual environment of its own, with the package mlagents 1.1.0:

    python make_stock_run.py FOLDER

Beside `3DBall/checkpoint.pt` it writes expected.json: what the network computes for some rows, and
what it computes after one more step of its optimizer.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from mlagents.trainers.policy.torch_policy import TorchPolicy
from mlagents.trainers.ppo.optimizer_torch import PPOSettings, TorchPPOOptimizer
from mlagents.trainers.settings import NetworkSettings, TrainerSettings
from mlagents.trainers.torch_entities.networks import SimpleActor
from mlagents_envs.base_env import (
    ActionSpec,
    BehaviorSpec,
    DimensionProperty,
    ObservationSpec,
    ObservationType,
)

SIZE, ACTIONS, ROWS = 8, 2, 4
STEPS = 400
STATUS = {
    "mass": {"lesson_num": 1},
    "3DBall": {"checkpoints": [], "elo": 1200.0},
    "metadata": {"stats_format_version": "0.3.0", "mlagents_version": "1.1.0"},
}


def main() -> None:
    """Command line."""
    folder = Path(sys.argv[1])
    (folder / "3DBall").mkdir(parents=True)
    (folder / "run_logs").mkdir()
    torch.manual_seed(1)
    policy, optimizer = made()
    rows = torch.randn(ROWS, SIZE) * 2.0 + 1.0
    for network in (policy.actor, optimizer.critic):
        network.network_body.observation_encoder.processors[0].normalizer.update(rows)
    for _ in range(3):
        step(policy, optimizer, rows, learning_rate=0.05)
    policy.set_step(STEPS)
    modules = {**policy.get_modules(), **optimizer.get_modules()}
    content = {name: module.state_dict() for name, module in modules.items()}
    torch.save(content, folder / "3DBall" / "checkpoint.pt")
    now = computed(policy, optimizer, rows)
    step(policy, optimizer, rows, learning_rate=0.01)
    expected = {"rows": rows.tolist(), "now": now, "then": computed(policy, optimizer, rows)}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")
    (folder / "run_logs" / "training_status.json").write_text(json.dumps(STATUS) + "\n")


def made() -> tuple[Any, Any]:
    """Policy and optimizer."""
    seen = ObservationSpec((SIZE,), (DimensionProperty.NONE,), ObservationType.DEFAULT, "seen")
    network = NetworkSettings(normalize=True, hidden_units=8, num_layers=2)
    settings = TrainerSettings(
        trainer_type="ppo", hyperparameters=PPOSettings(), network_settings=network
    )
    policy = TorchPolicy(
        0,
        BehaviorSpec([seen], ActionSpec(ACTIONS, ())),
        network,
        SimpleActor,
        {"conditional_sigma": False, "tanh_squash": False},
    )
    return policy, TorchPPOOptimizer(policy, settings)


def forward(policy: Any, optimizer: Any, rows: Any) -> tuple[Any, Any, Any]:
    """Means, logarithm of sigma and values."""
    encoded, _ = policy.actor.network_body([rows])
    gaussian = policy.actor.action_model._continuous_distribution
    values, _ = optimizer.critic.critic_pass([rows])
    return gaussian.mu(encoded), gaussian.log_sigma, values["extrinsic"]


def step(policy: Any, optimizer: Any, rows: Any, *, learning_rate: float) -> None:
    """One of Adam's, down a loss that every weight has a part in."""
    mean, log_sigma, value = forward(policy, optimizer, rows)
    loss = mean[:, 0].mean() - mean[:, 1].mean() + log_sigma.sum() + (value - 1.0).square().mean()
    adam = optimizer.optimizer
    adam.param_groups[0]["lr"] = learning_rate
    adam.zero_grad()
    loss.backward()
    adam.step()


def computed(policy: Any, optimizer: Any, rows: Any) -> dict[str, Any]:
    """As plain values."""
    mean, log_sigma, value = forward(policy, optimizer, rows)
    return {"mean": mean.tolist(), "log_sigma": log_sigma[0].tolist(), "value": value.tolist()}


if __name__ == "__main__":
    main()
