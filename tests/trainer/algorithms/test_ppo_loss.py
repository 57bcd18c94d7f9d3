"""The loss of PPO: its gradients, a slow definition of it, and that padding does not change it."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.ppo import PPO
from entrain.algorithms.telemetry import critic_share
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, NetworkConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic, PolicyOutput
from entrain.policy.distributions import ActionDistribution, DiagonalGaussian
from entrain.policy.spread import ParameterSpread
from entrain_envs.spec import ActionSpec
from made_rollouts import (
    CONTINUOUS,
    DISCRETE,
    HYBRID,
    made_policy,
    made_ppo,
    made_rollout,
    permuted_columns,
    same_state,
)

CPU = torch.device("cpu")
COEFFICIENTS = Coefficients(learning_rate=1e-3, clip_range=0.2, entropy_coefficient=0.0)
DISCOUNT = 0.9
WHOLE_ROLLOUT = 10_000
LENGTHS = (7, 0, 12, 5)
OBJECTIVES = ("bonus", "soft_return", "entropy_critic")


def loss_and_gradients(
    policy: ActorCritic, rollout: Rollout, *, entropy_coefficient: float = 0.0, **options: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of the whole rollout as one minibatch."""
    ppo = made_ppo(policy, minibatch_size=WHOLE_ROLLOUT, **options)
    coefficients = replace(COEFFICIENTS, entropy_coefficient=entropy_coefficient)
    policy.zero_grad(set_to_none=False)
    loss = loss_of(ppo, rollout, coefficients)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), {
        name: parameter.grad.clone()
        for name, parameter in policy.named_parameters()
        if parameter.grad is not None
    }


def loss_of(ppo: PPO, rollout: Rollout, coefficients: Coefficients) -> Tensor:
    alpha = coefficients.entropy_coefficient
    minibatch = ppo.minibatches(rollout, entropy_coefficient=alpha).all_steps
    return ppo.loss(ppo.loss.terms(minibatch, coefficients), minibatch.mask, coefficients)


def test_the_two_gradients_of_a_gaussian_policy() -> None:
    # At ratio 1, loss = -mean(A * ratio), so d loss / d parameter = -mean(A * d ln p / d parameter)
    # with d ln p / d mu = (a - mu) / sigma^2, d ln p / d log_sigma_sq = ((a - mu)^2/sigma^2 - 1)/2.
    # A linear policy's bias is added to mu, so its gradient is the one with respect to mu.
    policy = made_policy(hidden=(), initial_log_sigma_sq=-1.2)
    rollout = made_rollout(policy, (6, 4))
    _, gradients = loss_and_gradients(
        policy, rollout, advantage_normalization="none", value_coefficient=0.0
    )
    minibatch = made_ppo(policy, advantage_normalization="none").minibatches(rollout).all_steps
    steps = minibatch.steps
    with torch.no_grad():
        distribution = policy(steps.observation, minibatch.initial_state, steps.reset).distribution
    assert isinstance(distribution, DiagonalGaussian)
    log_sigma_sq = distribution.log_sigma_sq
    deviation = steps.action["continuous"][0] - distribution.mean[0]
    sigma_sq = log_sigma_sq.exp()
    advantage = minibatch.estimate.advantage[0][:, None]
    torch.testing.assert_close(log_sigma_sq, torch.full((2,), -1.2))
    torch.testing.assert_close(
        gradients["action_head.bias"], -(advantage * deviation / sigma_sq).mean(0)
    )
    torch.testing.assert_close(
        gradients["action_head.spread.parameter"] / spread_slope(policy),
        -(advantage * (deviation**2 / sigma_sq - 1.0) / 2.0).mean(0),
        rtol=1e-4,
        atol=1e-6,
    )


def spread_slope(policy: ActorCritic) -> Tensor:
    """[D] d log_sigma_sq / d parameter, which is 1 but for the smooth bounds."""
    assert isinstance(policy.action_head.spread, ParameterSpread)
    (slope,) = torch.autograd.grad(
        policy.action_head.spread().sum(), policy.action_head.spread.parameter
    )
    return slope


def test_the_entropy_regularizer_pushes_each_log_sigma_sq_by_half_its_coefficient() -> None:
    # H = 1/2 * sum_d (ln(2 pi e) + log_sigma_sq_d), so d(-c * H) / d log_sigma_sq_d = -c / 2.
    policy = made_policy()
    rollout = made_rollout(policy, (6, 4))
    _, without = loss_and_gradients(policy, rollout)
    _, with_bonus = loss_and_gradients(policy, rollout, entropy_coefficient=0.3)
    push = {name: with_bonus[name] - without[name] for name in without}
    torch.testing.assert_close(
        push.pop("action_head.spread.parameter") / spread_slope(policy),
        torch.tensor([-0.15, -0.15]),
        rtol=1e-4,
        atol=1e-6,
    )
    assert all(not difference.any() for difference in push.values())


