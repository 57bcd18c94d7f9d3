"""Exact expectations over choices, and one differentiable sample of what is continuous."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from entrain.algorithms.soft_actions import expected_values, log_num_allowed, soft_actions
from entrain.policy.distributions import (
    Branches,
    DiagonalGaussian,
    Hybrid,
    MultiCategorical,
    SquashedGaussian,
)

RAGGED = Branches((2, 3))
ALPHA = 0.3


def double(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def nothing(rows: int) -> Tensor:
    return torch.zeros(rows, 0, dtype=torch.float64)


def test_all_choices_are_judged_by_their_chances_by_hand() -> None:
    # Branch 0 chooses with 1/4 and 3/4, branch 1 with 1/2, 1/4, 1/4.
    logits = double(1, 3, 2, 1, 1).log().unsqueeze(0)
    actions = soft_actions(MultiCategorical(logits, RAGGED), nothing(1))
    values = torch.stack([double(8, 4, 20, 40, 0), double(0, 0, 1, 1, 1)]).unsqueeze(1)
    # 8/4 + 3 + 10 + 10 + 0 = 25, and 0 + 1 = 1.
    found = expected_values(values, actions.chances, RAGGED)
    assert found.flatten().tolist() == pytest.approx([25.0, 1.0])
    entropy = math.log(4) - 0.75 * math.log(3) + 0.5 * math.log(2) + 0.5 * math.log(4)
    assert actions.log_prob.item() == pytest.approx(-entropy)
    assert actions.continuous.shape == (1, 0)


def test_what_is_forbidden_never_matters_whatever_it_is_worth() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    allowed = torch.tensor([True, True, False, True, False])
    values = torch.randn(2, 4, 5, dtype=torch.float64)
    losses: list[float] = []
    gradients: list[Tensor] = []
    for forbidden in (0.0, 1e9, math.inf, math.nan):
        spoilt = torch.where(allowed, values, forbidden)
        actions = soft_actions(MultiCategorical(logits, RAGGED).masked(allowed), nothing(4))
        # Large weights, which must not make huge numbers infinite.
        worth = expected_values(spoilt, actions.chances, RAGGED)
        loss = (100.0 * actions.log_prob - worth).sum()
        losses.append(loss.item())
        gradients += torch.autograd.grad(loss, logits)
    assert losses == [losses[0]] * 4
    for gradient in gradients:
        assert torch.equal(gradient, gradients[0])
        assert not gradient[:, ~allowed].any()


def test_a_hybrid_acts_with_its_dimensions_and_judges_all_its_choices() -> None:
    gaussian = DiagonalGaussian(torch.randn(4, 2).double(), torch.randn(4, 2).double())
    choices = MultiCategorical(torch.randn(4, 5).double(), RAGGED)
    noise = torch.rand(4, 2, dtype=torch.float64)
    both = soft_actions(Hybrid(gaussian, choices), noise)
    one, other = soft_actions(gaussian, noise), soft_actions(choices, nothing(4))
    assert torch.equal(both.continuous, one.continuous)
    assert torch.equal(both.chances, other.chances)
    torch.testing.assert_close(both.log_prob, one.log_prob + other.log_prob)


def quality(action: Tensor, choice: int) -> Tensor:
    """Of a hybrid action, with a kink as critics of relu have."""
    slope, best = (0.5, -1.0, 2.0)[choice], (0.4, -0.7, 0.0)[choice]
    return slope * action + torch.sin(3.0 * action + best) - (action - best).abs()


def by_quadrature(mean: float, log_sigma_sq: float, logits: tuple[float, ...]) -> float:
    """E[alpha ln pi - Q], summed over choices and over a fine grid of u, without any sample."""
    sigma = math.exp(0.5 * log_sigma_sq)
    z = np.linspace(-9.0, 9.0, 200_001)
    density = np.exp(-0.5 * z * z)
    density /= density.sum()
    u = mean + sigma * z
    slope = np.log(1.0 - np.tanh(u) ** 2)
    ln_continuous = -0.5 * (z * z + log_sigma_sq + math.log(2.0 * math.pi)) - slope
    chances = np.exp(logits) / np.exp(logits).sum()
    total = 0.0
    for choice, chance in enumerate(chances):
        worth = quality(torch.from_numpy(np.tanh(u)), choice).numpy()
        total += chance * float(density @ (ALPHA * (ln_continuous + math.log(chance)) - worth))
    return total


def test_the_loss_of_a_hybrid_is_that_of_enumeration_and_quadrature_and_so_is_its_gradient() -> (
    None
):
    # alpha is fixed at 0.3. Noise at the middles of 200,000 equal parts, not at random.
    at = (0.3, -1.2, 0.5, -0.4, 0.1)
    leaves = [double(number).requires_grad_() for number in at]
    rows = 200_000
    noise = ((torch.arange(rows, dtype=torch.float64) + 0.5) / rows).unsqueeze(1)
    mean, log_sigma_sq, *logits = leaves
    distribution = Hybrid(
        SquashedGaussian(mean.expand(rows, 1), log_sigma_sq.expand(rows, 1), double(1.0)),
        MultiCategorical(torch.cat(logits).expand(rows, 3), Branches((3,))),
    )
    actions = soft_actions(distribution, noise)
    values = torch.cat([quality(torch.tanh(actions.continuous), c) for c in range(3)], dim=1)
    worth = expected_values(values.unsqueeze(0), actions.chances, Branches((3,)))[0]
    loss = (ALPHA * actions.log_prob - worth).mean()
    assert loss.item() == pytest.approx(by_quadrature(at[0], at[1], at[2:]), abs=2e-5)
    for index, gradient in enumerate(torch.autograd.grad(loss, leaves)):
        sides = []
        for shift in (1e-4, -1e-4):
            moved = [number + shift * (index == k) for k, number in enumerate(at)]
            sides.append(by_quadrature(moved[0], moved[1], tuple(moved[2:])))
        assert gradient.item() == pytest.approx((sides[0] - sides[1]) / 2e-4, abs=3e-4)


def test_the_greatest_entropy_is_that_of_the_allowed_choices() -> None:
    allowed = torch.tensor([[True, True, True, True, True], [True, False, True, False, True]])
    found = log_num_allowed(allowed, RAGGED)
    assert found.tolist() == pytest.approx([math.log(2) + math.log(3), math.log(2)])
    assert log_num_allowed(torch.zeros(3, 0) > 0, None).tolist() == [0.0] * 3


def test_a_distribution_without_differentiable_samples_is_refused() -> None:
    with pytest.raises(TypeError, match="a object has no differentiable samples"):
        soft_actions(object(), nothing(1))  # type: ignore[arg-type]
