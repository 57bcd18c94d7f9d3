"""KL divergences equal torch's, and their gradients are finite where choices are masked."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.policy.distributions import (
    ActionDistribution,
    Branches,
    DiagonalGaussian,
    Hybrid,
    MultiCategorical,
    SquashedGaussian,
)
from entrain.policy.divergence import kl_divergence

RAGGED = Branches((2, 4))


def gaussian() -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(5, 3), torch.randn(3))


def categorical() -> MultiCategorical:
    return MultiCategorical(torch.randn(5, 6), RAGGED)


def test_two_normal_distributions_by_hand() -> None:
    # N(1, 4) from N(0, 1): 1/2 * ((4 + 1) / 1 - 1 - ln 4)
    p = DiagonalGaussian(torch.ones(1, 1), torch.tensor([math.log(4.0)]))
    q = DiagonalGaussian(torch.zeros(1, 1), torch.zeros(1))
    assert kl_divergence(p, q).item() == pytest.approx(2.0 - math.log(2.0))


def test_two_choices_by_hand() -> None:
    # 3/4 ln(3/4 / 1/2) + 1/4 ln(1/4 / 1/2) = 3/4 ln 3 - ln 2
    p = MultiCategorical(torch.tensor([[3.0, 1.0]]).log(), Branches((2,)))
    q = MultiCategorical(torch.zeros(1, 2), Branches((2,)))
    assert kl_divergence(p, q).item() == pytest.approx(0.75 * math.log(3.0) - math.log(2.0))


def test_the_divergence_of_normal_distributions_is_torchs_summed_over_dimensions() -> None:
    p, q = gaussian(), gaussian()
    expected = torch.distributions.kl_divergence(*(_normal(each) for each in (p, q))).sum(-1)
    torch.testing.assert_close(kl_divergence(p, q), expected)


def _normal(distribution: DiagonalGaussian) -> Any:
    sigma = distribution.sigma_sq.sqrt().expand_as(distribution.mean)
    return torch.distributions.Normal(distribution.mean, sigma)


def test_the_divergence_of_choices_is_torchs_summed_over_branches() -> None:
    p, q = categorical(), categorical()
    expected = torch.zeros(5)
    for branch in (slice(2), slice(2, 6)):
        both: list[Any] = [
            torch.distributions.Categorical(logits=each.parameters()["logits"][:, branch])
            for each in (p, q)
        ]
        expected = expected + torch.distributions.kl_divergence(*both)
    torch.testing.assert_close(kl_divergence(p, q), expected)


def test_divergences_of_dimensions_and_branches_add() -> None:
    p, q = Hybrid(gaussian(), categorical()), Hybrid(gaussian(), categorical())
    expected = kl_divergence(p.continuous, q.continuous) + kl_divergence(p.discrete, q.discrete)
    torch.testing.assert_close(kl_divergence(p, q), expected)


def test_squashing_both_changes_nothing() -> None:
    p, q = gaussian(), gaussian()
    squashed = [SquashedGaussian(each.mean, each.log_sigma_sq, torch.ones(3)) for each in (p, q)]
    torch.testing.assert_close(kl_divergence(*squashed), kl_divergence(p, q), rtol=0, atol=0)


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_nothing_diverges_from_itself_and_everything_from_others(make: Any) -> None:
    p, q = make(), make()
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(5))
    assert (kl_divergence(p, q) > 0.0).all()


def test_forbidden_choices_add_nothing_and_have_no_gradient() -> None:
    # Of the branches of 2 and 4, choices 0, and 0 and 2, are left: two alike against e to 1.
    mask = torch.tensor([True, False, True, False, True, False])
    logits = torch.zeros(1, 6, requires_grad=True)
    prior = torch.tensor([[0.0, 9.0, 1.0, -9.0, 0.0, 9.0]])
    divergence = kl_divergence(
        MultiCategorical(logits, RAGGED).masked(mask), MultiCategorical(prior, RAGGED).masked(mask)
    )
    # ln 1/2 - 1/2 (1 + 0) + ln(e + 1)
    expected = math.log(0.5) - 0.5 + math.log(math.e + 1.0)
    assert divergence.item() == pytest.approx(expected, abs=1e-6)
    (gradient,) = torch.autograd.grad(divergence.sum(), logits)
    assert gradient.isfinite().all()
    assert not gradient[0, ~mask].any()
    assert gradient[0, 2] < 0.0 < gradient[0, 4]


def test_the_gradient_is_that_of_finite_differences() -> None:
    q = DiagonalGaussian(torch.randn(2, 3).double(), torch.randn(3).double())

    def of_gaussian(mean: Tensor, log_sigma_sq: Tensor) -> Tensor:
        return kl_divergence(DiagonalGaussian(mean, log_sigma_sq), q)

    leaves = [torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3), (3,))]
    assert torch.autograd.gradcheck(of_gaussian, [leaf.requires_grad_() for leaf in leaves])


def test_distributions_of_different_kinds_are_refused() -> None:
    squashed = SquashedGaussian(torch.zeros(5, 3), torch.zeros(3), torch.ones(3))
    pairs: list[tuple[ActionDistribution, ActionDistribution]] = [
        (gaussian(), categorical()),
        (gaussian(), squashed),
        (squashed, gaussian()),
    ]
    for p, q in pairs:
        with pytest.raises(TypeError, match=f"a {type(p).__name__} has no KL divergence from a"):
            kl_divergence(p, q)
