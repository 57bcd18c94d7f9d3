"""The real actor and the real PPO learn solutions that are known in closed form, within seconds.

`test_entropy_oracles` does the same for a bandit and a chain with entropy.
"""

import pytest
import torch

from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig
from entrain_envs.timestep import StepType
from in_process import learn
from tables import learn_table, normal, values
from toy_environments import Endless, Follow


def value_of_endless(end: StepType) -> float:
    learned = learn_table(
        Endless(end, num_agents=16),
        updates=25,
        rollout_steps=112,
        minibatch_size=28,
        num_epochs=4,
        learning_rate=0.1,
        discount=0.9,
    )
    return values(learned.policy, torch.ones(1, 1)).item()


def test_a_life_cut_every_7_steps_is_valued_as_endless() -> None:
    # 1 + 0.9 + 0.9^2 + ... = 1 / (1 - 0.9)
    assert value_of_endless(StepType.TRUNCATED) == pytest.approx(10.0, rel=0.02)


def test_a_life_that_terminates_every_7_steps_is_valued_at_what_is_left_of_it() -> None:
    # The observation does not tell the age, so there is one value V for all ages. It rests where
    # advantages cancel out, 0 = sum over k = 1..7 steps left of
    #     sum_{i < k} (0.9 * 0.95)^i * (1 - V + (0.9 * V unless i = k - 1))
    # which is linear in V.
    weights = [[(0.9 * 0.95) ** i for i in range(k)] for k in range(1, 8)]
    rewards = sum(sum(row) for row in weights)
    discounts = sum(sum(row) - 0.9 * sum(row[:-1]) for row in weights)
    assert rewards / discounts == pytest.approx(3.389, abs=1e-3)
    assert value_of_endless(StepType.TERMINATED) == pytest.approx(rewards / discounts, rel=0.02)


def test_default_options_learn_what_no_linear_policy_can() -> None:
    config = PolicyConfig(
        total_steps=30 * 512,
        rollout_steps=512,
        discount=0.5,
        algorithm=PPOConfig(learning_rate=3e-3),
    )
    learned = learn(Follow(num_agents=32), config, seed=0)
    seen = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 3.0 - 1.5
    mean, _ = normal(learned.policy, seen)
    error = (mean[:, 0] - seen.prod(dim=1)).square().mean()
    # A constant, or any linear policy, is off by Var(xy) = (1.5^2 / 3)^2 = 0.56.
    assert error.item() < 0.06
    assert learned.metrics[-1]["value/explained_variance"] < 1.0
    assert learned.metrics[-1]["policy/sigma/0"] < 0.6 < learned.metrics[0]["policy/sigma/0"]
