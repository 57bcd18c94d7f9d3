"""What an older policy did is learned from as the policy that begins the update sees it."""

import copy
import math
from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.ppo import PPO
from entrain.algorithms.surrogates import Joint, PerDimension
from entrain.config.policy import MemoryConfig
from entrain.experience import BurnIn, Estimate, Minibatch, PerDimensionRollout, Rollout
from entrain.policy.spread import ParameterSpread
from made_rollouts import CONTINUOUS, HYBRID, made_policy, made_ppo, made_rollout, same_state
from recurrent_cases import (
    COEFFICIENTS,
    DISCOUNT,
    Case,
    assert_same,
    behind,
    cases,
    config,
    gradients_of,
    loss_of,
    move,
    policy_of,
)
from slow_ppo import slow_loss, slow_steps

LENGTHS = (7, 0, 12, 5)
PLAIN = MemoryConfig()
LSTM = MemoryConfig(kind="lstm", size=3, sequence_length=4, burn_in=2, refresh_states=True)


@pytest.mark.parametrize(
    ("now", "advantage", "loss", "slope"),
    [
        # Acted with 0.4, the update begins with 0.6: each step weighs 1.5.
        (0.6, 2.0, -3.0, -3.0),  # ratio 1: -1.5 * 2
        (0.66, 2.0, -3.3, -3.3),  # ratio 1.1; by the policy that acted it would be 1.65, clipped
        (0.9, 2.0, -3.6, 0.0),  # far enough: -1.2 * 1.5 * 2
        (0.3, -2.0, 2.4, 0.0),  # far enough: 0.8 * 1.5 * 2
        (0.9, -2.0, 4.5, 4.5),  # moved the wrong way: 1.5 * 1.5 * 2
    ],
)
def test_the_decoupled_surrogate_by_hand(
    now: float, advantage: float, loss: float, slope: float
) -> None:
    surrogate, minibatch = Joint(), one_step(acted=0.4, began=0.6)
    log_prob = torch.tensor([[math.log(now)]], requires_grad=True)
    log_ratio = surrogate.log_ratio(Said(log_prob), minibatch)  # type: ignore[arg-type]
    weighted = surrogate.weighted(torch.tensor([[advantage]]), minibatch)
    found = surrogate.loss(log_ratio, weighted, clip_range=0.2)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(loss)
    assert log_prob.grad is not None
    assert log_prob.grad.item() == pytest.approx(slope)


def test_no_step_weighs_more_than_ten() -> None:
    minibatch = one_step(acted=1e-30, began=0.5)
    assert Joint().weighted(torch.tensor([[2.0]]), minibatch).item() == pytest.approx(20.0)


def test_each_dimension_has_a_weight_of_its_own() -> None:
    surrogate, minibatch = PerDimension(), one_step(acted=(0.4, 0.5), began=(0.6, 0.25))
    now = torch.tensor([[[0.66, 0.25]]]).log()
    log_ratio = surrogate.log_ratio(Said(now), minibatch)  # type: ignore[arg-type]
    weighted = surrogate.weighted(torch.tensor([[2.0]]), minibatch)
    # -(1.1 * 1.5 * 2 + 1 * 0.5 * 2) / 2
    found = surrogate.loss(log_ratio, weighted, clip_range=0.2)
    assert found.item() == pytest.approx(-2.15)


class Said:
    """A distribution that says this of every action."""

    def __init__(self, log_prob: Tensor) -> None:
        self._log_prob = log_prob

    def log_prob(self, action: object) -> Tensor:
        return self._log_prob

    log_prob_per_dimension = log_prob


def one_step(acted: Any, began: Any) -> Minibatch:
    """Done with one probability, when the update began with another."""
    then, before = torch.tensor([[acted]]).log(), torch.tensor([[began]]).log()
    one = torch.ones(1, 1)
    fields: dict[str, Any] = {
        "observation": {},
        "action": {},
        "action_mask": torch.ones(1, 1, 0, dtype=torch.bool),
        "log_prob": then if then.dim() == 2 else then.sum(-1),
        "value": torch.zeros(1, 1, 1),
        "reset": torch.zeros(1, 1, dtype=torch.bool),
        "policy_version": torch.zeros(1, 1, dtype=torch.int64),
        "reward": one,
        "next_value": torch.zeros(1, 1, 1),
        "boundary": one.bool(),
        "late": torch.zeros(1, 1, dtype=torch.bool),
        "valid": one.bool(),
        "sequence_state": torch.zeros(1, 1, 0),
    }
    steps = (
        Rollout(**fields)
        if then.dim() == 2
        else PerDimensionRollout(**fields, log_prob_per_dimension=then)
    )
    estimate = Estimate(one, torch.zeros(1, 1, 1), log_prob=before)
    return Minibatch(steps, estimate, BurnIn.nothing(torch.device("cpu")), is_padded=False)


