"""Every entropy objective learns the exact solution, by the real rollout, advantage and loss code.

The policies are tables and the learning rate falls to zero, so that only sampling noise is left;
tolerances are about three times its measured size over seeds. Each exact answer is computed here
and compared with the published number.
"""

import math
from functools import cache
from typing import Any, Literal

import numpy as np
import pytest
import torch

from entrain.algorithms.coefficients import Coefficients
from entrain.config.policy import ActionConfig, EntropyConfig, EntropyTargetConfig
from exact_answers import (
    DISCOUNT,
    Floats,
    boltzmann,
    bonus_chain,
    hard_chain,
    soft_chain,
    two_discounts_chain,
    values_of,
    worths_of,
)
from in_process import Learned
from made_rollouts import made_policy, made_ppo, made_rollout
from tables import learn_table, normal, probabilities, values
from toy_environments import Chain, DiscreteBandit, GaussianBandit

ALONE = torch.ones(1, 1)
"""What a bandit shows."""

STATES = torch.eye(3)
"""What the chain shows in states 1, 2, 3."""

Objective = Literal["bonus", "soft_return", "entropy_critic"]
OBJECTIVES: tuple[Objective, ...] = ("bonus", "soft_return", "entropy_critic")


# One decision


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("alpha", "chosen", "value"),
    [
        (0.1, (0.993262, 0.006693, 0.000045), 1.000676),
        (0.5, (0.665241, 0.244728, 0.090031), 1.203803),
        (1.0, (0.506480, 0.307196, 0.186324), 1.680270),
    ],
)
def test_a_bandits_choices_are_weighed_by_exp_of_reward_over_alpha(
    alpha: float, chosen: tuple[float, ...], value: float, objective: Objective
) -> None:
    rewards = (1.0, 0.5, 0.0)
    exact, soft_value = boltzmann(rewards, alpha)
    np.testing.assert_allclose(exact, chosen, atol=1e-6)
    assert soft_value == pytest.approx(value, abs=1e-6)
    learned = learn_table(
        DiscreteBandit(rewards, num_agents=1024),
        updates=60,
        entropy=EntropyConfig(objective=objective, coefficient=alpha, discount=0.9),
        rollout_steps=1024,
        minibatch_size=1024,
        learning_rate=0.1,
    )
    learned_choices = probabilities(learned.policy, ALONE)[0].double().numpy()
    np.testing.assert_allclose(learned_choices, exact, atol=0.014)
    entropy = -float((exact * np.log(exact)).sum())
    assert learned.metrics[-1]["policy/entropy"] == pytest.approx(entropy, abs=0.05)
    # The hard value is what is earned, the soft one what is earned and being undecided.
    earned = float(exact @ np.array(rewards))
    head = values(learned.policy, ALONE)[0]
    assert head[0].item() == pytest.approx(
        soft_value if objective == "soft_return" else earned, abs=0.025
    )
    if objective == "entropy_critic":
        # The second head holds 1 - 0.9 times the entropy.
        assert head[1].item() == pytest.approx(0.1 * entropy, abs=0.005)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("alpha", "curvature"), [(0.1, 1.0), (0.5, 2.0)])
def test_a_gaussian_bandit_keeps_the_variance_alpha_over_curvature(
    alpha: float, curvature: float, objective: Objective
) -> None:
    # With sigma^2 = alpha / c: -(c/2) sigma^2 + (alpha/2) ln(2 pi e sigma^2)
    #                           = (alpha/2) ln(2 pi alpha / c), which for .5 and 2 is 0.112896.
    soft_value = 0.5 * alpha * math.log(2.0 * math.pi * alpha / curvature)
    if (alpha, curvature) == (0.5, 2.0):
        assert soft_value == pytest.approx(0.112896, abs=1e-6)
    learned = learn_table(
        GaussianBandit(curvature=curvature, target=1.5, num_agents=2048),
        updates=80,
        entropy=EntropyConfig(objective=objective, coefficient=alpha, discount=0.9),
        rollout_steps=2048,
        minibatch_size=2048,
        learning_rate=0.1,
    )
    mean, variance = normal(learned.policy, ALONE)
    assert mean.item() == pytest.approx(1.5, abs=0.02)
    assert variance.item() == pytest.approx(alpha / curvature, rel=0.05)
    expected = soft_value if objective == "soft_return" else -0.5 * alpha
    assert values(learned.policy, ALONE)[0, 0].item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("sigma", "squashed", "plain"),
    [(0.5, 0.499967, 0.725791), (1.0, 0.669804, 1.418939), (2.0, -0.001233, 2.112086)],
)
def test_a_squashed_gaussian_is_worth_less_than_a_plain_one(
    sigma: float, squashed: float, plain: float
) -> None:
    # Two dimensions; without hidden layers and weights, both means are 0.
    entropies = []
    for distribution in ("squashed_gaussian", "gaussian"):
        policy = made_policy(
            hidden=(),
            initial_log_sigma_sq=2.0 * math.log(sigma),
            distribution=distribution,
        )
        torch.nn.init.zeros_(policy.action_head.weight)
        ppo = made_ppo(policy)
        coefficients = Coefficients(learning_rate=0.0, clip_range=0.2, entropy_coefficient=0.5)
        minibatch = ppo.minibatches(made_rollout(policy, (5,))).all_steps
        terms = ppo.loss.terms(minibatch, coefficients)
        assert torch.equal(terms.regularization.detach(), terms.entropy)
        entropies.append(terms.entropy)
    expected = [torch.full((1, 5), 2.0 * entropy) for entropy in (squashed, plain)]
    torch.testing.assert_close(entropies, expected, rtol=0, atol=6e-5)


