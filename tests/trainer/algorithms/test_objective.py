"""Advantages and targets of the three objectives, worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from entrain.algorithms.objective import Objective, ValueStream, make_objective, value_streams
from entrain.config.policy import EntropyConfig
from entrain.experience import Estimate, Rollout
from entrain.policy.critic import ENTROPY_STREAM, REWARD_STREAM

REWARDS = {"discount": 0.5, "gae_lambda": 0.5}
CARRY = 0.25
"""Discount times lambda, of rewards."""

REWARD = (1.0, 2.0, 4.0)
REGULARIZATION = (0.4, 0.8, 0.2)
VALUE = (1.0, 2.0, 3.0)
NEXT_VALUE = (2.0, 3.0, 0.0)
OF_ENTROPY = (0.2, 0.1, 0.3)
"""What the second head says."""

NEXT_OF_ENTROPY = (0.1, 0.3, 0.0)


def column(*numbers: float) -> Tensor:
    """[T, 1]."""
    return torch.tensor(numbers)[:, None]


def made(*, heads: int = 1, cut: int | None = None, filler: float | None = None) -> Rollout:
    """Three steps of one episode that then terminates, or is cut before row `cut` already.

    With a `filler` two rows of padding follow, and a column without any step stands beside.
    """
    value = torch.stack([column(*VALUE), column(*OF_ENTROPY)][:heads], dim=-1)
    next_value = torch.stack([column(*NEXT_VALUE), column(*NEXT_OF_ENTROPY)][:heads], dim=-1)
    boundary = column(*(0.0, 0.0, 1.0)).bool()
    if cut is not None:
        boundary[cut - 1] = True
    seen, flags = torch.zeros(3, 1, 1), torch.zeros(3, 1, dtype=torch.bool)
    rollout = {
        "reward": column(*REWARD),
        "value": value,
        "next_value": next_value,
        "boundary": boundary,
        "late": flags,
        "valid": ~flags,
        "reset": flags,
        "log_prob": flags.float(),
        "action_mask": torch.ones(3, 1, 2, dtype=torch.bool),
        "policy_version": flags.long(),
    }
    if filler is not None:
        rollout = {name: padded(tensor, filler) for name, tensor in rollout.items()}
        seen = padded(seen, filler)
    columns = seen.shape[1]
    return Rollout(
        observation={"seen": seen},
        action={"discrete": seen.nan_to_num(0.0).long()},
        sequence_state=torch.zeros(1, columns, 0),
        **rollout,
    )


def padded(tensor: Tensor, filler: float) -> Tensor:
    """[3, 1, ...] to [5, 2, ...]; flags are false in padding."""
    value = filler if tensor.is_floating_point() else 0
    wide = tensor.new_full((5, 2, *tensor.shape[2:]), value)
    wide[:3, :1] = tensor
    return wide


def objective_of(entropy: EntropyConfig) -> Objective:
    names = [REWARD_STREAM]
    if entropy.objective == "entropy_critic":
        names.append(ENTROPY_STREAM)
    return make_objective(entropy, value_streams(names, entropy, **REWARDS))


def estimate(
    entropy: EntropyConfig,
    rollout: Rollout,
    coefficient: float,
    regularization: Tensor | None = None,
) -> Estimate:
    at_each = column(*REGULARIZATION) if regularization is None else regularization
    return objective_of(entropy).estimate(rollout, lambda: at_each, coefficient)


def never() -> Tensor:
    """Stands for a regularizer that must not be evaluated."""
    raise AssertionError("it costs a forward pass that nobody needs")


BONUS = EntropyConfig(objective="bonus")
SOFT = EntropyConfig(objective="soft_return")
CRITIC = EntropyConfig(objective="entropy_critic", discount=0.8, gae_lambda=0.25)


def test_a_bonus_leaves_the_return_to_rewards() -> None:
    # delta = 1 + 0.5*2 - 1, 2 + 0.5*3 - 2, 4 + 0 - 3 = 1, 1.5, 1
    # A[2] = 1;  A[1] = 1.5 + 0.25*1 = 1.75;  A[0] = 1 + 0.25*1.75 = 1.4375
    objective = objective_of(BONUS)
    for coefficient in (0.0, 0.5):
        said = objective.estimate(made(), never, coefficient)
        torch.testing.assert_close(said.advantage, column(1.4375, 1.75, 1.0))
        torch.testing.assert_close(said.return_[..., 0], column(2.4375, 3.75, 4.0))
    assert not objective.is_soft


def test_a_soft_return_counts_the_regularizer_like_reward() -> None:
    # r + 0.5 w = 1.2, 2.4, 4.1; so delta = 1.2, 1.9, 1.1
    # A[2] = 1.1;  A[1] = 1.9 + 0.25*1.1 = 2.175;  A[0] = 1.2 + 0.25*2.175 = 1.74375
    said = estimate(SOFT, made(), 0.5)
    torch.testing.assert_close(said.advantage, column(1.74375, 2.175, 1.1))
    torch.testing.assert_close(said.return_[..., 0], column(2.74375, 4.175, 4.1))
    assert objective_of(SOFT).is_soft


def test_a_soft_return_without_weight_is_the_hard_one_and_evaluates_nothing() -> None:
    soft = objective_of(SOFT).estimate(made(), never, 0.0)
    hard = objective_of(BONUS).estimate(made(), never, 0.0)
    assert torch.equal(soft.advantage, hard.advantage)
    assert torch.equal(soft.return_, hard.return_)


def test_an_entropy_critic_looks_ahead_by_a_discount_of_its_own() -> None:
    # 1 - h = 0.2, so the second head's signal is 0.08, 0.16, 0.04, and it carries 0.8*0.25 = 0.2.
    # delta = 0.08 + 0.8*0.1 - 0.2, 0.16 + 0.8*0.3 - 0.1, 0.04 - 0.3 = -0.04, 0.3, -0.26
    # B[2] = -0.26;  B[1] = 0.3 + 0.2*-0.26 = 0.248;  B[0] = -0.04 + 0.2*0.248 = 0.0096
    # A + (0.5 / 0.2) * B = 1.4375 + 0.024, 1.75 + 0.62, 1 - 0.65
    said = estimate(CRITIC, made(heads=2), 0.5)
    torch.testing.assert_close(said.advantage, column(1.4615, 2.37, 0.35))
    torch.testing.assert_close(said.return_[..., 0], column(2.4375, 3.75, 4.0))
    torch.testing.assert_close(said.return_[..., 1], column(0.2096, 0.348, 0.04))
    assert objective_of(CRITIC).is_soft


def test_an_entropy_critic_learns_while_its_entropy_has_no_weight() -> None:
    said = estimate(CRITIC, made(heads=2), 0.0)
    torch.testing.assert_close(said.advantage, column(1.4375, 1.75, 1.0))
    torch.testing.assert_close(said.return_[..., 1], column(0.2096, 0.348, 0.04))


def test_an_entropy_critic_without_discount_takes_the_sum() -> None:
    # h = 1, lambda = 1: delta = 0.4 + 0.1 - 0.2, 0.8 + 0.3 - 0.1, 0.2 - 0.3 = 0.3, 1, -0.1
    # B = 1.2, 0.9, -0.1, and nothing is divided.
    endless = EntropyConfig(objective="entropy_critic", discount=1.0, gae_lambda=1.0)
    said = estimate(endless, made(heads=2), 0.5)
    torch.testing.assert_close(said.return_[..., 1], column(1.4, 1.0, 0.2))
    torch.testing.assert_close(said.advantage, column(1.4375 + 0.6, 1.75 + 0.45, 1.0 - 0.05))


@pytest.mark.parametrize("entropy", [BONUS, SOFT, CRITIC], ids=lambda each: each.objective)
def test_nothing_of_either_part_leaks_across_a_boundary(entropy: EntropyConfig) -> None:
    heads = 2 if entropy is CRITIC else 1
    rollout = made(heads=heads, cut=2)
    said = estimate(entropy, rollout, 0.5)
    rollout.reward[2], rollout.value[2], rollout.next_value[2] = 1e6, -1e6, 1e6
    regularization = column(REGULARIZATION[0], REGULARIZATION[1], -1e6)
    later = estimate(entropy, rollout, 0.5, regularization)
    assert torch.equal(later.advantage[:2], said.advantage[:2])
    assert torch.equal(later.return_[:2], said.return_[:2])
    # What is cut is still followed by something: row 1 keeps its next value.
    # 1.5, or 1.9 with 0.5 * 0.8 in it, or 1.5 + 2.5 * 0.3.
    by_hand = {"bonus": 1.5, "soft_return": 1.9, "entropy_critic": 2.25}
    assert said.advantage[1].item() == pytest.approx(by_hand[entropy.objective])


@pytest.mark.parametrize("filler", [math.nan, math.inf, 1e9])
@pytest.mark.parametrize("entropy", [BONUS, SOFT, CRITIC], ids=lambda each: each.objective)
def test_padding_changes_no_bit_of_a_step(entropy: EntropyConfig, filler: float) -> None:
    heads = 2 if entropy is CRITIC else 1
    tight = estimate(entropy, made(heads=heads), 0.5)
    rollout = made(heads=heads, filler=filler)
    said = estimate(entropy, rollout, 0.5, padded(column(*REGULARIZATION), filler))
    assert said.advantage.shape == (5, 2)
    assert torch.equal(said.advantage[:3, :1], tight.advantage)
    assert torch.equal(said.return_[:3, :1], tight.return_)


def test_value_streams_are_found_by_name_in_whatever_order_the_critic_has_them() -> None:
    # The critic's outputs are swapped, and so are the table's rows: the same advantages.
    swapped = (ENTROPY_STREAM, REWARD_STREAM)
    streams = value_streams(swapped, CRITIC, **REWARDS)
    assert streams == (
        ValueStream(ENTROPY_STREAM, discount=0.8, gae_lambda=0.25),
        ValueStream(REWARD_STREAM, discount=0.5, gae_lambda=0.5),
    )
    rollout = made(heads=2)
    other = replace(rollout, value=rollout.value.flip(-1), next_value=rollout.next_value.flip(-1))
    said = make_objective(CRITIC, streams).estimate(other, lambda: column(*REGULARIZATION), 0.5)
    expected = estimate(CRITIC, rollout, 0.5)
    torch.testing.assert_close(said.advantage, expected.advantage)
    torch.testing.assert_close(said.return_, expected.return_.flip(-1))
