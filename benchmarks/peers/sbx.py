"""HalfCheetah-v5 by SBX: Stable-Baselines3's PPO on JAX, each gradient step compiled.

python -m benchmarks.peers.sbx --minibatch 64
"""

import argparse

import jax
import torch
from sbx import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from benchmarks.peers.turns import ENVIRONMENTS, EPOCHS, FOREVER, STEPS, Turns


class Rounds(BaseCallback):  # type: ignore[misc]
    """Rests between rounds."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def _on_rollout_start(self) -> None:
        policy = self.model.policy
        states = (policy.actor_state, policy.vf_state)
        leaves = [leaf for each in states for leaf in jax.tree.leaves(each.params)]
        jax.block_until_ready(leaves)
        self._turns.between_rounds(
            parameters=sum(leaf.size for leaf in leaves), descents=int(states[0].step)
        )

    def _on_step(self) -> bool:
        return True


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minibatch", type=int, default=64)
    arguments = parser.parse_args()
    turns = Turns()
    torch.set_num_threads(1)
    model = PPO(
        "MlpPolicy",
        VecNormalize(make_vec_env("HalfCheetah-v5", n_envs=ENVIRONMENTS, seed=1)),
        n_steps=STEPS,
        batch_size=arguments.minibatch,
        n_epochs=EPOCHS,
        seed=1,
    )
    model.learn(FOREVER, callback=Rounds(turns))


if __name__ == "__main__":
    main()