def test_the_critic_is_drawn_to_the_return_by_twice_the_error() -> None:
    # d/dV of c_v * (V - R)^2 is 2 * c_v * (V - R); the value head's bias is added to V.
    policy = made_policy()
    rollout = made_rollout(policy, (6, 4))
    _, gradients = loss_and_gradients(policy, rollout, value_coefficient=0.25)
    minibatch = made_ppo(policy).minibatches(rollout).all_steps
    expected = 2.0 * 0.25 * (minibatch.steps.value - minibatch.estimate.return_).mean()
    torch.testing.assert_close(gradients["value_head.bias"][0], expected, rtol=1e-4, atol=1e-6)


def test_policy_and_critic_with_separate_networks_do_not_touch_each_other() -> None:
    policy = made_policy()
    _, gradients = loss_and_gradients(policy, made_rollout(policy, (9,)), value_coefficient=0.0)
    assert not gradients["value_head.weight"].any()
    assert gradients["action_head.weight"].any()


def test_the_critics_share_is_that_of_the_gradient_of_what_the_heads_read() -> None:
    # g_v: 2 c_v (V - R) * (weights of the value head) / N, row by row; g_p from the loss without
    # its value term.
    policy = made_policy(network=NetworkConfig(hidden_sizes=(8,), shared=True))
    ppo = made_ppo(policy, value_coefficient=0.25)
    minibatch = ppo.minibatches(made_rollout(policy, (6, 4))).all_steps
    terms = ppo.loss.terms(minibatch, COEFFICIENTS)
    squares = ppo.loss.head_squares(terms, None, COEFFICIENTS)
    share = critic_share(squares, device=squares.device)
    error = terms.features.new_tensor(
        (minibatch.steps.value - minibatch.estimate.return_)[0, :, 0].tolist()
    )
    of_critic = 2.0 * 0.25 * error[:, None] * policy.value_head.weight.detach() / 10
    (of_policy,) = torch.autograd.grad(terms.policy.mean(), terms.features)
    # Of sums over the ten steps, so that those of ranks add up.
    expected = 100 * of_critic.square().sum(), 100 * of_policy.square().sum()
    assert squares.tolist() == pytest.approx([each.item() for each in expected], rel=1e-4)
    assert share == pytest.approx((expected[0] / sum(expected)).item(), rel=1e-4)
    assert 0.5 < share < 1.0


def test_measuring_the_share_changes_no_gradient() -> None:
    policy = made_policy(HYBRID)
    ppo = made_ppo(policy)
    minibatch = ppo.minibatches(made_rollout(policy, (6, 4))).all_steps

    def gradient(*, measures: bool) -> dict[str, Tensor]:
        policy.zero_grad(set_to_none=False)
        terms = ppo.loss.terms(minibatch, COEFFICIENTS)
        if measures:
            ppo.loss.head_squares(terms, None, COEFFICIENTS)
        ppo.loss(terms, None, COEFFICIENTS).backward()  # type: ignore[no-untyped-call]
        return {
            name: each.grad.clone()
            for name, each in policy.named_parameters()
            if each.grad is not None
        }

    before, after = gradient(measures=False), gradient(measures=True)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_before_the_first_gradient_step_every_ratio_is_one(action: ActionSpec) -> None:
    policy = made_policy(action)
    rollout = made_rollout(policy, (40, 25, 31), filler=1e9)
    ppo = made_ppo(policy)
    for minibatch in ppo.minibatches(rollout).epoch(torch.Generator().manual_seed(3)):
        log_ratio = ppo.loss.terms(minibatch, COEFFICIENTS).log_ratio
        assert log_ratio.abs().max() < 1e-6


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_the_ratio_is_one_again_for_a_rollout_collected_after_an_update(action: ActionSpec) -> None:
    policy = made_policy(action)
    ppo = made_ppo(policy)
    ppo.update(made_rollout(policy, LENGTHS, seed=1), progress=0.0)
    ratio = ppo.loss.terms(
        ppo.minibatches(made_rollout(policy, LENGTHS, seed=2)).all_steps, COEFFICIENTS
    ).log_ratio.exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), rtol=0, atol=1e-6)