# A coefficient that follows a target


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_automatic_temperature_finds_the_sigma_and_the_price_of_its_target(
    objective: Objective,
) -> None:
    # H = 1/2 ln(2 pi e sigma^2) = -1 at sigma = e^-1 / sqrt(2 pi e), and alpha = c sigma^2 there.
    sigma, curvature = math.exp(-1.0) / math.sqrt(2.0 * math.pi * math.e), 4.0
    assert sigma == pytest.approx(0.08902, abs=1e-5)
    assert sigma**2 == pytest.approx(0.007925, abs=2e-6)
    learned = learn_table(
        GaussianBandit(curvature=curvature, target=0.5, num_agents=2048),
        updates=150,
        action=ActionConfig(initial_log_sigma_sq=-4.0),
        entropy=EntropyConfig(
            objective=objective,
            coefficient=0.02,
            target=EntropyTargetConfig(per_dimension=-1.0, rate=0.1),
        ),
        rollout_steps=2048,
        minibatch_size=1024,
        learning_rate=0.1,
    )
    mean, variance = normal(learned.policy, ALONE)
    assert mean.item() == pytest.approx(0.5, abs=0.005)
    assert math.sqrt(variance.item()) == pytest.approx(sigma, rel=0.03)
    last = learned.metrics[-1]
    assert last["entropy/coefficient"] == pytest.approx(curvature * sigma**2, rel=0.04)
    assert last["entropy/target"] == -1.0
    assert last["entropy/distance"] == pytest.approx(0.0, abs=0.03)


