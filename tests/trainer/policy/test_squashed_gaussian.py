"""The tanh-squashed Gaussian against exact targets, change of variables and sampling."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.policy.gaussian import (
    DiagonalGaussian,
    SquashedGaussian,
    log_tanh_slope,
    normal_quadrature,
)
from entrain.policy.noise import uniform_noise


def squashed(mean: Tensor, sigma: float) -> SquashedGaussian:
    dimensions = mean.shape[-1]
    spread = torch.full((dimensions,), 2 * math.log(sigma), dtype=mean.dtype)
    return SquashedGaussian(mean, spread, torch.ones(dimensions, dtype=mean.dtype))


@pytest.mark.parametrize(
    ("sigma", "entropy", "tolerance"),
    [(0.5, 0.499967, 1e-6), (1.0, 0.669804, 1e-6), (2.0, -0.001233, 1e-6)],
)
def test_entropy_is_the_exact_one(sigma: float, entropy: float, tolerance: float) -> None:
    # Targets by fine quadrature in float64, mean 0.
    for dtype in (torch.float32, torch.float64):
        ours = squashed(torch.zeros(1, dtype=dtype), sigma).entropy()
        assert ours.item() == pytest.approx(entropy, abs=tolerance)


def exact(mean: float, sigma: float) -> tuple[float, float, float]:
    """Entropy and its derivatives by mean and log_sigma_sq, from 40,001 nodes.

    dH/dmean         = E[-2 tanh(u)]
    dH/dlog_sigma_sq = 1/2 + 1/2 E[-2 tanh(u) (u - mean)]
    """
    deviation = sigma * np.linspace(-10, 10, 40_001)
    weight = np.exp(-0.5 * (deviation / sigma) ** 2)
    weight /= weight.sum()
    u = mean + deviation
    correction = 2 * (math.log(2) - u - np.logaddexp(0, -2 * u))
    slope = -2 * np.tanh(u)
    gaussian = 0.5 * math.log(2 * math.pi * math.e) + math.log(sigma)
    return (
        gaussian + float(weight @ correction),
        float(weight @ slope),
        0.5 + 0.5 * float(weight @ (slope * deviation)),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [-10, -3, -1, 0, 0.7, 1.4, 1.8, 2])
def test_entropy_and_its_gradients_are_exact_for_every_mean_up_to_the_default_ceiling(
    power: float, dtype: torch.dtype
) -> None:
    means = [0, 0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.3, 2, 3, -3.7, 5, 7, -10]
    sigma = math.exp(power)
    mean = torch.tensor(means, dtype=dtype, requires_grad=True)
    spread = torch.full_like(mean, 2 * power).requires_grad_()
    expected = np.array([exact(each, sigma) for each in means])
    entropy = squashed(mean.detach().unsqueeze(-1), sigma).entropy()
    np.testing.assert_allclose(entropy, expected[:, 0], rtol=0, atol=1e-4)
    torch.autograd.backward(SquashedGaussian(mean, spread, torch.ones_like(mean)).entropy())
    assert mean.grad is not None
    assert spread.grad is not None
    np.testing.assert_allclose(mean.grad, expected[:, 1], rtol=0, atol=1e-3)
    np.testing.assert_allclose(spread.grad, expected[:, 2], rtol=0, atol=1e-3)


@settings(deadline=None)
@given(mean=st.floats(-2, 2), sigma=st.floats(0.1, 3))
def test_entropy_never_exceeds_that_of_the_uniform_on_the_same_interval(
    mean: float, sigma: float
) -> None:
    entropy = squashed(torch.tensor([mean], dtype=torch.float64), sigma).entropy().item()
    assert entropy < math.log(2) + 2e-3


def test_entropy_adds_over_dimensions_and_counts_only_squashed_ones() -> None:
    mean, spread = torch.zeros(4, 2), torch.zeros(2)
    half = SquashedGaussian(mean, spread, torch.tensor([1.0, 0.0]))
    expected = 0.669804 + 0.5 * math.log(2 * math.pi * math.e)
    torch.testing.assert_close(half.entropy(), torch.full((4,), expected), atol=1e-5, rtol=0)


def test_entropy_falls_where_the_mean_nears_a_bound_and_its_gradient_says_so() -> None:
    mean = torch.tensor([[1.5]], dtype=torch.float64, requires_grad=True)
    spread = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    ones = torch.ones(1, dtype=torch.float64)
    entropy = SquashedGaussian(mean, spread, ones).entropy()
    assert entropy.item() < 0.669804
    torch.autograd.backward(entropy.sum())
    assert mean.grad is not None
    assert mean.grad.item() < 0
    assert torch.autograd.gradcheck(
        lambda m, s: SquashedGaussian(m, s, ones).entropy(), (mean, spread)
    )


def test_density_of_the_squashed_action_integrates_to_one() -> None:
    # p(y) dy over y = tanh(u), on a fine grid of y.
    y = torch.linspace(-1, 1, 200_001, dtype=torch.float64)[1:-1, None]
    mean = torch.full_like(y, 0.4)
    density = squashed(mean, 0.7).log_prob({"continuous": torch.atanh(y)}).exp()
    assert torch.trapezoid(density, y[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_log_density_is_that_of_torchs_tanh_transform() -> None:
    mean = torch.randn(6, 3, dtype=torch.float64)
    u = torch.randn(6, 3, dtype=torch.float64)
    reference: Any = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(mean, 0.8),
        torch.distributions.transforms.TanhTransform(cache_size=1),
    )
    expected = reference.log_prob(torch.tanh(u)).sum(-1)
    ours = squashed(mean, 0.8).log_prob({"continuous": u})
    torch.testing.assert_close(ours, expected, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("u", [-60.0, -12.0, 0.0, 9.0, 60.0])
def test_log_density_stays_exact_where_tanh_rounds_to_one(u: float) -> None:
    # ln(1 - tanh(u)^2) = 2 ln 2 - 2 |u| - 2 ln(1 + exp(-2 |u|))
    expected = 2 * math.log(2) - 2 * abs(u) - 2 * math.log1p(math.exp(-2 * abs(u)))
    assert log_tanh_slope(torch.tensor(u)).item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    mean = torch.tensor([[u]], requires_grad=True)
    log_prob = squashed(mean, 1.0).log_prob({"continuous": torch.tensor([[u]])})
    torch.autograd.backward(log_prob.sum())
    assert log_prob.isfinite().all()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


def test_gradients_are_those_of_the_gaussian_underneath() -> None:
    # The correction depends on the action alone, and the action is a constant.
    action = {"continuous": torch.randn(5, 2, dtype=torch.float64)}
    gradients = []
    for kind in (0.0, 1.0):
        mean = torch.full((5, 2), 0.3, dtype=torch.float64, requires_grad=True)
        spread = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        flags = torch.full((2,), kind, dtype=torch.float64)
        torch.autograd.backward(SquashedGaussian(mean, spread, flags).log_prob(action).sum())
        gradients.append((mean.grad, spread.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_unsquashed_dimensions_are_plain_gaussians() -> None:
    mean, spread = torch.randn(4, 2), torch.randn(2)
    action = {"continuous": torch.randn(4, 2)}
    plain = DiagonalGaussian(mean, spread)
    ours = SquashedGaussian(mean, spread, torch.zeros(2))
    torch.testing.assert_close(ours.log_prob(action), plain.log_prob(action))
    torch.testing.assert_close(ours.entropy(), plain.entropy())


def test_the_average_of_minus_log_density_over_samples_is_the_entropy() -> None:
    rows = 40_000
    counter = np.arange(rows)
    noise = torch.from_numpy(uniform_noise(8, np.zeros_like(counter), counter, 1))
    distribution = squashed(torch.full((rows, 1), 0.5), 1.0)
    surprise = -distribution.log_prob(distribution.sample(noise))
    error = 4 * surprise.std().item() / math.sqrt(rows)
    assert abs(surprise.mean().item() - distribution.entropy()[0].item()) < error


def test_quadrature_has_the_moments_of_a_standard_normal() -> None:
    # The sixth lacks 3e-4: what lies beyond the reach.
    nodes, weights = normal_quadrature(24)
    moments = [(weights * nodes**power).sum().item() for power in (0, 1, 2, 4, 6)]
    assert moments == pytest.approx([1, 0, 1, 3, 15], abs=1e-3)
