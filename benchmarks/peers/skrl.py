"""HalfCheetah-v5 by skrl's PPO on torch, with its own scaling of observations and values.

python -m benchmarks.peers.skrl --minibatch 64
"""

import argparse
import tempfile
from collections.abc import Mapping
from typing import Any

import gymnasium
import torch
from skrl.agents.torch.ppo import PPO
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer

from benchmarks.peers.turns import ENVIRONMENTS, EPOCHS, FOREVER, STEPS, Turns

UNITS = 64


def layers(seen: int, outputs: int) -> torch.nn.Sequential:
    """Two hidden layers, as Stable-Baselines3 has by default."""
    return torch.nn.Sequential(
        torch.nn.Linear(seen, UNITS),
        torch.nn.Tanh(),
        torch.nn.Linear(UNITS, UNITS),
        torch.nn.Tanh(),
        torch.nn.Linear(UNITS, outputs),
    )


class Policy(GaussianMixin, Model):  # type: ignore[misc]
    """A Gaussian whose spread does not depend on what is seen."""

    def __init__(self, env: Any) -> None:
        spaces = {
            "observation_space": env.observation_space,
            "action_space": env.action_space,
            "device": "cpu",
        }
        Model.__init__(self, **spaces)
        GaussianMixin.__init__(self)
        self._mean = layers(self.num_observations, self.num_actions)
        self._log_std = torch.nn.Parameter(torch.zeros(self.num_actions))

    def compute(self, inputs: Mapping[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """The mean, and the logarithm of the spread."""
        del role
        return self._mean(inputs["observations"]), {"log_std": self._log_std}


class Critic(DeterministicMixin, Model):  # type: ignore[misc]
    """A network of its own."""

    def __init__(self, env: Any) -> None:
        Model.__init__(
            self,
            observation_space=env.observation_space,
            action_space=env.action_space,
            device="cpu",
        )
        DeterministicMixin.__init__(self)
        self._value = layers(self.num_observations, 1)

    def compute(self, inputs: Mapping[str, Any], role: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """The value."""
        del role
        return self._value(inputs["observations"]), {}


class Rested(PPO):  # type: ignore[misc]
    """Rests between rounds."""

    turns: Turns

    def pre_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Before each step of the environments."""
        if timestep % STEPS == 0:
            learned = [*self.policy.parameters(), *self.value.parameters()]
            self.turns.between_rounds(parameters=sum(each.numel() for each in learned))
        super().pre_interaction(timestep=timestep, timesteps=timesteps)


def options(env: Any, minibatch: int, folder: str) -> dict[str, Any]:
    """Those of the comparison; the coefficient of the value's error is Stable-Baselines3's."""
    return {
        "rollouts": STEPS,
        "learning_epochs": EPOCHS,
        "mini_batches": ENVIRONMENTS * STEPS // minibatch,
        "discount_factor": 0.99,
        "gae_lambda": 0.95,
        "learning_rate": 3e-4,
        "grad_norm_clip": 0.5,
        "ratio_clip": 0.2,
        "value_clip": 0.0,
        "entropy_loss_scale": 0.0,
        "value_loss_scale": 0.5,
        "time_limit_bootstrap": True,
        "observation_preprocessor": RunningStandardScaler,
        "observation_preprocessor_kwargs": {"size": env.observation_space, "device": "cpu"},
        "value_preprocessor": RunningStandardScaler,
        "value_preprocessor_kwargs": {"size": 1, "device": "cpu"},
        "experiment": {"directory": folder, "write_interval": 0, "checkpoint_interval": 0},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minibatch", type=int, default=64)
    arguments = parser.parse_args()
    turns = Turns()
    torch.set_num_threads(1)
    env = wrap_env(
        gymnasium.make_vec("HalfCheetah-v5", num_envs=ENVIRONMENTS, vectorization_mode="sync"),
        verbose=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        agent = Rested(
            models={"policy": Policy(env), "value": Critic(env)},
            memory=RandomMemory(memory_size=STEPS, num_envs=ENVIRONMENTS, device="cpu"),
            observation_space=env.observation_space,
            action_space=env.action_space,
            device="cpu",
            cfg=options(env, arguments.minibatch, folder),
        )
        agent.turns = turns
        turns.count_descents(agent.optimizer)
        trainer = SequentialTrainer(
            env=env,
            agents=agent,
            cfg={"timesteps": FOREVER, "headless": True, "disable_progressbar": True},
        )
        trainer.train()


if __name__ == "__main__":
    main()
