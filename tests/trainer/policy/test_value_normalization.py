"""Running statistics of returns, and a value head whose values do not change with them."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.critic import ValueHead
from entrain.policy.value_normalization import (
    LEAST_DEVIATION,
    WINDOW,
    ValueNormalizer,
    completed,
)
from entrain.policy.weights import PolicyWeights
from made_rollouts import CONTINUOUS, made_policy

SCALES = (1e-30, 1e-12, 1e-3, 1.0, 1e6, 1e12, 1e30)


def returns(*numbers: float) -> Tensor:
    """[N, 1] of one stream."""
    return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)


def head_of(*, streams: int = 2, normalize: bool = True, seed: int = 3) -> ValueHead:
    names = [str(index) for index in range(streams)]
    generator = torch.Generator().manual_seed(seed)
    return ValueHead(names, 4, normalize=normalize, generator=generator)


def test_the_statistics_of_two_rollouts_by_hand() -> None:
    # Means 2 and 8, variances 1 and 4: the mean is 5, the variance 2.5 + 9.
    normalizer = ValueNormalizer(1, normalize=True)
    normalizer.update(returns(1.0, 3.0))
    assert (normalizer.shift.item(), normalizer.scale.item()) == pytest.approx((2.0, 1.0))
    normalizer.update(returns(6.0, 10.0))
    assert normalizer.shift.item() == pytest.approx(5.0)
    assert normalizer.scale.item() == pytest.approx(math.sqrt(11.5), rel=1e-6)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=5), min_size=1, max_size=25)
)
def test_they_are_those_of_the_last_rollouts_each_of_which_counts_as_much(
    rollouts: list[list[float]],
) -> None:
    normalizer = ValueNormalizer(1, normalize=True)
    for rollout in rollouts:
        normalizer.update(returns(*rollout))
    last = rollouts[-WINDOW:]
    weighed = [(1 / len(last) / len(rollout), each) for rollout in last for each in rollout]
    mean = sum(weight * number for weight, number in weighed)
    variance = sum(weight * (number - mean) ** 2 for weight, number in weighed)
    if variance == mean == 0.0:
        # All equal to zero: what was known before is kept.
        return
    assert normalizer.shift.item() == pytest.approx(mean, abs=1e-5)
    scale = math.sqrt(variance + (LEAST_DEVIATION * mean) ** 2)
    assert normalizer.scale.item() == pytest.approx(scale, rel=1e-4, abs=1e-30)


def test_an_absurd_return_is_forgotten() -> None:
    normalizer = ValueNormalizer(1, normalize=True)
    normalizer.update(returns(1e25, 0.0))
    for _ in range(WINDOW):
        assert normalizer.scale.item() > 1e23
        normalizer.update(returns(1.0, 3.0))
    assert (normalizer.shift.item(), normalizer.scale.item()) == pytest.approx((2.0, 1.0))


def test_what_is_forgotten_is_kept_until_the_next_rollout() -> None:
    normalizer = ValueNormalizer(1, normalize=True)
    normalizer.update(returns(1e6, 3e6))
    normalizer.forget()
    assert normalizer.scale.item() == pytest.approx(1e6)
    normalizer.update(returns(1.0, 3.0))
    assert (normalizer.shift.item(), normalizer.scale.item()) == pytest.approx((2.0, 1.0))


@pytest.mark.parametrize("scale", SCALES)
def test_no_scale_of_returns_is_special(scale: float) -> None:
    one, other = ValueNormalizer(1, normalize=True), ValueNormalizer(1, normalize=True)
    random = np.random.default_rng(1)
    for _ in range(4):
        numbers = torch.from_numpy(random.normal(3.0, 2.0, (50, 1)).astype(np.float32))
        one.update(numbers)
        other.update(scale * numbers)
    assert other.scale.item() == pytest.approx(scale * one.scale.item(), rel=1e-5)
    assert other.shift.item() == pytest.approx(scale * one.shift.item(), rel=1e-5)
    normalized = other.normalized(scale * numbers)
    torch.testing.assert_close(normalized, one.normalized(numbers), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other(normalized), scale * numbers, rtol=1e-5, atol=0)


def test_a_critic_that_has_seen_no_reward_says_zero() -> None:
    head = head_of()
    features = torch.randn(5, 4)
    assert not head(features).any()
    head.follow(torch.zeros(7, 2))
    assert not head(features).any()
    assert not head.normalizer.normalized(torch.zeros(3, 2)).any()
    # One stream learns of its unit before the other. Its rollouts have means 0 and 2e6, and
    # variances 0 and 1e12: together mean 1e6, variance 5e11 + 1e12.
    head.follow(torch.tensor([[0.0, 1e6], [0.0, 3e6]]))
    assert not head(features)[:, 0].any()
    expected = 1e6 + 1.5**0.5 * 1e6 * head.normalized(features)[:, 1]
    torch.testing.assert_close(head(features)[:, 1], expected)


@pytest.mark.parametrize("mean", [-5.0, 1e-20, 1e20])
def test_returns_that_are_all_equal_are_predicted_and_move_nothing_far(mean: float) -> None:
    head = head_of(streams=1)
    head.follow(returns(mean, mean, mean))
    assert not head.normalizer.normalized(returns(mean)).any()
    values = head(torch.randn(20, 4))
    torch.testing.assert_close(values, torch.full((20, 1), mean), rtol=1e-3, atol=0)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-99, 99), st.floats(-0.9, 0.9)), min_size=2, max_size=6),
    st.sampled_from(SCALES),
)
def test_no_value_changes_with_the_statistics(
    rollouts: list[tuple[float, float]], scale: float
) -> None:
    head = head_of(streams=1)
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(9, 4, generator=generator)
    for index, (middle, log_spread) in enumerate(rollouts):
        before = head(features)
        spread = 10.0**log_spread
        numbers = middle + spread * torch.randn(30, 1, generator=generator)
        head.follow(scale * numbers)
        if index:
            # Relative to the largest number that takes part: where a mean and an output cancel, no
            # float holds more.
            size = max(before.abs().max(), head.normalizer.shift.abs().max())
            assert (head(features) - before).abs().max() <= 1e-5 * size


def test_values_are_kept_by_hand() -> None:
    # Outputs have shift 2 and scale 1, then 5 and the root of 11.5 (see the first test). A value of
    # 2 + 1 * 0.5 = 2.5 stays one.
    head = head_of(streams=1)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(0.5)
    head.follow(returns(1.0, 3.0))
    assert head(torch.ones(1, 4)).item() == pytest.approx(2.5)
    head.follow(returns(6.0, 10.0))
    assert head.bias.item() == pytest.approx((2.5 - 5.0) / math.sqrt(11.5), rel=1e-5)
    assert head(torch.ones(1, 4)).item() == pytest.approx(2.5, rel=1e-6)


def test_values_are_not_kept_where_the_scale_falls_by_a_leap() -> None:
    head = head_of(streams=1)
    head.follow(returns(1e6, 3e6))
    weight = head.weight.clone()
    head.normalizer.forget()
    head.follow(returns(1.0, 3.0))
    assert torch.equal(head.weight, weight)
    # Outputs stand for values of the new size.
    assert head(torch.zeros(1, 4)).item() == pytest.approx(2.0)


def test_without_normalisation_outputs_are_values_bit_for_bit() -> None:
    head = head_of(normalize=False)
    features = torch.randn(5, 4)
    head.follow(torch.randn(9, 2))
    assert torch.equal(head(features), torch.nn.functional.linear(features, head.weight, head.bias))
    numbers = torch.randn(4, 2)
    assert torch.equal(head.normalizer.normalized(numbers), numbers)


def test_a_run_may_stop_normalising_and_keeps_its_values() -> None:
    head = head_of()
    head.follow(1e4 + 7.0 * torch.randn(9, 2))
    features = torch.randn(5, 4)
    before = head(features)
    head.stop_normalizing()
    torch.testing.assert_close(head(features), before, rtol=1e-6, atol=0)
    torch.testing.assert_close(head.normalized(features), before, rtol=1e-6, atol=0)
    weight = head.weight.clone()
    head.stop_normalizing()
    assert torch.equal(head.weight, weight)


def without_statistics(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: array for name, array in arrays.items() if "value_head.normalizer" not in name}


def test_a_policy_that_was_saved_without_statistics_has_outputs_that_are_values() -> None:
    policy = made_policy(CONTINUOUS)
    arrays = {name: tensor.numpy() for name, tensor in policy.state_dict().items()}
    old = completed(without_statistics(arrays), 1)
    assert old.keys() == arrays.keys()
    assert old["value_head.normalizer.scale"].tolist() == [1.0]
    assert (
        completed(arrays, 1)["value_head.normalizer.scale"] is arrays["value_head.normalizer.scale"]
    )
    # The weights that act, of a checkpoint taken during an update, are another form of the same.
    weights = PolicyWeights.of(policy)
    state = weights.state()
    old = {**state, "buffers": without_statistics(state["buffers"])}
    again = PolicyWeights.from_state(old, weights)
    assert again.buffers["value_head.normalizer.scale"].tolist() == [1.0]


def test_the_option_decides() -> None:
    spec = made_policy().spec
    for normalize in (True, False):
        policy = ActorCritic(spec, PolicyConfig(normalize_values=normalize), seed=1)
        assert policy.value_head.normalizer.normalizes is normalize
    assert PolicyConfig().normalize_values