def learn_chain_at_target(
    objective: Objective, target: EntropyTargetConfig, **options: Any
) -> Learned:
    return learn_table(
        Chain(num_agents=512),
        updates=60,
        entropy=EntropyConfig(
            objective=objective, coefficient=0.2, discount=DISCOUNT, target=target
        ),
        rollout_steps=4096,
        minibatch_size=2048,
        discount=DISCOUNT,
        **options,
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_automatic_temperature_on_the_chain(objective: Objective) -> None:
    target = EntropyTargetConfig(fraction=0.6, rate=0.2)
    learned = learn_chain_at_target(objective, target, learning_rate=0.1)
    assert all(metrics["entropy/coefficient"] > 0.0 for metrics in learned.metrics)
    last = learned.metrics[-1]
    assert last["entropy/target"] == pytest.approx(0.6 * math.log(2.0))
    assert last["entropy/distance"] == pytest.approx(0.0, abs=0.03)
    # What entropy is worth in the end is what makes the policy rest where it is.
    alpha = last["entropy/coefficient"]
    _, exact = bonus_chain(alpha) if objective == "bonus" else soft_chain(alpha)
    np.testing.assert_allclose(right(learned), exact, atol=0.03)


def test_a_target_that_falls_over_the_run_is_followed() -> None:
    target = EntropyTargetConfig(fraction=0.9, final_fraction=0.5, rate=0.4)
    learned = learn_chain_at_target("bonus", target, learning_rate_schedule="constant")
    followed = np.array([metrics["entropy/target"] for metrics in learned.metrics])
    np.testing.assert_allclose(followed, math.log(2.0) * (0.9 - 0.4 * np.arange(60) / 60))
    distance = np.array([metrics["entropy/distance"] for metrics in learned.metrics])
    # Behind, by what it takes to make entropy worth less and less.
    assert np.abs(distance[20:]).max() < 0.1
    assert followed[20] - followed[-1] > 0.15


# The chain


@cache
def learn_chain(objective: Objective, alpha: float, worth_discount: float = DISCOUNT) -> Learned:
    return learn_table(
        Chain(num_agents=512),
        updates=60,
        entropy=EntropyConfig(
            objective=objective, coefficient=alpha, discount=worth_discount, gae_lambda=0.9
        ),
        rollout_steps=4096,
        minibatch_size=2048,
        learning_rate=0.1,
        discount=DISCOUNT,
        gae_lambda=0.9,
    )


def right(learned: Learned) -> torch.Tensor:
    """[3] how often the policy goes right."""
    return probabilities(learned.policy, STATES)[:, 1]


def head(learned: Learned, index: int = 0) -> torch.Tensor:
    """[3] what a head of the critic says."""
    return values(learned.policy, STATES)[:, index]


def test_the_chain_without_entropy_is_solved_and_valued() -> None:
    value, greedy = hard_chain()
    np.testing.assert_allclose(value, (0.81, 0.9, 1.0))
    learned = learn_chain("bonus", 0.0)
    np.testing.assert_allclose(right(learned), greedy, atol=0.005)
    np.testing.assert_allclose(head(learned), value, atol=0.01)


@pytest.mark.parametrize(
    ("alpha", "published_right", "published_value"),
    [
        (0.1, (0.998372, 0.830647, 0.829418), (0.842012, 0.935388, 1.018703)),
        (0.5, (0.965065, 0.529073, 0.152040), (1.877126, 2.065940, 1.941807)),
    ],
)
def test_the_chain_with_entropy_in_the_return(
    alpha: float, published_right: tuple[float, ...], published_value: tuple[float, ...]
) -> None:
    value, exact = soft_chain(alpha)
    np.testing.assert_allclose(exact, published_right, atol=1e-6)
    np.testing.assert_allclose(value, published_value, atol=1e-6)
    learned = learn_chain("soft_return", alpha)
    np.testing.assert_allclose(right(learned), exact, atol=0.012)
    np.testing.assert_allclose(head(learned), value, atol=0.03)


@pytest.mark.parametrize(
    ("alpha", "published"),
    [(0.1, (0.996687, 0.868967, 0.908329)), (0.5, (0.691862, 0.671341, 0.688081))],
)
def test_the_chain_with_entropy_in_the_loss_alone(
    alpha: float, published: tuple[float, ...]
) -> None:
    value, exact = bonus_chain(alpha)
    np.testing.assert_allclose(exact, published, atol=1e-6)
    learned = learn_chain("bonus", alpha)
    np.testing.assert_allclose(right(learned), exact, atol=0.012)
    # The critic's value stays that of rewards alone.
    np.testing.assert_allclose(head(learned), value, atol=0.02)


@pytest.mark.parametrize(("alpha", "discount"), [(0.1, DISCOUNT), (0.5, DISCOUNT), (0.5, 0.5)])
def test_the_chain_with_an_entropy_critic(alpha: float, discount: float) -> None:
    exact = two_discounts_chain(alpha, discount)
    if discount == DISCOUNT:
        # With the discount of rewards it is the soft return in two parts.
        np.testing.assert_allclose(exact, soft_chain(alpha)[1], atol=1e-6)
    learned = learn_chain("entropy_critic", alpha, discount)
    np.testing.assert_allclose(right(learned), exact, atol=0.012)
    np.testing.assert_allclose(head(learned), values_of(exact), atol=0.03)
    # The second head holds 1 - discount times the discounted sum of entropies: a mean.
    mean = (1.0 - discount) * worths_of(exact, discount=discount)
    np.testing.assert_allclose(head(learned, 1), mean, atol=0.02)


def test_loitering_pays_where_entropy_is_part_of_the_return_and_only_there() -> None:
    # One step before the great reward: a soft return rather stays undecided for longer.
    def beside_the_reward(exact: Floats, objective: Objective) -> float:
        learned = right(learn_chain(objective, 0.5))[2].item()
        assert learned == pytest.approx(float(exact[2]), abs=0.012)
        return learned

    soft = beside_the_reward(soft_chain(0.5)[1], "soft_return")
    bonus = beside_the_reward(bonus_chain(0.5)[1], "bonus")
    assert bonus - soft == pytest.approx(0.688081 - 0.152040, abs=0.02)
