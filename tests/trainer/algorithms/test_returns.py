"""Advantages: by hand, against the plain recursion, and without leaks across boundaries."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode

from entrain.algorithms.returns import cut_at_horizon, generalized_advantage


def column(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32)[:, None]


def plain_recursion(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    boundary: Tensor,
    *,
    discount: float,
    gae_lambda: float,
) -> Tensor:
    """The definition, one Python number at a time."""
    advantage = torch.zeros_like(reward)
    rows, columns = reward.shape
    for b in range(columns):
        following = 0.0
        for t in reversed(range(rows)):
            delta = float(reward[t, b] + discount * next_value[t, b] - value[t, b])
            following = delta + (0.0 if boundary[t, b] else discount * gae_lambda * following)
            advantage[t, b] = following
    return advantage


def test_advantage_of_two_steps_by_hand() -> None:
    # delta[1] = 1 + 0.5 * 0 - 2 = -1        (terminated, so the next value is zero)
    # delta[0] = 3 + 0.5 * 2 - 1 =  3
    # A[0]     = 3 + 0.5 * 0.5 * -1 = 2.75
    advantage = generalized_advantage(
        reward=column(3, 1),
        value=column(1, 2),
        next_value=column(2, 0),
        boundary=torch.tensor([[False], [True]]),
        discount=0.5,
        gae_lambda=0.5,
    )
    torch.testing.assert_close(advantage, column(2.75, -1))


def test_advantage_of_five_steps_and_two_episodes_by_hand() -> None:
    # discount * lambda = 1/2 * 1 = 1/2; values are all zero, so delta is the reward:
    # rows 3, 4 (second episode): A[4] = 8;  A[3] = 4 + 8/2 = 8
    # rows 0 to 2 (first):        A[2] = 4;  A[1] = 2 + 4/2 = 4;  A[0] = 1 + 4/2 = 3
    advantage = generalized_advantage(
        reward=column(1, 2, 4, 4, 8),
        value=column(0, 0, 0, 0, 0),
        next_value=column(0, 0, 0, 0, 0),
        boundary=torch.tensor([[False], [False], [True], [False], [True]]),
        discount=0.5,
        gae_lambda=1.0,
    )
    torch.testing.assert_close(advantage, column(3, 4, 4, 8, 8))


def test_lambda_zero_is_the_critics_surprise_alone() -> None:
    advantage = generalized_advantage(
        reward=column(1, 1, 1),
        value=column(5, 6, 7),
        next_value=column(6, 7, 8),
        boundary=torch.tensor([[False], [False], [False]]),
        discount=0.5,
        gae_lambda=0.0,
    )
    torch.testing.assert_close(advantage, column(1 + 3 - 5, 1 + 3.5 - 6, 1 + 4 - 7))


def test_lambda_one_plus_value_is_the_discounted_return() -> None:
    # 1 + 0.9 * (2 + 0.9 * (3 + 0.9 * 10)), whatever the critic says of the rows in between.
    value = column(40, -7, 13)
    advantage = generalized_advantage(
        reward=column(1, 2, 3),
        value=value,
        next_value=column(-7, 13, 10),
        boundary=torch.tensor([[False], [False], [True]]),
        discount=0.9,
        gae_lambda=1.0,
    )
    expected = 1 + 0.9 * (2 + 0.9 * (3 + 0.9 * 10))
    assert (advantage + value)[0].item() == pytest.approx(expected, rel=1e-6)


def test_nothing_leaks_across_a_boundary() -> None:
    def first_advantage(later_reward: float) -> float:
        return generalized_advantage(
            reward=column(1, later_reward),
            value=column(0, 0),
            next_value=column(0, 0),
            boundary=torch.tensor([[True], [False]]),
            discount=0.9,
            gae_lambda=0.9,
        )[0].item()

    assert first_advantage(0.0) == first_advantage(1e6) == first_advantage(float("nan"))


def test_the_last_row_ends_every_column_even_if_it_is_not_marked() -> None:
    advantage = generalized_advantage(
        reward=column(0, 1),
        value=column(0, 0),
        next_value=column(0, 10),
        boundary=torch.tensor([[False], [False]]),
        discount=0.5,
        gae_lambda=1.0,
    )
    torch.testing.assert_close(advantage, column(3, 6))


@st.composite
def experience(draw: st.DrawFn) -> dict[str, Tensor]:
    """Random numbers come from torch: drawing each from hypothesis takes seconds."""
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    reward, value, next_value = 10.0 * torch.randn(
        3, rows, columns, dtype=torch.float64, generator=generator
    )
    ends = draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))
    return {
        "reward": reward,
        "value": value,
        "next_value": next_value,
        "boundary": torch.rand(rows, columns, generator=generator) < ends,
    }


fractions = st.floats(0.0, 1.0)


@given(experience(), fractions, fractions)
def test_it_is_the_plain_recursion(
    steps: dict[str, Tensor], discount: float, gae_lambda: float
) -> None:
    torch.testing.assert_close(
        generalized_advantage(**steps, discount=discount, gae_lambda=gae_lambda),
        plain_recursion(**steps, discount=discount, gae_lambda=gae_lambda),
        rtol=1e-9,
        atol=1e-9,
    )


@given(experience(), st.sampled_from([float("nan"), float("inf"), 1e9]), st.integers(1, 20))
def test_padding_behind_a_boundary_changes_no_bit(
    steps: dict[str, Tensor], filler: float, extra: int
) -> None:
    steps["boundary"][-1] = True
    padded = {
        name: torch.cat([tensor, torch.full((extra, tensor.shape[1]), filler).to(tensor.dtype)])
        for name, tensor in steps.items()
    }
    padded["boundary"][-extra:] = False
    rows = len(steps["reward"])
    expected = generalized_advantage(**steps, discount=0.99, gae_lambda=0.95)
    advantage = generalized_advantage(**padded, discount=0.99, gae_lambda=0.95)
    assert torch.equal(advantage[:rows], expected)


@given(experience(), st.integers(0, 99))
def test_columns_know_nothing_of_each_other(steps: dict[str, Tensor], seed: int) -> None:
    order = torch.randperm(steps["reward"].shape[1], generator=torch.Generator().manual_seed(seed))
    permuted = {name: tensor[:, order] for name, tensor in steps.items()}
    assert torch.equal(
        generalized_advantage(**permuted, discount=0.99, gae_lambda=0.95),
        generalized_advantage(**steps, discount=0.99, gae_lambda=0.95)[:, order],
    )


@settings(max_examples=20)
@given(experience())
def test_its_arguments_are_left_as_they_were(steps: dict[str, Tensor]) -> None:
    before = {name: tensor.clone() for name, tensor in steps.items()}
    generalized_advantage(**steps, discount=0.9, gae_lambda=0.9)
    assert all(torch.equal(before[name], steps[name]) for name in steps)


def test_float32_over_a_long_rollout_is_as_good_as_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    reward, value, next_value = torch.randn(3, 2048, 2, generator=generator).unbind()
    boundary = torch.rand(2048, 2, generator=generator) < 0.002
    numbers = {"discount": 0.999, "gae_lambda": 0.98}
    single = generalized_advantage(reward, value, next_value, boundary, **numbers)
    double = plain_recursion(
        reward.double(), value.double(), next_value.double(), boundary, **numbers
    )
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-4)


class CallCounter(TorchFunctionMode):
    calls = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_two_thousand_rows_take_a_handful_of_calls_not_a_loop_over_rows() -> None:
    steps = {name: torch.zeros(2048, 8) for name in ("reward", "value", "next_value")}
    boundary = torch.zeros(2048, 8, dtype=torch.bool)
    with CallCounter() as counter:
        generalized_advantage(**steps, boundary=boundary, discount=0.99, gae_lambda=0.95)
    assert counter.calls < 300


# The horizon


def test_rows_are_cut_after_every_horizon_counted_anew_behind_each_boundary() -> None:
    ends = torch.tensor([[0, 0, 0, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0, 0, 1]]).bool().T
    cut = cut_at_horizon(ends, 3)
    assert cut[:, 0].int().tolist() == [0, 0, 1, 1, 0, 0, 1, 0, 0]
    assert cut[:, 1].int().tolist() == [1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert cut_at_horizon(ends, 1).all()
    assert torch.equal(cut_at_horizon(ends, 0), ends)
    assert torch.equal(cut_at_horizon(ends, 9), ends)
    assert cut_at_horizon(ends[:0], 3).shape == (0, 2)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 12))
def test_counting_row_by_row_cuts_alike(ends: list[bool], horizon: int) -> None:
    expected, count = [], 0
    for is_end in ends:
        count += 1
        expected.append(is_end or count == horizon)
        count = 0 if expected[-1] else count
    cut = cut_at_horizon(torch.tensor(ends)[:, None], horizon)
    assert cut[:, 0].tolist() == expected


def test_behind_a_horizon_the_critics_value_stands_for_the_rewards() -> None:
    # Values 10, discount 1/2, lambda 1, horizon 2: with rewards 1, 2, 3, 4,
    # A[3] = 4 + 5 - 10 = -1    (the column ends)   A[2] = 3 + 5 - 10 + 1/2 * -1   = -2.5
    # A[1] = 2 + 5 - 10 = -3    (the horizon)       A[0] = 1 + 5 - 10 + 1/2 * -3   = -5.5
    ends = torch.tensor([[False], [False], [False], [True]])
    advantage = generalized_advantage(
        reward=column(1, 2, 3, 4),
        value=column(10, 10, 10, 10),
        next_value=column(10, 10, 10, 10),
        boundary=cut_at_horizon(ends, 2),
        discount=0.5,
        gae_lambda=1.0,
    )
    torch.testing.assert_close(advantage, column(-5.5, -3, -2.5, -1))
