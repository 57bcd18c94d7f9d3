"""PPO with an LSTM by sb3-contrib and by rl_games, in process: env steps/s of one of them.

Both learn CartPole-v1 without velocities: 8 environments x 256 steps, LSTM of 128, minibatch 512,
10 epochs, one torch thread; whatever is not said here is their default. Nothing here needs entrain.

    python -m benchmarks.recurrent_peers sb3-contrib --steps 20480
"""

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch

ENVIRONMENTS = 8
STEPS = 256
MINIBATCH = 512
EPOCHS = 10
LSTM_SIZE = 128
SEQUENCE_LENGTH = 16
"""Of rl_games, as of entrain; sb3-contrib unrolls each episode's part of a minibatch whole."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--steps", type=int, default=20480)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # What a peer prints must not be taken for the figure.
    with contextlib.redirect_stdout(sys.stderr):
        seconds = PEERS[arguments.peer](arguments.steps // (ENVIRONMENTS * STEPS))
    print(ENVIRONMENTS * STEPS / statistics.median(seconds))


def cartpole_without_velocities() -> gymnasium.Env[Any, Any]:
    """CartPole-v1 that shows where cart and pole are, but not how fast they move."""
    env = gymnasium.make("CartPole-v1")
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    shown = [0, 2]
    return gymnasium.wrappers.TransformObservation(
        env,
        lambda observation: observation[shown],
        gymnasium.spaces.Box(space.low[shown], space.high[shown]),
    )


def sb3_contrib_rounds(rounds: int) -> list[float]:
    """Seconds of each rollout with its update by RecurrentPPO, the first left out."""
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv

    begun: list[float] = []

    class Rounds(BaseCallback):  # type: ignore[misc]
        def _on_rollout_start(self) -> None:
            begun.append(time.perf_counter())

        def _on_step(self) -> bool:
            return True

    model = RecurrentPPO(
        "MlpLstmPolicy",
        DummyVecEnv([cartpole_without_velocities] * ENVIRONMENTS),
        n_steps=STEPS,
        batch_size=MINIBATCH,
        n_epochs=EPOCHS,
        policy_kwargs={"lstm_hidden_size": LSTM_SIZE},
        device="cpu",
        seed=1,
    )
    model.learn(rounds * ENVIRONMENTS * STEPS, callback=Rounds())
    begun.append(time.perf_counter())
    return between(begun[1:])


def rl_games_rounds(rounds: int) -> list[float]:
    """Seconds of each rollout with its update by rl_games, the first two left out.

    In the first two, torch.compile, which is on by default, still compiles.
    """
    from rl_games.common import env_configurations, vecenv
    from rl_games.common.algo_observer import DefaultAlgoObserver
    from rl_games.torch_runner import Runner

    begun: list[float] = []

    class Rounds(DefaultAlgoObserver):  # type: ignore[misc]
        def after_print_stats(self, frame: int, epoch_num: int, total_time: float) -> None:
            begun.append(time.perf_counter())
            super().after_print_stats(frame, epoch_num, total_time)

    vecenv.register("IN_PROCESS", lambda _name, actors, **_options: InProcess(actors))
    env_configurations.register("masked", {"vecenv_type": "IN_PROCESS"})
    with tempfile.TemporaryDirectory() as scratch:
        runner = Runner(Rounds())
        runner.load({"params": rl_games_parameters(rounds, scratch)})
        runner.run_train({"train": True})
    return between(begun[1:])


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


def rl_games_parameters(rounds: int, folder: str) -> dict[str, Any]:
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
            "max_epochs": rounds,
            "save_best_after": rounds + 1,
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


def between(times: list[float]) -> list[float]:
    """The gaps."""
    return [after - before for before, after in itertools.pairwise(times)]


PEERS: Mapping[str, Callable[[int], list[float]]] = {
    "sb3-contrib": sb3_contrib_rounds,
    "rl_games": rl_games_rounds,
}


if __name__ == "__main__":
    main()
