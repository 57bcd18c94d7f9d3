"""The real actor and the real PPO reach what is known in closed form, within seconds.

Exact values: with an entropy coefficient c in the loss, and the return that of the rewards alone,
the policy that PPO comes to rest at is p(a) ~ exp(Q(s, a) / c), Q being that policy's own.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.config import EntropyConfig, NetworkConfig, PolicyConfig, PPOConfig
from entrain.policy.actor_critic import PolicyOutput
from entrain.policy.distributions import DiagonalGaussian, MultiCategorical
from entrain_envs.environment import Environment
from entrain_envs.timestep import StepType
from in_process import Learned, learn
from toy_environments import Chain, DiscreteBandit, Endless, Follow, GaussianBandit


def learn_table(
    environment: Environment, *, updates: int, seed: int = 0, coefficient: float = 0.0, **ppo: Any
) -> Learned:
    """With one weight per observation and action, and advantages in units of the reward."""
    options = PPOConfig(
        **{
            "learning_rate": 0.05,
            "num_epochs": 2,
            "advantage_normalization": "none",
            **ppo,
        }
    )
    config = PolicyConfig(
        total_steps=updates * options.rollout_steps,
        network=NetworkConfig(hidden_sizes=()),
        normalize_observations=False,
        entropy=EntropyConfig(coefficient=coefficient),
        ppo=options,
    )
    return learn(environment, config, seed=seed)


def outlook(learned: Learned, seen: Tensor) -> PolicyOutput:
    """What the policy says of observations [N, size], as one step of N columns."""
    with torch.no_grad():
        output: PolicyOutput = learned.policy(
            {"seen": seen[None]},
            learned.policy.initial_state(len(seen)),
            torch.zeros(1, len(seen), dtype=torch.bool),
        )
    return output


def probabilities(learned: Learned, seen: Tensor) -> Tensor:
    """[N, choices]."""
    distribution = outlook(learned, seen).distribution
    assert isinstance(distribution, MultiCategorical)
    return distribution.log_probs.exp()[0, :, 0]


def value_of_endless(end: StepType) -> float:
    learned = learn_table(
        Endless(end, num_agents=16),
        updates=25,
        rollout_steps=112,
        minibatch_size=28,
        num_epochs=4,
        learning_rate=0.1,
        discount=0.9,
        max_grad_norm=0.0,
    )
    return float(outlook(learned, torch.ones(1, 1)).value)


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
    values = sum(sum(row) - 0.9 * sum(row[:-1]) for row in weights)
    assert rewards / values == pytest.approx(3.389, abs=1e-3)
    assert value_of_endless(StepType.TERMINATED) == pytest.approx(rewards / values, rel=0.02)


@pytest.mark.parametrize(
    ("coefficient", "expected"),
    [
        (0.1, (0.993262, 0.006693, 0.000045)),
        (0.5, (0.665241, 0.244728, 0.090031)),
        (1.0, (0.506480, 0.307196, 0.186324)),
    ],
)
def test_a_bandits_choices_are_weighed_by_exp_of_reward_over_coefficient(
    coefficient: float, expected: tuple[float, ...]
) -> None:
    learned = learn_table(
        DiscreteBandit((1.0, 0.5, 0.0), num_agents=256),
        updates=100,
        rollout_steps=256,
        minibatch_size=256,
        coefficient=coefficient,
    )
    chosen = probabilities(learned, torch.ones(1, 1))[0]
    torch.testing.assert_close(chosen, torch.tensor(expected), rtol=0, atol=0.015)


@pytest.mark.parametrize(("coefficient", "curvature"), [(0.1, 1.0), (0.5, 2.0)])
def test_a_gaussian_bandit_keeps_the_variance_coefficient_over_curvature(
    coefficient: float, curvature: float
) -> None:
    learned = learn_table(
        GaussianBandit(curvature=curvature, target=1.5, num_agents=256),
        updates=120,
        rollout_steps=256,
        minibatch_size=256,
        coefficient=coefficient,
    )
    distribution = outlook(learned, torch.ones(1, 1)).distribution
    assert isinstance(distribution, DiagonalGaussian)
    assert distribution.mean.item() == pytest.approx(1.5, abs=0.05)
    variance = distribution.log_sigma_sq.exp().item()
    assert variance == pytest.approx(coefficient / curvature, rel=0.1)


def learn_chain(coefficient: float) -> Learned:
    return learn_table(
        Chain(num_agents=64),
        updates=80,
        rollout_steps=512,
        minibatch_size=256,
        discount=0.9,
        coefficient=coefficient,
    )


def test_the_chain_without_entropy_is_solved_and_valued() -> None:
    learned = learn_chain(0.0)
    assert bool((probabilities(learned, torch.eye(3))[:, 1] > 0.99).all())
    # Straight to the right end: 1 discounted by the steps before it.
    expected = torch.tensor([[[0.81], [0.9], [1.0]]])
    torch.testing.assert_close(outlook(learned, torch.eye(3)).value, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("coefficient", "expected"),
    [(0.1, (0.996687, 0.868967, 0.908329)), (0.5, (0.691862, 0.671341, 0.688081))],
)
def test_the_chain_with_entropy_in_the_loss_alone(
    coefficient: float, expected: tuple[float, ...]
) -> None:
    # Were entropy part of the return, loitering would pay: at 0.5 the last would be 0.152.
    learned = learn_chain(coefficient)
    right = probabilities(learned, torch.eye(3))[:, 1]
    torch.testing.assert_close(right, torch.tensor(expected), rtol=0, atol=0.025)


def test_default_options_learn_what_no_linear_policy_can() -> None:
    config = PolicyConfig(
        total_steps=30 * 512,
        ppo=PPOConfig(rollout_steps=512, learning_rate=3e-3, discount=0.5),
    )
    learned = learn(Follow(num_agents=32), config, seed=0)
    seen = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) * 3.0 - 1.5
    distribution = outlook(learned, seen).distribution
    assert isinstance(distribution, DiagonalGaussian)
    error = (distribution.mean[0, :, 0] - seen.prod(dim=1)).square().mean()
    # A constant, or any linear policy, is off by Var(xy) = (1.5^2 / 3)^2 = 0.56.
    assert error.item() < 0.06
    assert learned.metrics[-1]["value/explained_variance"] < 1.0
    assert learned.metrics[-1]["policy/sigma/0"] < 0.6 < learned.metrics[0]["policy/sigma/0"]