# The loss against a slow one, and masks


def slow_loss(policy: ActorCritic, rollout: Rollout, config: PPOConfig) -> float:
    """The loss at ratio r of each valid step, one Python number at a time."""
    entropy = policy.config.entropy
    is_soft = entropy.objective == "soft_return"
    has_critic = entropy.objective == "entropy_critic"
    unit = 1.0 - entropy.discount
    steps = []
    for b in range(rollout.valid.shape[1]):
        following = [0.0, 0.0]
        for t in reversed(range(int(rollout.valid[:, b].sum()))):
            cell = (t, b)
            regularization = float(distribution_at(policy, rollout, t, b).entropy())
            reward = float(rollout.reward[cell]) + is_soft * entropy.coefficient * regularization
            heads = [(reward, DISCOUNT, config.gae_lambda)]
            if has_critic:
                heads.append((unit * regularization, entropy.discount, entropy.gae_lambda))
            returns = []
            for head, (signal, discount, gae_lambda) in enumerate(heads):
                value = float(rollout.value[t, b, head])
                delta = signal + discount * float(rollout.next_value[t, b, head]) - value
                carry = 0.0 if bool(rollout.boundary[cell]) else discount * gae_lambda
                following[head] = delta + carry * following[head]
                returns.append(following[head] + value)
            advantage = following[0] + entropy.coefficient / unit * following[1]
            steps.append((cell, advantage, returns))
    mean = sum(a for _, a, _ in steps) / len(steps)
    std = math.sqrt(sum((a - mean) ** 2 for _, a, _ in steps) / (len(steps) - 1))
    total = 0.0
    for (t, b), advantage, returns in steps:
        distribution = distribution_at(policy, rollout, t, b)
        action = {name: x[t : t + 1, b : b + 1] for name, x in rollout.action.items()}
        ratio = math.exp(float(distribution.log_prob(action)) - float(rollout.log_prob[t, b]))
        held = min(max(ratio, 1 - config.clip_range), 1 + config.clip_range)
        normal = (advantage - mean) / (std + 1e-8 * abs(mean))
        total += -min(ratio * normal, held * normal)
        for head, return_ in enumerate(returns):
            value = float(output_at(policy, rollout, t, b).value[0, 0, head])
            old_value = float(rollout.value[t, b, head])
            near = old_value + min(
                max(value - old_value, -config.value_clip_range), config.value_clip_range
            )
            total += config.value_coefficient * max((value - return_) ** 2, (near - return_) ** 2)
        explicit = entropy.coefficient / (std if is_soft or has_critic else 1.0)
        total -= explicit * float(distribution.entropy())
    return total / len(steps)


def output_at(policy: ActorCritic, rollout: Rollout, t: int, b: int) -> PolicyOutput:
    """Of one step by itself."""
    with torch.no_grad():
        output: PolicyOutput = policy(
            {name: x[t : t + 1, b : b + 1] for name, x in rollout.observation.items()},
            policy.initial_state(1),
            rollout.reset[t : t + 1, b : b + 1],
        )
    return output


def distribution_at(policy: ActorCritic, rollout: Rollout, t: int, b: int) -> ActionDistribution:
    mask = rollout.action_mask[t : t + 1, b : b + 1]
    return output_at(policy, rollout, t, b).distribution.masked(mask)


lengths = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(lambda n: sum(n) >= 2)


