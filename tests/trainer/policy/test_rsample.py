"""Differentiable samples: values are those of `sample` and `log_prob`, gradients are exact."""

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.distributions import (
    Branches,
    DiagonalGaussian,
    Hybrid,
    MultiCategorical,
    ReparameterizedDistribution,
    SquashedGaussian,
)
from entrain_envs.spec import ActionSpec

ROWS, DIMENSIONS = 5, 3
BRANCHES = Branches((2, 4))
SQUASHED = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
"""The middle dimension is not bounded on both sides."""

BOUNDS = ActionSpec(low=(-2.0, 0.0, 1.0), high=(2.0, math.inf, 4.0))

Make = Callable[[Tensor, Tensor, Tensor], ReparameterizedDistribution]


def gaussian(mean: Tensor, log_sigma_sq: Tensor, logits: Tensor) -> ReparameterizedDistribution:
    return DiagonalGaussian(mean, log_sigma_sq)


def squashed(mean: Tensor, log_sigma_sq: Tensor, logits: Tensor) -> ReparameterizedDistribution:
    return SquashedGaussian(mean, log_sigma_sq, SQUASHED.to(mean.dtype))


def hybrid(mean: Tensor, log_sigma_sq: Tensor, logits: Tensor) -> ReparameterizedDistribution:
    return Hybrid(DiagonalGaussian(mean, log_sigma_sq), MultiCategorical(logits, BRANCHES))


def squashed_hybrid(
    mean: Tensor, log_sigma_sq: Tensor, logits: Tensor
) -> ReparameterizedDistribution:
    return Hybrid(
        SquashedGaussian(mean, log_sigma_sq, SQUASHED.to(mean.dtype)),
        MultiCategorical(logits, BRANCHES),
    )


every_spread = pytest.mark.parametrize("per_row", [False, True], ids=["parameter", "network"])
every_distribution = pytest.mark.parametrize("make", [gaussian, squashed, hybrid, squashed_hybrid])


