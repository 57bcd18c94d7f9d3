"""HalfCheetah-v5 by Stable-Baselines3's PPO.

python -m benchmarks.peers.sb3 --minibatch 64
"""

import argparse

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.peers.turns import ENVIRONMENTS, EPOCHS, FOREVER, STEPS, Turns


class Rounds(BaseCallback):  # type: ignore[misc]
    """Rests between rounds."""

    def __init__(self, turns: Turns, parameters: int) -> None:
        super().__init__()
        self._turns = turns
        self._parameters = parameters

    def _on_rollout_start(self) -> None:
        self._turns.between_rounds(parameters=self._parameters)

    def _on_step(self) -> bool:
        return True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minibatch", type=int, default=64)
    arguments = parser.parse_args()
    turns = Turns()
    torch.set_num_threads(1)
    environments = VecNormalize(make_vec_env("HalfCheetah-v5", n_envs=ENVIRONMENTS, seed=1))
    model = PPO(
        "MlpPolicy",
        environments,
        n_steps=STEPS,
        batch_size=arguments.minibatch,
        n_epochs=EPOCHS,
        device="cpu",
    )
    turns.count_descents(model.policy.optimizer)
    parameters = sum(each.numel() for each in model.policy.parameters())
    model.learn(FOREVER, callback=Rounds(turns, parameters))


if __name__ == "__main__":
    main()
