"""Log-variances start at the option's value, stay between their bounds, and can return."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.policy.spread import NetworkSpread, ParameterSpread


def bounded(initial: float, *, minimum: float = -20.0, maximum: float = 4.0) -> ParameterSpread:
    return ParameterSpread(3, initial=initial, minimum=minimum, maximum=maximum)


@pytest.mark.parametrize("initial", [-19.0, -10.0, -1.386294, 0.0, 2.0, 3.5, 3.99])
def test_the_initial_value_is_exactly_the_one_asked_for(initial: float) -> None:
    values = bounded(initial)()
    assert values.shape == (3,)
    assert values.tolist() == pytest.approx([initial] * 3, rel=2e-7, abs=3e-7)


@settings(deadline=None)
@given(
    minimum=st.floats(-20, 2),
    width=st.floats(0.01, 20),
    fraction=st.floats(0.01, 0.99),
)
def test_the_initial_value_is_exact_between_any_bounds(
    minimum: float, width: float, fraction: float
) -> None:
    initial, maximum = minimum + fraction * width, minimum + width
    spread = bounded(initial, minimum=minimum, maximum=maximum)
    assert spread()[0].item() == pytest.approx(initial, rel=1e-6, abs=1e-5)


@settings(deadline=None)
@given(parameter=st.floats(-1000, 1000))
def test_no_parameter_leads_beyond_the_bounds(parameter: float) -> None:
    spread = bounded(0.0)
    with torch.no_grad():
        spread.parameter.fill_(parameter)
    assert -20 - 1e-4 <= spread()[0].item() <= 4 + 1e-4


def test_the_slope_is_one_between_the_bounds() -> None:
    for initial in (-15.0, -8.0, -3.0):
        spread = bounded(initial)
        torch.autograd.backward(spread().sum())
        assert spread.parameter.grad is not None
        assert spread.parameter.grad.tolist() == pytest.approx([1.0] * 3, abs=0.01)
        assert spread.parameter.tolist() == pytest.approx([initial] * 3, abs=0.01)


def test_a_spread_that_was_pushed_against_a_bound_still_feels_every_push_back() -> None:
    for pushed in (-24.0, 8.0):
        spread = bounded(0.0)
        with torch.no_grad():
            spread.parameter.fill_(pushed)
        torch.autograd.backward(spread().sum())
        assert spread.parameter.grad is not None
        # A hard clamp would have slope zero here.
        assert spread.parameter.grad[0].item() > math.exp(-5)


def test_value_rises_with_the_parameter_and_its_gradient_is_right() -> None:
    spread = bounded(0.0).double()
    values = []
    for parameter in torch.linspace(-30, 14, 100, dtype=torch.float64):
        with torch.no_grad():
            spread.parameter.fill_(parameter)
        values.append(spread()[0].item())
    assert all(before < after for before, after in pairwise(values))

    def effective(parameter: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.func.functional_call(spread, {"parameter": parameter}, ())
        return result

    at = torch.tensor([-19.0, 0.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(effective, (at,))


def test_dimensions_are_free_of_each_other() -> None:
    spread = bounded(0.0)
    torch.autograd.backward(spread()[1])
    assert spread.parameter.grad is not None
    assert spread.parameter.grad[[0, 2]].tolist() == [0, 0]


def test_only_the_parameter_is_saved() -> None:
    assert list(bounded(0.0).state_dict()) == ["parameter"]


def computed(initial: float = 0.0, *, size: int = 3, inputs: int = 5) -> NetworkSpread:
    generator = torch.Generator().manual_seed(0)
    return NetworkSpread(
        size, inputs, initial=initial, minimum=-20.0, maximum=4.0, generator=generator
    )


@pytest.mark.parametrize("initial", [-10.0, -1.386294, 0.0, 3.5])
def test_a_network_begins_near_the_initial_value_whatever_it_observes(initial: float) -> None:
    spread = computed(initial)
    values = spread(torch.randn(40, 5, generator=torch.Generator().manual_seed(1)))
    assert values.shape == (40, 3)
    # Orthogonal weights of gain 0.01 over features of norm sqrt(5) or so.
    assert (values - initial).abs().max() < 0.06
    assert values.std(dim=0).min() > 0.0
    assert spread(torch.zeros(1, 5))[0].tolist() == pytest.approx([initial] * 3, abs=3e-7)


def test_a_network_computes_the_bounded_linear_layer_of_its_features_by_hand() -> None:
    spread = computed(size=1, inputs=2)
    with torch.no_grad():
        spread.weight.copy_(torch.tensor([[2.0, -3.0]]))
        spread.bias.fill_(1.0)
    # p = 1 + 2 * 0.5 - 3 * 4 = -10, far from both bounds; then 1 + 2 * 0.5 = 2 near the upper one.
    near = math.log(math.exp(2.0) + math.exp(-20.0)) - math.log1p(math.exp(2.0 - 4.0))
    found = spread(torch.tensor([[0.5, 4.0], [0.5, 0.0]]))
    assert found.squeeze(1).tolist() == pytest.approx([-10.0, near], abs=1e-4)


@settings(deadline=None)
@given(size=st.floats(-1000, 1000))
def test_no_features_lead_a_network_beyond_the_bounds_and_all_feel_a_push_back(
    size: float,
) -> None:
    spread = computed()
    with torch.no_grad():
        spread.weight.fill_(1.0)
    values = spread(torch.full((1, 5), size))
    assert -20 - 1e-4 <= values.min() <= values.max() <= 4 + 1e-4
    at = torch.tensor([-24.0, 8.0], requires_grad=True)
    torch.autograd.backward(spread.bounded(at).sum())
    assert at.grad is not None
    assert at.grad.min() > math.exp(-5)


def test_only_layers_of_a_network_are_saved() -> None:
    assert list(computed().state_dict()) == ["weight", "bias"]
