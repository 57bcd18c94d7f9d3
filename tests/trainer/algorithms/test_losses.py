"""The terms of the loss: by hand, against slow definitions, and unchanged by padding."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.losses import (
    clipped_surrogate,
    clipped_value_error,
    explained_variance,
    is_clipped,
    kl_estimate,
    masked_mean,
    normalized,
    value_error,
)
from ranks_in_threads import together

NAN = math.nan


def row(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def gradient(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


numbers = st.floats(-1e3, 1e3)
masked_rows = st.lists(st.tuples(numbers, st.booleans()), min_size=1, max_size=20)


def test_padding_never_changes_a_mean() -> None:
    assert masked_mean(row(1, 3, NAN), torch.tensor([True, True, False])) == 2.0


@given(masked_rows)
def test_masked_mean_is_the_mean_of_what_is_chosen(rows: list[tuple[float, bool]]) -> None:
    chosen = [number for number, is_chosen in rows if is_chosen]
    mean = masked_mean(row(*(x for x, _ in rows)), torch.tensor([m for _, m in rows]))
    assert mean.item() == pytest.approx(statistics.fmean(chosen) if chosen else 0.0, abs=1e-9)


def test_the_gradient_of_a_masked_mean_is_zero_in_padding_even_where_that_is_nan() -> None:
    x = row(1, 3, NAN).requires_grad_()
    masked_mean(x, torch.tensor([True, True, False])).backward()  # type: ignore[no-untyped-call]
    assert gradient(x).tolist() == [0.5, 0.5, 0.0]


def test_normalized_advantages_by_hand() -> None:
    # mean 3, squared deviations 4 + 0 + 4, sample standard deviation sqrt(8 / 2) = 2.
    advantage, scale = normalized(row(1, 3, 5), torch.tensor([True, True, True]))
    torch.testing.assert_close(advantage, row(-1, 0, 1))
    assert scale == pytest.approx(2.0)


@given(st.lists(numbers, min_size=2, max_size=30, unique=True), st.integers(0, 5))
def test_normalized_has_mean_0_and_spread_1_over_the_steps_alone(
    steps: list[float], padding: int
) -> None:
    mask = torch.tensor([True] * len(steps) + [False] * padding)
    advantage = normalized(row(*steps, *[NAN] * padding), mask)[0][mask]
    if statistics.stdev(steps) > 1e-3:
        assert advantage.mean().item() == pytest.approx(0.0, abs=1e-4)
        assert advantage.std().item() == pytest.approx(1.0, abs=1e-4)


def test_a_single_step_is_not_normalized_away() -> None:
    advantage, scale = normalized(row(-3, NAN), torch.tensor([True, False]))
    assert advantage[0] == -3.0
    assert scale == 1.0


@given(st.lists(numbers, min_size=1, max_size=20))
def test_no_mask_is_a_mask_that_is_true_everywhere(numbers: list[float]) -> None:
    x, everywhere = row(*numbers), torch.ones(len(numbers), dtype=torch.bool)
    torch.testing.assert_close(masked_mean(x, None), masked_mean(x, everywhere))
    torch.testing.assert_close(normalized(x, None), normalized(x, everywhere))


def test_equal_advantages_become_zero_not_nan() -> None:
    advantage, _ = normalized(row(2, 2, 2), torch.tensor([True] * 3))
    assert advantage.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),  # at the old policy: the plain policy gradient
        (1.1, 2.0, -2.2, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # far enough: -1.2 * 2
        (0.5, 2.0, -1.0, -2.0),  # moved the wrong way: free to come back
        (0.9, -2.0, 1.8, 2.0),
        (0.5, -2.0, 1.6, 0.0),  # far enough: 0.8 * 2
        (1.5, -2.0, 3.0, 2.0),  # moved the wrong way
    ],
)
def test_the_clipped_surrogate_by_hand(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    x = row(ratio).requires_grad_()
    surrogate = clipped_surrogate(x, row(advantage), clip_range=0.2)
    surrogate.sum().backward()  # type: ignore[no-untyped-call]
    assert surrogate.item() == pytest.approx(loss)
    assert gradient(x).item() == pytest.approx(slope)


positive = st.floats(1e-3, 1e3)


@given(positive, numbers, st.floats(0.01, 0.9))
def test_the_clipped_surrogate_never_promises_more_than_the_plain_one(
    ratio: float, advantage: float, clip_range: float
) -> None:
    loss = clipped_surrogate(row(ratio), row(advantage), clip_range=clip_range).item()
    assert loss >= -ratio * advantage - 1e-9
    held = min(max(ratio, 1 - clip_range), 1 + clip_range)
    assert loss == pytest.approx(-min(ratio * advantage, held * advantage), abs=1e-9)


def test_value_error_by_hand() -> None:
    assert value_error(row(1, 5), row(4, 5)).tolist() == [9.0, 0.0]


@pytest.mark.parametrize(
    ("value", "error", "slope"),
    [
        (0.1, 0.81, -1.8),  # within the range of the old value 0: the plain error to 1
        (0.5, 0.64, 0.0),  # beyond 0.2, and better than allowed: (0.2 - 1)^2, no pull
        (-0.5, 2.25, -3.0),  # beyond -0.2, and worse: the plain error, and a pull back
    ],
)
def test_clipped_value_error_by_hand(value: float, error: float, slope: float) -> None:
    x = row(value).requires_grad_()
    loss = clipped_value_error(x, row(0.0), row(1.0), clip_range=0.2)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(error)
    assert gradient(x).item() == pytest.approx(slope)


@given(numbers, numbers, numbers, st.floats(0.01, 10.0))
def test_clipping_a_value_never_makes_its_error_smaller(
    value: float, old_value: float, return_: float, clip_range: float
) -> None:
    error = clipped_value_error(row(value), row(old_value), row(return_), clip_range=clip_range)
    held = min(max(value, old_value - clip_range), old_value + clip_range)
    expected = max((value - return_) ** 2, (held - return_) ** 2)
    assert error.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_kl_estimate_by_hand_and_never_negative() -> None:
    # ratio 2: (2 - 1) - ln 2; ratio 1/2: (1/2 - 1) + ln 2; ratio 1: 0
    estimate = kl_estimate(row(math.log(2), -math.log(2), 0.0))
    expected = row(1 - math.log(2), math.log(2) - 0.5, 0.0)
    torch.testing.assert_close(estimate, expected)
    assert bool((kl_estimate(torch.linspace(-5, 5, 101)) >= 0).all())


def test_the_mean_kl_estimate_is_the_kl_divergence() -> None:
    # KL(N(0, 1) || N(m, s^2)) = ln s + (1 + m^2) / (2 s^2) - 1/2, by the expectation's integral.
    mean, sigma = 0.3, 1.2
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    old = torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    log_ratio = -0.5 * ((x - mean) / sigma) ** 2 - math.log(sigma) + 0.5 * x**2
    estimate = torch.trapezoid(old * kl_estimate(log_ratio), x)
    exact = math.log(sigma) + (1 + mean**2) / (2 * sigma**2) - 0.5
    assert estimate.item() == pytest.approx(exact, rel=1e-6)


def test_a_ratio_is_clipped_beyond_the_range_on_either_side() -> None:
    clipped = is_clipped(row(0.7, 0.85, 1.0, 1.15, 1.3), clip_range=0.2)
    assert clipped.tolist() == [True, False, False, False, True]


def test_explained_variance_by_hand() -> None:
    return_ = row(1, 2, 3)
    # Residuals are 0; those of the returns; and -2, 0, 2, with four times the variance of returns.
    value = torch.stack([return_, row(7, 7, 7), row(3, 2, 1)], dim=1)
    found = explained_variance(value, return_.unsqueeze(1).expand(3, 3))
    assert found.tolist() == pytest.approx([1.0, 0.0, -3.0])


def test_returns_that_never_vary_leave_nothing_to_explain() -> None:
    assert explained_variance(row(0, 5).unsqueeze(1), row(3, 3).unsqueeze(1)) == 0.0
    # In float32 their mean would not be exactly what they are.
    same = torch.full((1000, 1), 0.1)
    assert explained_variance(torch.rand(1000, 1), same) == 0.0
    for rows in (1, 0):
        assert explained_variance(torch.zeros(rows, 1), torch.full((rows, 1), 3.0)) == 0.0


def test_the_explained_variance_of_ranks_is_that_of_all_steps() -> None:
    value, return_ = torch.randn(2, 9, 2, generator=torch.Generator().manual_seed(3))
    parts = [slice(0, 2), slice(2, 9)]
    alone = explained_variance(value, return_)
    for found in together(
        lambda rank, ranks: explained_variance(
            value[parts[rank]], return_[parts[rank]], ranks=ranks
        )
    ):
        torch.testing.assert_close(found, alone)