@settings(max_examples=30)
@given(cases(), st.sampled_from(["minibatch", "rollout", "none"]), st.sampled_from([math.nan, 1e9]))
def test_loss_and_gradients_are_those_of_every_step_by_itself(
    case: Case, normalization: Literal["minibatch", "rollout", "none"], filler: float
) -> None:
    case = replace(case, policy_lag=1)
    ppo = case.ppo(advantage_normalization=normalization)
    rollout = case.rollout(filler=filler, extra_rows=2)
    policy = policy_of(ppo)
    beginning = copy.deepcopy(policy)
    minibatches = ppo.minibatches(rollout)
    move(policy, seed=case.seed + 1)
    (minibatch,) = minibatches.epoch(torch.Generator())
    loss = loss_of(ppo, minibatch)
    found = loss.detach(), gradients_of(ppo, loss)

    options = config(advantage_normalization=normalization)
    steps = slow_steps(policy, rollout, options, discount=DISCOUNT, beginning=beginning)
    slow = slow_loss(steps, options, COEFFICIENTS.entropy_coefficient)
    assert_same((slow.detach(), gradients_of(ppo, slow)), found, tolerance=1e-10)


def learner(memory: MemoryConfig, **options: Any) -> tuple[PPO, Rollout]:
    """One whose policy has moved since it made the rollout."""
    policy = made_policy(HYBRID, memory=memory, policy_lag=1)
    rollout = behind(made_rollout(policy, LENGTHS, **options))
    move(policy, seed=5)
    return made_ppo(policy), rollout


@pytest.mark.parametrize("memory", [PLAIN, LSTM], ids=["plain", "lstm"])
def test_ratios_begin_at_one(memory: MemoryConfig) -> None:
    ppo, rollout = learner(memory, filler=math.nan)
    for minibatch in ppo.minibatches(rollout).epoch(torch.Generator().manual_seed(1)):
        with torch.no_grad():
            log_ratio = ppo.loss.terms(minibatch, COEFFICIENTS).log_ratio
        assert log_ratio.abs().max() < 1e-5


@pytest.mark.parametrize("memory", [PLAIN, LSTM], ids=["plain", "lstm"])
def test_no_bit_of_an_update_depends_on_padding(memory: MemoryConfig) -> None:
    (tight, rollout), (padded, same) = learner(memory), learner(memory, filler=math.nan)
    assert tight.update(rollout, progress=0.0) == padded.update(same, progress=0.0)
    assert same_state(tight.state(), padded.state())


@pytest.mark.parametrize("memory", [PLAIN, LSTM], ids=["plain", "lstm"])
def test_a_rollout_of_the_newest_policy_is_learned_from_as_without_lag(
    memory: MemoryConfig,
) -> None:
    learned = []
    for policy_lag in (0, 1):
        policy = made_policy(HYBRID, memory=memory, policy_lag=policy_lag)
        ppo = made_ppo(policy)
        metrics = dict(ppo.update(made_rollout(policy, LENGTHS, filler=1e9), progress=0.0))
        assert metrics.pop("policy/lag_kl", 0.0) == 0.0
        learned.append((ppo.state(), metrics))
    (one, its_metrics), (other, metrics) = learned
    assert same_state(one, other)
    assert its_metrics == metrics


def test_without_lag_a_step_that_was_in_flight_counts_as_it_was_stored() -> None:
    policy = made_policy(CONTINUOUS)
    minibatches = made_ppo(policy).minibatches(behind(made_rollout(policy, LENGTHS)))
    assert minibatches.all_steps.estimate.log_prob is None


def test_how_far_the_two_policies_are_apart_is_told() -> None:
    # Both have mean 0 in a linear policy without weights; sigma 1 has become e^(1/4).
    # KL(sigma 1 || sigma e^(1/4)) = (e^(-1/2) - 1 + 1/2) / 2 nats a dimension.
    policy = made_policy(CONTINUOUS, hidden=(), policy_lag=1)
    with torch.no_grad():
        policy.action_head.weight.zero_()
    rollout = behind(made_rollout(policy, (20_000,)))
    assert isinstance(policy.action_head.spread, ParameterSpread)
    with torch.no_grad():
        policy.action_head.spread.parameter.add_(0.5)
    found = made_ppo(policy)._renewal(rollout, 0).metrics
    expected = 2 * (math.exp(-0.5) - 0.5) / 2
    assert found == {"policy/lag_kl": pytest.approx(expected, rel=0.05)}


def test_an_update_ends_early_by_the_distance_from_the_policy_that_begins_it() -> None:
    # It has moved far from the one that acted, and an update without a learning rate moves nothing.
    policy = made_policy(CONTINUOUS, policy_lag=1)
    rollout = behind(made_rollout(policy, LENGTHS))
    move(policy, seed=5)
    ppo = made_ppo(policy, num_epochs=4, target_kl=1e-3, learning_rate=1e-12)
    metrics = ppo.update(rollout, progress=0.0)
    assert metrics["policy/lag_kl"] > 1e-3
    assert metrics["policy/kl"] < 1e-6
    assert metrics["update/epochs"] == 4.0
