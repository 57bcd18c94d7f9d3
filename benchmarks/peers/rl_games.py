"""CartPole-v1 without velocities by rl_games' PPO; policy and critic share the LSTM.

python -m benchmarks.peers.rl_games
"""

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from rl_games.common import env_configurations, vecenv
from rl_games.common.algo_observer import DefaultAlgoObserver
from rl_games.torch_runner import Runner

from benchmarks.peers.masked_cartpole import (
    LSTM_SIZE,
    MINIBATCH,
    SEQUENCE_LENGTH,
    cartpole_without_velocities,
)
from benchmarks.peers.turns import ENVIRONMENTS, EPOCHS, FOREVER, STEPS, Turns


class Rounds(DefaultAlgoObserver):  # type: ignore[misc]
    """Rests between rounds."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns
        self._epoch = 0

    def after_init(self, algo: Any) -> None:
        """Before the first round."""
        super().after_init(algo)
        self._parameters = sum(each.numel() for each in algo.model.parameters())
        self._turns.count_descents(algo.optimizer)
        self._turns.between_rounds(parameters=self._parameters)

    def after_print_stats(self, frame: int, epoch_num: int, total_time: float) -> None:
        """After each round; rl_games calls it twice."""
        super().after_print_stats(frame, epoch_num, total_time)
        if epoch_num == self._epoch:
            return
        self._epoch = epoch_num
        self._turns.between_rounds(parameters=self._parameters)


class InProcess:
    """Gymnasium environments one after the other, as rl_games wants them. Owned by its agent."""

    def __init__(self, count: int) -> None:
        self._envs = [cartpole_without_velocities() for _ in range(count)]

    def reset(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """[count, 2] observations."""
        return np.stack([env.reset(seed=seed)[0] for seed, env in enumerate(self._envs)])

    def step(self, actions: np.ndarray[Any, Any]) -> tuple[Any, Any, Any, Mapping[str, Any]]:
        """Observations [count, 2], rewards, ends, and which of the ends were time limits."""
        observations, rewards, ends, limits = [], [], [], []
        for env, action in zip(self._envs, actions, strict=True):
            observation, reward, terminated, truncated, _ = env.step(int(action))
            if terminated or truncated:
                observation = env.reset()[0]
            observations.append(observation)
            rewards.append(float(reward))
            ends.append(terminated or truncated)
            limits.append(truncated)
        return (
            np.stack(observations),
            np.array(rewards, np.float32),
            np.array(ends, np.bool_),
            {"time_outs": np.array(limits, np.uint8)},
        )

    def get_env_info(self) -> Mapping[str, Any]:
        """The spaces of one environment."""
        return {
            "observation_space": self._envs[0].observation_space,
            "action_space": self._envs[0].action_space,
            "agents": 1,
            "value_size": 1,
        }

    def set_train_info(self, *_: Any, **__: Any) -> None:
        """Take no notice."""

    def get_env_state(self) -> None:
        """Nothing to keep."""


def options(folder: str) -> dict[str, Any]:
    """Its own recurrent CartPole, with the numbers of this comparison."""
    return {
        "seed": 1,
        "torch_threads": 1,
        "algo": {"name": "a2c_discrete"},
        "model": {"name": "discrete_a2c"},
        "network": {
            "name": "actor_critic",
            "separate": False,
            "space": {"discrete": None},
            "mlp": {
                "units": [64, 64],
                "activation": "tanh",
                "initializer": {"name": "default"},
            },
            "rnn": {"name": "lstm", "units": LSTM_SIZE, "layers": 1, "before_mlp": False},
        },
        "config": {
            "name": "masked-cartpole",
            "env_name": "masked",
            "device": "cpu",
            "train_dir": folder,
            "num_actors": ENVIRONMENTS,
            "horizon_length": STEPS,
            "seq_length": SEQUENCE_LENGTH,
            "minibatch_size": MINIBATCH,
            "mini_epochs": EPOCHS,
            "max_epochs": FOREVER,
            "save_best_after": FOREVER,
            "print_stats": False,
            "reward_shaper": {"scale_value": 1.0},
            "normalize_input": False,
            "normalize_advantage": True,
            "gamma": 0.99,
            "tau": 0.95,
            "learning_rate": 3e-4,
            "lr_schedule": None,
            "e_clip": 0.2,
            "clip_value": True,
            "critic_coef": 1.0,
            "entropy_coef": 0.0,
            "truncate_grads": True,
            "grad_norm": 0.5,
        },
    }


def main() -> None:
    """Train until nobody asks for another round."""
    turns = Turns()
    torch.set_num_threads(1)
    vecenv.register("IN_PROCESS", lambda _name, actors, **_options: InProcess(actors))
    env_configurations.register("masked", {"vecenv_type": "IN_PROCESS"})
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(Rounds(turns))
        runner.load({"params": options(scratch)})
        runner.run_train({"train": True})


if __name__ == "__main__":
    main()
