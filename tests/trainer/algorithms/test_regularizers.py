"""Regularizers: the entropy, or minus the divergence from a prior policy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from entrain.algorithms.entropy import Entropy, PriorDivergence, Regularizer, regularize
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, MemoryConfig, NetworkConfig
from entrain.errors import ConfigError
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.distributions import ActionDistribution
from entrain.policy.spread import ParameterSpread
from entrain_envs.spec import ActionSpec
from exact_answers import (
    ALIKE,
    DISCOUNT,
    Floats,
    boltzmann,
    bonus_chain,
    soft_chain,
    two_discounts_chain,
    values_of,
)
from in_process import Learned
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, made_policy, made_rollout
from tables import learn_table, normal, probabilities, set_choices, values
from toy_environments import Chain, DiscreteBandit, GaussianBandit

ALONE, STATES = torch.ones(1, 1), torch.eye(3)
LENGTHS = (7, 0, 12, 5)
Objective = Literal["bonus", "soft_return", "entropy_critic"]
OBJECTIVES: tuple[Objective, ...] = ("bonus", "soft_return", "entropy_critic")
RELUCTANT = np.array([[0.3, 0.7], [0.8, 0.2], [0.5, 0.5]])
"""A prior for the chain that would rather go left from its middle."""


# Near a prior, where theory says


def near(choose: Callable[[ActorCritic], None]) -> Callable[[ActorCritic], Regularizer]:
    """A prior like the policy, but for what `choose` makes of its weights."""

    def regularize(policy: ActorCritic) -> Regularizer:
        prior = ActorCritic(policy.spec, policy.config, seed=5)
        choose(prior)
        return PriorDivergence(prior, policy)

    return regularize


def near_choices(chances: Floats) -> Callable[[ActorCritic], Regularizer]:
    """A prior that chooses with these chances, [states, choices]."""
    return near(lambda prior: set_choices(prior, torch.tensor(chances)))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    "prior", [(1 / 3, 1 / 3, 1 / 3), (0.1, 0.2, 0.7)], ids=["uniform", "reluctant"]
)
def test_a_bandits_choices_are_the_priors_weighed_by_exp_of_reward_over_alpha(
    prior: tuple[float, ...], objective: Objective
) -> None:
    rewards, alpha = (1.0, 0.5, 0.0), 0.5
    exact, soft_value = boltzmann(rewards, alpha, prior)
    if prior[0] == prior[1]:
        # A uniform prior is entropy; its value lacks the ln 3 that the uniform policy has.
        chosen, value = boltzmann(rewards, alpha)
        np.testing.assert_allclose(exact, chosen)
        assert soft_value == pytest.approx(value - alpha * math.log(3.0))
    learned = learn_table(
        DiscreteBandit(rewards, num_agents=1024),
        updates=60,
        entropy=EntropyConfig(objective=objective, coefficient=alpha, discount=0.9),
        regularize=near_choices(np.array([prior])),
        rollout_steps=1024,
        minibatch_size=1024,
        learning_rate=0.1,
    )
    np.testing.assert_allclose(probabilities(learned.policy, ALONE)[0], exact, atol=0.014)
    earned = float(exact @ np.array(rewards))
    expected = soft_value if objective == "soft_return" else earned
    assert values(learned.policy, ALONE)[0, 0].item() == pytest.approx(expected, abs=0.025)
    # Entropy is told all the same.
    entropy = -float((exact * np.log(exact)).sum())
    assert learned.metrics[-1]["policy/entropy"] == pytest.approx(entropy, abs=0.03)


def test_a_gaussian_bandit_ends_between_the_prior_and_the_reward() -> None:
    # prior * exp(-(c/2) (a - t)^2 / alpha) is a normal distribution whose precision is
    # 1 / s^2 + c / alpha = 1 / 0.25 + 2 / 0.5 = 8, and whose mean is the mean of -1 and 1.5,
    # weighed by 4 and 4.
    def choose(prior: ActorCritic) -> None:
        torch.nn.init.zeros_(prior.action_head.weight)
        torch.nn.init.constant_(prior.action_head.bias, -1.0)
        assert isinstance(prior.action_head.spread, ParameterSpread)
        prior.action_head.spread.parameter.data += math.log(0.25)

    learned = learn_table(
        GaussianBandit(curvature=2.0, target=1.5, num_agents=2048),
        updates=80,
        entropy=EntropyConfig(objective="soft_return", coefficient=0.5),
        regularize=near(choose),
        rollout_steps=2048,
        minibatch_size=2048,
        learning_rate=0.1,
    )
    mean, variance = normal(learned.policy, ALONE)
    assert mean.item() == pytest.approx(0.25, abs=0.04)
    assert variance.item() == pytest.approx(1 / 8, rel=0.08)


def learn_chain(objective: Objective, alpha: float, prior: Floats) -> Learned:
    return learn_table(
        Chain(num_agents=512),
        updates=60,
        entropy=EntropyConfig(objective=objective, coefficient=alpha, discount=0.5, gae_lambda=0.9),
        regularize=near_choices(prior),
        rollout_steps=4096,
        minibatch_size=2048,
        learning_rate=0.1,
        discount=DISCOUNT,
        gae_lambda=0.9,
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_chain_near_a_prior(objective: Objective) -> None:
    alpha = 0.5
    if objective == "soft_return":
        value, exact = soft_chain(alpha, RELUCTANT)
    else:
        exact = two_discounts_chain(alpha, 0.5 * (objective == "entropy_critic"), RELUCTANT)
        value = values_of(exact)
    learned = learn_chain(objective, alpha, RELUCTANT)
    np.testing.assert_allclose(probabilities(learned.policy, STATES)[:, 1], exact, atol=0.012)
    np.testing.assert_allclose(values(learned.policy, STATES)[:, 0], value, atol=0.03)


def test_near_a_uniform_prior_a_bonus_is_the_one_for_entropy_but_nothing_pays_for_loitering() -> (
    None
):
    # Minus the divergence is the entropy less ln 2 at every step. To a bonus that is nothing, but
    # a return in which it counts is the greater the fewer the steps.
    bonus, soft = bonus_chain(0.5)[1], soft_chain(0.5, ALIKE / 2.0)[1]
    assert bonus[2] == pytest.approx(0.688081, abs=1e-6)
    assert soft[2] > bonus[2] > 0.152040
    for objective, exact in (("bonus", bonus), ("soft_return", soft)):
        learned = learn_chain(objective, 0.5, ALIKE / 2.0)  # type: ignore[arg-type]
        right = probabilities(learned.policy, STATES)[:, 1]
        np.testing.assert_allclose(right, exact, atol=0.012)


# At each step


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_the_entropy_at_each_step_is_minus_the_mean_log_probability_of_what_is_sampled(
    action: ActionSpec,
) -> None:
    policy = made_policy(action)
    rollout = made_rollout(policy, (4000,))
    surprise = -rollout.log_prob
    error = 4.0 * (surprise - regularize(policy, rollout, Entropy())).std() / math.sqrt(4000)
    difference = surprise.mean() - regularize(policy, rollout, Entropy()).mean()
    assert difference.abs() < error < 0.1


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_the_divergence_at_each_step_is_the_mean_log_ratio_of_what_is_sampled(
    action: ActionSpec,
) -> None:
    policy, prior = made_policy(action, seed=0), made_policy(action, seed=1)
    scaled_up(prior)
    rollout = made_rollout(policy, (4000,))
    regularization = regularize(policy, rollout, PriorDivergence(prior, policy))
    log_ratio = rollout.log_prob - log_prob_of(prior, rollout)
    error = 4.0 * (log_ratio + regularization).std() / math.sqrt(4000)
    assert (log_ratio.mean() + regularization.mean()).abs() < error < 0.1
    assert regularization.max() <= 1e-6
    assert regularization.mean() < -0.02


@torch.no_grad()
def scaled_up(policy: ActorCritic) -> None:
    """Initial policies are all alike; make this one differ."""
    policy.action_head.weight.mul_(50.0)


@torch.no_grad()
def log_prob_of(policy: ActorCritic, rollout: Rollout) -> Tensor:
    output = policy(rollout.observation, policy.initial_state(1), rollout.reset)
    log_prob: Tensor = output.distribution.masked(rollout.action_mask).log_prob(rollout.action)
    return log_prob


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_a_policy_is_worth_most_where_it_is_its_prior(action: ActionSpec) -> None:
    policy = made_policy(action)
    rollout = made_rollout(policy, LENGTHS)
    regularization = regularize(policy, rollout, PriorDivergence(made_policy(action), policy))
    assert regularization[rollout.valid].abs().max() < 1e-6


def test_a_prior_is_frozen_and_still_pulls() -> None:
    policy, prior = made_policy(DISCRETE, seed=0), made_policy(DISCRETE, seed=1)
    scaled_up(prior)
    regularizer = PriorDivergence(prior, policy)
    rollout = made_rollout(policy, (9,))
    output = policy(rollout.observation, policy.initial_state(1), rollout.reset)
    distribution = output.distribution.masked(rollout.action_mask)
    regularization = regularizer(distribution, rollout.observation, rollout.action_mask)
    torch.autograd.backward(regularization.sum())
    assert all(parameter.grad is None for parameter in prior.parameters())
    gradient = policy.action_head.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()


@pytest.mark.parametrize("filler", [math.nan, 1e9])
@pytest.mark.parametrize("memory", ["none", "gru", "mingru"])
def test_padding_changes_no_bit_of_the_regularizer(memory: Any, filler: float) -> None:
    policy = made_policy(HYBRID, memory=MemoryConfig(kind=memory, size=4))
    prior = made_policy(HYBRID, seed=1)
    tight = made_rollout(policy, LENGTHS)
    padded = made_rollout(policy, LENGTHS, filler=filler, extra_rows=3)
    for regularizer in (Entropy(), PriorDivergence(prior, policy)):
        regularization = regularize(policy, tight, regularizer)[tight.valid]
        assert torch.equal(regularize(policy, padded, regularizer)[padded.valid], regularization)


def test_what_is_worth_is_asked_of_the_masked_policy_row_by_row() -> None:
    rows = []

    def regularizer(
        distribution: ActionDistribution, observation: Mapping[str, Tensor], action_mask: Tensor
    ) -> Tensor:
        rows.append(len(action_mask))
        assert observation["a"].shape[:2] == action_mask.shape[:2]
        return distribution.entropy()

    policy = made_policy(DISCRETE)
    rollout = made_rollout(policy, LENGTHS)
    # Where only the first choice of each of 2 + 3 is allowed, nothing is undecided.
    mask = torch.tensor([True, False, True, False, False]).expand_as(rollout.action_mask).clone()
    mask[0] = True
    regularization = regularize(policy, replace(rollout, action_mask=mask), regularizer)
    assert sum(rows) == max(LENGTHS)
    assert torch.equal(regularization[1:], torch.zeros(11, 4))
    torch.testing.assert_close(
        regularization[0], torch.full((4,), math.log(6.0)), rtol=0, atol=1e-3
    )
    assert not regularization.requires_grad


# Priors that cannot be asked


def refusal(prior: ActorCritic, policy: ActorCritic) -> str:
    with pytest.raises(ConfigError) as caught:
        PriorDivergence(prior, policy)
    return str(caught.value)


def test_a_prior_with_memory_is_refused() -> None:
    message = refusal(made_policy(memory=MemoryConfig(kind="lstm", size=4)), made_policy())
    assert message.startswith("the entropy.prior of 'walker' has memory")
    assert "network.memory.kind: none" in message


def test_a_prior_of_another_spec_is_refused() -> None:
    message = refusal(made_policy(DISCRETE), made_policy(CONTINUOUS))
    assert message.startswith("the entropy.prior of 'walker' was trained for another spec")
    assert "this run's is 'walker'" in message


def test_a_prior_that_sees_more_than_the_policy_is_refused() -> None:
    sees_more = NetworkConfig(hidden_sizes=(8,), previous_action=True, previous_reward=True)
    message = refusal(made_policy(network=sees_more), made_policy())
    assert "looks at previous_action, previous_reward, which this policy does not" in message
    assert "network.previous_action: true, network.previous_reward: true" in message


def test_a_policy_may_see_more_than_its_prior() -> None:
    policy = made_policy(network=NetworkConfig(hidden_sizes=(8,), previous_reward=True))
    rollout = made_rollout(policy, LENGTHS)
    regularization = regularize(policy, rollout, PriorDivergence(made_policy(), policy))
    assert regularization[rollout.valid].isfinite().all()


def test_a_squashed_policy_has_no_plain_prior() -> None:
    message = refusal(made_policy(), made_policy(distribution="squashed_gaussian"))
    assert "action.distribution gaussian, this policy squashed_gaussian" in message
    # Without continuous dimensions it does not matter.
    PriorDivergence(made_policy(DISCRETE), made_policy(DISCRETE, distribution="squashed_gaussian"))


def test_learning_stays_near_a_prior_whose_log_variances_a_network_computes() -> None:
    prior = made_policy(CONTINUOUS, seed=1, log_sigma_sq="network", initial_log_sigma_sq=-2.0)
    policy = made_policy(CONTINUOUS, entropy=EntropyConfig(coefficient=10.0))
    rollout = made_rollout(policy, (40, 40))
    ppo = PPO(
        policy,
        PPOConfig(minibatch_size=16, learning_rate=1e-2),
        discount=0.99,
        seed=0,
        device=torch.device("cpu"),
        regularizer=PriorDivergence(prior, policy),
    )
    divergence = [ppo.update(rollout, progress=0.0)["loss/entropy"] for _ in range(5)]
    # At first about (1/e^-2 - 1 - 2) / 2 = 2.2 nats in each of two dimensions.
    assert divergence[-1] < 0.2 * divergence[0]
