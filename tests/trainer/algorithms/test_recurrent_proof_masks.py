"""Proof: padding changes nothing. Each quantity has a test here that fails without its mask.

Columns of 7, 0, 12 and 5 steps in sequences of 4 are 24 steps in 28 cells, to which more are added.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.losses import normalized
from entrain.algorithms.ppo import PPO
from entrain.algorithms.telemetry import EpochLog
from entrain.config.policy import MemoryConfig
from entrain.state import State
from entrain_envs.spec import ActionSpec
from made_rollouts import (
    CONTINUOUS,
    DISCRETE,
    HYBRID,
    made_policy,
    made_ppo,
    made_rollout,
    same_state,
)
from recurrent_cases import (
    COEFFICIENTS,
    DISCOUNT,
    Case,
    config,
    gradients_of,
    loss_of,
    padded,
    poisoned,
    policy_of,
    whole,
)
from slow_ppo import SlowStep, lengths_of, slow_advantages, slow_steps

NAN = math.nan
LENGTHS = (7, 0, 12, 5)
STEPS = sum(LENGTHS)
ACTIONS = pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)


def k3(step: SlowStep) -> float:
    return math.exp(step.log_ratio) - 1.0 - float(step.log_ratio)


def is_clipped(step: SlowStep) -> float:
    return float(abs(math.exp(step.log_ratio) - 1.0) > COEFFICIENTS.clip_range)


MEASURES: dict[str, Callable[[SlowStep], float]] = {
    "loss/policy": lambda step: float(step.surrogate),
    "loss/value": lambda step: float(step.value_error),
    "loss/entropy": lambda step: -float(step.entropy),
    "policy/entropy": lambda step: float(step.entropy),
    "policy/kl": k3,
    "policy/clip_fraction": is_clipped,
}


@ACTIONS
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_is_the_mean_over_valid_steps(name: str, action: ActionSpec) -> None:
    case = Case(LENGTHS, action=action)
    ppo = case.ppo()
    minibatch = poisoned(padded(whole(ppo, case.rollout(filler=NAN)), 5), NAN)
    log = EpochLog()
    log.add(ppo.loss.terms(minibatch, COEFFICIENTS), minibatch.mask, torch.tensor(0.0).double())
    measured = log.metrics(clip_range=COEFFICIENTS.clip_range)[name]
    with torch.no_grad():
        steps = slow_steps(policy_of(ppo), case.rollout(), config(), discount=DISCOUNT)
    expected = sum(map(MEASURES[name], steps)) / STEPS
    # Whether a step is clipped is counted in float32.
    assert measured == pytest.approx(expected, abs=1e-6 if name == "policy/clip_fraction" else 1e-9)
    # It is no number that padding could have left as it was.
    assert abs(expected) > 1e-3


@pytest.mark.parametrize("weight", ["policy", "value", "entropy"])
def test_each_part_of_the_loss_is_a_mean_over_valid_steps(weight: str) -> None:
    # One part at a time: none can make up for the padding of another.
    case = Case(LENGTHS)
    ppo = case.ppo(value_coefficient=1.0)
    minibatch = padded(whole(ppo, case.rollout(filler=NAN)), 5)
    terms = ppo.loss.terms(minibatch, COEFFICIENTS)
    zeros = torch.zeros_like(terms.policy)
    only = {
        "policy": replace(terms, value=zeros, regularization=zeros),
        "value": replace(terms, policy=zeros, regularization=zeros),
        "entropy": replace(terms, policy=zeros, value=zeros),
    }[weight]
    with torch.no_grad():
        steps = slow_steps(policy_of(ppo), case.rollout(), config(), discount=DISCOUNT)
    expected = {
        "policy": sum(float(step.surrogate) for step in steps) / STEPS,
        "value": sum(float(step.value_error) for step in steps) / STEPS,
        "entropy": -0.1 * sum(float(step.entropy) for step in steps) / STEPS,
    }[weight]
    loss = ppo.loss(only, minibatch.mask, COEFFICIENTS)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("normalization", ["minibatch", "rollout"])
def test_advantages_have_mean_0_and_deviation_1_over_valid_steps(
    normalization: Literal["minibatch", "rollout"],
) -> None:
    case = Case(LENGTHS)
    ppo = case.ppo(advantage_normalization=normalization)
    minibatch = whole(ppo, case.rollout(filler=NAN, extra_rows=3))
    advantage = padded(minibatch, 5).cleaned().estimate.advantage
    if normalization == "minibatch":
        advantage, _ = normalized(advantage, padded(minibatch, 5).mask)
    valid = advantage[padded(minibatch, 5).mask]
    assert len(valid) == STEPS
    assert valid.mean().item() == pytest.approx(0.0, abs=1e-9)
    assert valid.std().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("normalization", ["minibatch", "rollout"])
def test_the_loss_sees_advantages_that_padding_did_not_shift(
    normalization: Literal["minibatch", "rollout"],
) -> None:
    case = Case(LENGTHS)
    ppo = case.ppo(advantage_normalization=normalization)
    minibatch = whole(ppo, case.rollout(filler=NAN))
    estimate = minibatch.estimate
    shifted = replace(
        minibatch,
        estimate=replace(estimate, advantage=estimate.advantage + 1e3 * ~minibatch.mask),
    )
    assert (~minibatch.mask).any()
    torch.testing.assert_close(loss_of(ppo, shifted), loss_of(ppo, minibatch), rtol=0, atol=1e-9)


# What a whole update makes of padding


def updated(filler: float, extra_rows: int) -> tuple[Metrics, State]:
    """(metrics, state) after an update from columns with this behind their end; in float32."""
    policy = Case(LENGTHS, burn_in=2).policy()
    rollout = made_rollout(policy, LENGTHS, filler=filler, extra_rows=extra_rows)
    ppo = made_ppo(policy, num_epochs=3)
    return ppo.update(rollout, progress=0.0), ppo.state()


@pytest.mark.parametrize("filler", [NAN, math.inf, 1e9])
def test_no_bit_of_an_update_depends_on_padding(filler: float) -> None:
    metrics, state = updated(0.0, extra_rows=0)
    other_metrics, other_state = updated(filler, extra_rows=5)
    assert other_metrics == metrics
    assert same_state(other_state, state)


def test_minibatches_are_counted_by_valid_steps() -> None:
    # 24 steps are two minibatches of 12 in each of two epochs. In sequences of 12 they take up
    # 3 * 12 = 36 cells, and with 12 extra rows of the rollout 4 * 24 = 96.
    case = Case(LENGTHS, sequence_length=12)
    ppo = case.ppo(minibatch_size=12, num_epochs=2)
    metrics = ppo.update(case.rollout(filler=NAN, extra_rows=12), progress=0.0)
    assert metrics["update/minibatches"] == 4.0


def test_observation_statistics_are_those_of_valid_steps() -> None:
    case = Case(LENGTHS)
    ppo, rollout = case.ppo(), case.rollout(filler=NAN, extra_rows=3)
    ppo.update(rollout, progress=0.0)
    seen = torch.stack(
        [
            torch.cat([rollout.observation["a"][t, b], rollout.observation["b"][t, b, None]])
            for b, length in enumerate(lengths_of(rollout))
            for t in range(length)
        ]
    )
    normalizer = policy_of(ppo).normalizer
    assert int(normalizer.count) == STEPS
    torch.testing.assert_close(normalizer.mean, seen.mean(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(normalizer.variance, seen.var(0, correction=0), rtol=0, atol=1e-9)


def test_explained_variance_is_that_of_valid_steps() -> None:
    # 1 - Var(return - V) / Var(return), and return - V is the advantage.
    case = Case(LENGTHS)
    ppo, rollout = case.ppo(), case.rollout(filler=NAN, extra_rows=3)
    metrics = ppo.update(rollout, progress=0.0)
    advantages = slow_advantages(rollout, discount=DISCOUNT, gae_lambda=config().gae_lambda)
    value = torch.stack([rollout.value[cell][0] for cell in advantages])
    advantage = torch.tensor(list(advantages.values()), dtype=torch.float64)
    expected = 1.0 - advantage.var(correction=0) / (value + advantage).var(correction=0)
    assert metrics["value/explained_variance"] == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize(("dimensions", "log_sigma_sq"), [(40, -7.0), (20, -12.0)])
def test_padding_has_no_gradient_however_precise_a_policy_is(
    dimensions: int, log_sigma_sq: float
) -> None:
    # At its mean such a policy has a density of exp(40 / 2 * (7 - ln 2 pi)) = exp(103), which is
    # infinite in float32. A made-up step of padding may be there; infinity times zero is NaN.
    action = ActionSpec(low=(-1.0,) * dimensions, high=(1.0,) * dimensions)
    memory = MemoryConfig(kind="lstm", size=3, sequence_length=4)
    policy = made_policy(action, memory=memory, initial_log_sigma_sq=log_sigma_sq)
    ppo = PPO(policy, config(), discount=DISCOUNT, seed=0, device=torch.device("cpu"))
    minibatch = whole(ppo, made_rollout(policy, LENGTHS))
    assert not minibatch.mask.all()
    clean = gradients_of(ppo, loss_of(ppo, minibatch))
    for filler in (0.0, 1e9, NAN):
        strange = gradients_of(ppo, loss_of(ppo, poisoned(padded(minibatch, 3), filler)))
        for name, gradient in clean.items():
            assert gradient.isfinite().all(), name
            torch.testing.assert_close(strange[name], gradient, rtol=1e-3, atol=1e-4)


def test_padding_is_seen_by_no_network_that_is_not_made_for_zeros() -> None:
    minibatch = padded(whole(Case().ppo(), Case().rollout()), 2)
    seen = minibatch.cleaned().steps
    first = minibatch.mask.sum(0) - 1
    for name, tensor in seen.observation.items():
        for column, last in enumerate(first.tolist()):
            step = minibatch.steps.observation[name][last, column]
            assert (tensor[last:, column] == step).all(), name
    assert not seen.reset[~minibatch.mask].any()


def test_a_sequence_without_a_step_is_nothing_but_zeros() -> None:
    minibatch = whole(Case().ppo(), Case().rollout())
    mask = minibatch.mask & (torch.arange(minibatch.mask.shape[1]) > 0)
    empty = replace(minibatch, steps=replace(minibatch.steps, valid=mask))
    seen = poisoned(empty, NAN).cleaned().steps
    assert (seen.log_prob[:, 0] == 0.0).all()
    assert seen.action_mask[:, 0].all()
    assert all((tensor[:, 0] == 0.0).all() for tensor in seen.observation.values())
