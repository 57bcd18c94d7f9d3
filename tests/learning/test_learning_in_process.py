"""The actor and PPO alone, without server and wire, reach what the field's tuned settings reach.

If these hold and those over gRPC do not, the wire is at fault.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from entrain.config.load import load_config
from entrain_envs.environment import Environment
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment, make
from entrain_envs.timestep import TimestepBatch
from in_process import learn
from late_answers import LateAnswers

CONFIGS = Path(__file__).parents[2] / "benchmarks/configs"
LAST_EPISODES = 50


def final_return(
    name: str, env_id: str, options: list[str], *, count: int, seed: int, late: float = 0.0
) -> float:
    """Mean over the last episodes that ended in training, with so many of the answers late."""
    overrides = [f"policies.{env_id}.{option}" for option in options]
    config = load_config(CONFIGS / f"{name}.yaml", overrides).policies[env_id]
    environment: Environment = GymnasiumEnvironment(
        lambda: make(env_id, {}), behaviour=env_id, count=count
    )
    if late:
        environment = LateAnswers(environment, leaning, share=late, seed=seed)
    learned = learn(environment, config, seed=seed)
    environment.close()
    return float(np.concatenate(learned.returns)[-LAST_EPISODES:].mean())


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "env_id", "options", "count", "threshold"),
    [
        # The best possible is 500.
        ("cartpole", "CartPole-v1", [], 8, 475.0),
        # A random policy gets about -1,200; the pendulum kept upright, about -150. Learning from
        # 1,024 steps at a time gives it 98 updates; from 4,096, some seeds run out of them.
        ("pendulum", "Pendulum-v1", ["rollout_steps=1024"], 4, -300.0),
    ],
)
def test_three_seeds_learn_within_a_hundred_thousand_steps(
    name: str, env_id: str, options: list[str], count: int, threshold: float
) -> None:
    finals = [final_return(name, env_id, options, count=count, seed=seed) for seed in (1, 2, 3)]
    assert float(np.mean(finals)) >= threshold, f"{finals}"


def leaning(rows: TimestepBatch) -> npt.NDArray[np.int64]:
    """Pushes the cart to where the pole leans; alone, that keeps it up for some 40 steps."""
    leans_right = np.asarray(rows.observation["observation"], np.float32)[:, 2] > 0.0
    return leans_right.astype(np.int64)


@pytest.mark.learning
def test_cartpole_is_solved_though_three_in_ten_answers_are_late() -> None:
    # Then a poor controller acts. Where the last choice is repeated instead, the best linear
    # controller itself reaches 430.
    finals = [
        final_return("cartpole", "CartPole-v1", [], count=8, seed=seed, late=0.3)
        for seed in (1, 2, 3)
    ]
    assert float(np.mean(finals)) >= 475.0, f"{finals}"