@settings(max_examples=25)
@given(
    lengths,
    st.sampled_from([CONTINUOUS, DISCRETE, HYBRID]),
    st.sampled_from(OBJECTIVES),
    st.integers(0, 2**16),
)
def test_the_loss_is_that_of_every_valid_step_by_itself(
    lengths: list[int], action: ActionSpec, objective: Any, seed: int
) -> None:
    entropy = EntropyConfig(objective=objective, coefficient=0.1, discount=0.8, gae_lambda=0.6)
    acting = made_policy(action, seed=1, entropy=entropy)
    learning = made_policy(action, seed=1, entropy=entropy)
    rollout = made_rollout(acting, lengths, seed=seed, filler=math.nan)
    config = PPOConfig(
        minibatch_size=WHOLE_ROLLOUT,
        gae_lambda=0.7,
        value_clip_range=0.05,
        clip_range=0.05,
    )
    with torch.no_grad():
        for parameter in learning.parameters():
            generator = torch.Generator().manual_seed(seed)
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    ppo = PPO(learning, config, discount=DISCOUNT, seed=0, device=CPU)
    coefficients = Coefficients(
        learning_rate=1e-3, clip_range=0.05, entropy_coefficient=0.1, value_clip_range=0.05
    )
    loss = loss_of(ppo, rollout, coefficients)
    assert loss.item() == pytest.approx(slow_loss(learning, rollout, config), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("filler", [math.nan, math.inf, 1e9])
@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_bit_of_loss_or_gradient_depends_on_padding(
    objective: Any, action: ActionSpec, filler: float
) -> None:
    policy = made_policy(action, entropy=EntropyConfig(objective=objective))
    tight = made_rollout(policy, LENGTHS)
    padded = made_rollout(policy, LENGTHS, filler=filler, extra_rows=9)
    for normalization in ("minibatch", "rollout", "none"):
        options: dict[str, Any] = {
            "advantage_normalization": normalization,
            "entropy_coefficient": 0.1,
            "value_clip_range": 0.2,
        }
        loss, gradients = loss_and_gradients(policy, tight, **options)
        padded_loss, padded_gradients = loss_and_gradients(policy, padded, **options)
        assert torch.equal(loss, padded_loss)
        assert all(torch.equal(gradients[name], padded_gradients[name]) for name in gradients)


@pytest.mark.parametrize("filler", [math.nan, 1e9])
def test_no_bit_of_an_update_depends_on_padding(filler: float) -> None:
    tight_policy, padded_policy = made_policy(HYBRID), made_policy(HYBRID)
    tight, padded = made_ppo(tight_policy), made_ppo(padded_policy)
    metrics = tight.update(made_rollout(tight_policy, LENGTHS), progress=0.0)
    rollout = made_rollout(padded_policy, LENGTHS, filler=filler, extra_rows=5)
    assert padded.update(rollout, progress=0.0) == metrics
    assert same_state(tight.state(), padded.state())


def test_the_order_of_columns_does_not_matter() -> None:
    policy = made_policy(HYBRID)
    rollout = made_rollout(policy, LENGTHS, filler=1e9)
    loss, gradients = loss_and_gradients(policy, rollout, entropy_coefficient=0.1)
    for order in itertools.islice(itertools.permutations(range(len(LENGTHS))), 1, 24, 5):
        other_loss, other = loss_and_gradients(
            policy, permuted_columns(rollout, order), entropy_coefficient=0.1
        )
        torch.testing.assert_close(other_loss, loss)
        for name, gradient in gradients.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


# Advantages are normalised over what the option says


def test_advantages_are_normalized_over_the_rollout_but_returns_are_not() -> None:
    policy = made_policy()
    rollout = made_rollout(policy, LENGTHS, filler=math.nan)
    raw = made_ppo(policy, advantage_normalization="none").minibatches(rollout).all_steps
    normed = made_ppo(policy, advantage_normalization="rollout").minibatches(rollout).all_steps
    assert normed.estimate.advantage.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert normed.estimate.advantage.std().item() == pytest.approx(1.0, abs=1e-5)
    assert raw.estimate.advantage.std().item() != pytest.approx(1.0, abs=1e-2)
    torch.testing.assert_close(
        normed.estimate.return_, raw.estimate.advantage[..., None] + raw.steps.value
    )


def test_scaled_advantages_make_no_difference_once_normalized_per_minibatch() -> None:
    policy = made_policy()
    ppo = made_ppo(policy)
    minibatch = ppo.minibatches(made_rollout(policy, LENGTHS)).all_steps
    estimate = minibatch.estimate
    scaled = replace(estimate, advantage=1000.0 * estimate.advantage + 77.0)
    torch.testing.assert_close(
        ppo.loss.terms(replace(minibatch, estimate=scaled), COEFFICIENTS).policy,
        ppo.loss.terms(minibatch, COEFFICIENTS).policy,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("normalization", ["minibatch", "rollout", "none"])
def test_minibatches_of_one_step_learn_and_stay_finite(normalization: str) -> None:
    policy = made_policy(HYBRID)
    ppo = made_ppo(policy, minibatch_size=1, advantage_normalization=normalization)
    before = ppo.state()
    metrics = ppo.update(made_rollout(policy, (3, 2)), progress=0.0)
    assert metrics["update/minibatches"] == 10.0
    assert all(math.isfinite(value) for value in metrics.values())
    assert not same_state(before, ppo.state())


def test_a_rollout_of_a_single_step_stays_finite() -> None:
    policy = made_policy()
    metrics = made_ppo(policy).update(made_rollout(policy, (1, 0), filler=math.nan), progress=0.0)
    assert all(math.isfinite(value) for value in metrics.values())
