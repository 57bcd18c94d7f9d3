"""The diagonal Gaussian against closed forms, torch's own and finite differences."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.policy.gaussian import DiagonalGaussian
from entrain.policy.noise import uniform_noise

numbers = st.floats(-3, 3)


def leaf(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_log_density_of_one_action_by_hand() -> None:
    # sigma^2 = (4, 1); ((3-1)^2 / 4 + ln 4 + ln 2 pi + (0-1)^2 / 1 + 0 + ln 2 pi) / -2
    gaussian = DiagonalGaussian(leaf(1, 1), leaf(math.log(4), 0))
    log_prob = gaussian.log_prob({"continuous": leaf(3, 0)})
    expected = -0.5 * (1 + math.log(4) + 1 + 2 * math.log(2 * math.pi))
    assert log_prob.item() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(mean=numbers, log_sigma_sq=numbers, action=numbers)
def test_gradients_of_the_log_density_are_the_closed_forms(
    mean: float, log_sigma_sq: float, action: float
) -> None:
    mu, spread = leaf(mean), leaf(log_sigma_sq)
    torch.autograd.backward(DiagonalGaussian(mu, spread).log_prob({"continuous": leaf(action)}))
    sigma_sq = math.exp(log_sigma_sq)
    assert mu.grad is not None
    assert spread.grad is not None
    # d ln p / d mu = (a - mu) / sigma^2
    assert mu.grad.item() == pytest.approx((action - mean) / sigma_sq, rel=1e-9, abs=1e-9)
    # d ln p / d log_sigma_sq = ((a - mu)^2 / sigma^2 - 1) / 2
    expected = ((action - mean) ** 2 / sigma_sq - 1) / 2
    assert spread.grad.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(deadline=None)
@given(log_sigma_sq=numbers)
def test_entropy_rises_by_half_a_nat_per_unit_of_log_sigma_sq_in_each_dimension(
    log_sigma_sq: float,
) -> None:
    spread = leaf(log_sigma_sq, 0, -1)
    torch.autograd.backward(
        DiagonalGaussian(torch.zeros(5, 3, dtype=torch.float64), spread).entropy().mean()
    )
    assert spread.grad is not None
    torch.testing.assert_close(spread.grad, torch.full((3,), 0.5, dtype=torch.float64))


def test_entropy_is_the_closed_form_on_every_row() -> None:
    # sigma = .5, 1, 2: plain Gaussian entropies .725791, 1.418939, 2.112086
    spread = 2 * torch.tensor([0.5, 1, 2]).log()
    entropy = DiagonalGaussian(torch.randn(4, 2, 3), spread).entropy()
    assert entropy.shape == (4, 2)
    expected = torch.full((4, 2), 0.725791 + 1.418939 + 2.112086)
    torch.testing.assert_close(entropy, expected, atol=1e-5, rtol=0)


def test_the_sampled_action_is_a_constant_in_the_log_density() -> None:
    mean, spread = leaf(0.3, -0.2), leaf(0.1, 0.4)
    gaussian = DiagonalGaussian(mean, spread)
    action = gaussian.sample(torch.tensor([0.9, 0.2], dtype=torch.float64))
    assert action["continuous"].requires_grad
    torch.autograd.backward(gaussian.log_prob(action))
    # A differentiated sample would move with the mean, and the gradient would be zero.
    expected = (action["continuous"] - mean).detach() / spread.detach().exp()
    torch.testing.assert_close(mean.grad, expected)


def test_log_density_and_its_gradients_agree_with_finite_differences() -> None:
    action = {"continuous": torch.randn(3, 2, dtype=torch.float64)}
    mean = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, s: DiagonalGaussian(m, s).log_prob(action), (mean, leaf(-0.5, 1.2))
    )


def test_log_density_and_entropy_are_those_of_torch() -> None:
    mean = torch.randn(7, 4)
    spread = torch.randn(4)
    action = torch.randn(7, 4)
    reference: Any = torch.distributions.Normal(mean, (0.5 * spread).exp())
    ours = DiagonalGaussian(mean, spread)
    torch.testing.assert_close(
        ours.log_prob({"continuous": action}), reference.log_prob(action).sum(-1)
    )
    torch.testing.assert_close(ours.entropy(), reference.entropy().sum(-1))


def test_a_row_is_judged_alone() -> None:
    mean = torch.randn(3, 2)
    action = torch.randn(3, 2)
    whole = DiagonalGaussian(mean, torch.zeros(2)).log_prob({"continuous": action})
    mean[1] = float("nan")
    spoiled = DiagonalGaussian(mean, torch.zeros(2)).log_prob({"continuous": action})
    torch.testing.assert_close(spoiled[[0, 2]], whole[[0, 2]], atol=0, rtol=0)


def test_samples_have_the_mean_and_the_covariance_asked_for() -> None:
    rows = 40_000
    counter = np.arange(rows)
    noise = torch.from_numpy(uniform_noise(5, np.zeros_like(counter), counter, 2))
    mean = torch.tensor([1.0, -2.0]).expand(rows, 2)
    spread = 2 * torch.tensor([0.5, 3.0]).log()
    sample = DiagonalGaussian(mean, spread).sample(noise)["continuous"]
    assert sample.dtype == torch.float32
    z = (sample - mean) / torch.tensor([0.5, 3.0])
    assert z.mean(0).abs().max() < 4 / math.sqrt(rows)
    covariance = torch.cov(z.T)
    assert (covariance - torch.eye(2)).abs().max() < 4 * math.sqrt(2 / rows)


def test_the_average_of_minus_log_density_over_samples_is_the_entropy() -> None:
    rows = 40_000
    counter = np.arange(rows)
    noise = torch.from_numpy(uniform_noise(6, np.zeros_like(counter), counter, 3))
    gaussian = DiagonalGaussian(torch.zeros(rows, 3), torch.tensor([-1.0, 0.0, 2.0]))
    estimate = -gaussian.log_prob(gaussian.sample(noise)).mean()
    # ln p varies as half a chi-square of 3 degrees: variance 3 / 2.
    assert abs(estimate - gaussian.entropy()[0]) < 4 * math.sqrt(1.5 / rows)


def test_even_noise_next_to_zero_and_one_gives_a_finite_action() -> None:
    extremes = torch.tensor([[2.0**-53, 1 - 2.0**-53]], dtype=torch.float64)
    action = DiagonalGaussian(torch.zeros(1, 2), torch.zeros(2)).sample(extremes)["continuous"]
    torch.testing.assert_close(action, torch.tensor([[-8.21, 8.21]]), atol=0.01, rtol=0)


def test_the_mode_is_the_mean() -> None:
    mean = torch.randn(2, 3)
    assert DiagonalGaussian(mean, torch.ones(3)).mode()["continuous"] is mean


def test_masking_changes_nothing() -> None:
    gaussian = DiagonalGaussian(torch.zeros(2, 3), torch.ones(3))
    assert gaussian.masked(torch.ones(2, 0, dtype=torch.bool)) is gaussian