def parameters(*, per_row: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, log_sigma_sq and logits, in float64 and with gradients."""
    spread = (ROWS, DIMENSIONS) if per_row else (DIMENSIONS,)
    shapes = ((ROWS, DIMENSIONS), spread, (ROWS, 6))
    mean, log_sigma_sq, logits = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    return mean, log_sigma_sq, logits


def noise_for(make: Make) -> Tensor:
    branches = len(BRANCHES) if make in {hybrid, squashed_hybrid} else 0
    return torch.rand(ROWS, DIMENSIONS + branches, dtype=torch.float64)


def gradients(of: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(of.sum(), inputs, allow_unused=True, retain_graph=True)


def assert_gradients(found: tuple[Tensor | None, ...], *expected: tuple[float, ...]) -> None:
    for one, values in zip(found, expected, strict=True):
        assert one is not None
        assert one.tolist() == pytest.approx(values, abs=1e-12)


@every_distribution
@every_spread
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_to_the_bit_those_of_sample_and_log_prob(
    make: Make, dtype: torch.dtype, per_row: bool
) -> None:
    distribution = make(*(tensor.detach().to(dtype) for tensor in parameters(per_row=per_row)))
    noise = noise_for(make)
    action, log_prob = distribution.rsample(noise)
    expected = distribution.sample(noise)
    assert action.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(action[name], values)
    assert torch.equal(log_prob, distribution.log_prob(expected))


@every_distribution
@every_spread
def test_gradients_of_action_and_log_probability_agree_with_finite_differences(
    make: Make, per_row: bool
) -> None:
    noise = noise_for(make)

    def drawn(mean: Tensor, log_sigma_sq: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = make(mean, log_sigma_sq, logits).rsample(noise)
        return action["continuous"], log_prob

    assert torch.autograd.gradcheck(drawn, parameters(per_row=per_row))


@every_distribution
def test_rows_with_log_variances_of_their_own_are_what_each_is_alone(make: Make) -> None:
    mean, log_sigma_sq, logits = (tensor.detach() for tensor in parameters(per_row=True))
    together, noise = make(mean, log_sigma_sq, logits), noise_for(make)
    action, log_prob = together.rsample(noise)
    entropy, parts = together.entropy(), together.log_prob_per_dimension(action)
    for row in range(ROWS):
        alone = make(mean[row : row + 1], log_sigma_sq[row], logits[row : row + 1])
        own, of_own = alone.rsample(noise[row : row + 1])
        for name, values in own.items():
            torch.testing.assert_close(values[0], action[name][row])
        torch.testing.assert_close(of_own[0], log_prob[row])
        torch.testing.assert_close(alone.entropy()[0], entropy[row])
        torch.testing.assert_close(alone.log_prob_per_dimension(own)[0], parts[row])


@pytest.mark.parametrize(
    ("make", "bounds"), [(gaussian, ActionBounds), (squashed, SquashedActionBounds)]
)
def test_gradients_of_the_environment_action_agree_with_finite_differences(
    make: Make, bounds: type[ActionBounds]
) -> None:
    noise = noise_for(make)
    bounded = bounds(BOUNDS).double()

    def environment_action(mean: Tensor, log_sigma_sq: Tensor, logits: Tensor) -> Tensor:
        action, _ = make(mean, log_sigma_sq, logits).rsample(noise)
        result: Mapping[str, Tensor] = bounded(action)
        return result["continuous"]

    inputs = parameters()
    assert torch.autograd.gradcheck(environment_action, inputs)
    mean_gradient, *_ = gradients(environment_action(*inputs), inputs)
    assert mean_gradient is not None
    assert mean_gradient.any()


def test_gradients_of_one_gaussian_action_by_hand() -> None:
    # noise 0.5 -> z = 0, and Phi(1) -> z = 1; sigma = 2, 2: the action is mean + (0, 2).
    mean = torch.tensor([3.0, -1.0], dtype=torch.float64, requires_grad=True)
    log_sigma_sq = torch.full((2,), math.log(4.0), dtype=torch.float64, requires_grad=True)
    phi = 0.5 * (1.0 + math.erf(1.0 / math.sqrt(2.0)))
    noise = torch.tensor([0.5, phi], dtype=torch.float64)
    action, log_prob = DiagonalGaussian(mean, log_sigma_sq).rsample(noise)
    inputs = (mean, log_sigma_sq)
    # d a / d mean = 1; d a / d log_sigma_sq = sigma z / 2 = (0, 1)
    assert_gradients(gradients(action["continuous"], inputs), (1.0, 1.0), (0.0, 1.0))
    # ln p = -1/2 sum (z^2 + log_sigma_sq + ln 2 pi), and z does not depend on the parameters.
    assert_gradients(gradients(log_prob, inputs), (0.0, 0.0), (-0.5, -0.5))


@pytest.mark.parametrize("make", [hybrid, squashed_hybrid])
def test_choices_of_a_hybrid_are_constants(make: Make) -> None:
    inputs = parameters()
    distribution = make(*inputs)
    action, log_prob = distribution.rsample(noise_for(make))
    assert not action["discrete"].is_floating_point()
    assert gradients(action["continuous"], inputs)[2] is None
    # The log-probability of the choices has its usual gradient: no more, no less.
    _, _, found = gradients(log_prob, inputs)
    _, _, expected = gradients(make(*inputs).log_prob(action), inputs)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("make", [hybrid, squashed_hybrid])
def test_a_masked_hybrid_draws_allowed_choices_and_the_same_dimensions(make: Make) -> None:
    mask = torch.tensor([False, True, True, False, False, False]).expand(ROWS, 6)
    distribution, noise = make(*parameters()), noise_for(make)
    action, log_prob = distribution.masked(mask).rsample(noise)
    assert action["discrete"].tolist() == [[1, 0]] * ROWS
    assert torch.equal(action["continuous"], distribution.rsample(noise)[0]["continuous"])
    assert log_prob.isfinite().all()


def test_a_categorical_has_no_differentiable_sample() -> None:
    assert not hasattr(MultiCategorical(torch.zeros(1, 6), BRANCHES), "rsample")


@every_distribution
def test_the_gradient_of_the_expected_log_probability_is_that_of_minus_the_entropy(
    make: Make,
) -> None:
    # E[ln p(a)] = -H, so the two agree on average over noise: 60,000 draws, five standard errors.
    inputs = tuple(tensor[:1] if tensor.dim() == 2 else tensor for tensor in parameters())
    rows = 60_000
    mean, log_sigma_sq, logits = inputs
    wide = make(mean.expand(rows, -1), log_sigma_sq, logits.expand(rows, -1))
    columns = noise_for(make).shape[1]
    _, log_prob = wide.rsample(torch.rand(rows, columns, dtype=torch.float64))
    found = gradients(log_prob / rows, inputs[:2])
    expected = gradients(-make(*inputs).entropy(), inputs[:2])
    for one, other in zip(found, expected, strict=True):
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=5 * 2.0 / math.sqrt(rows))
