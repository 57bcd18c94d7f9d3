"""The gradient of a minGRU's steps, written by hand, is that of its equations.

Shapes: G groups, T steps, N sequences, H units. In float64.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.policy.mingru import GatedAverage, MinGRULayer, columns_reset

RESET = torch.tensor([[False, True], [False, False], [True, False], [True, True]])


def inputs(groups: int, reset: Tensor, *, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Gates [G, T, N, 6] and initial outputs [G, N, 3]."""
    generator = torch.Generator().manual_seed(seed)
    gates = torch.randn(groups, *reset.shape, 6, generator=generator, dtype=torch.float64)
    initial = torch.randn(groups, reset.shape[1], 3, generator=generator, dtype=torch.float64)
    return gates.requires_grad_(), initial.requires_grad_()


def by_equations(gates: Tensor, initial: Tensor, reset: Tensor) -> Tensor:
    """Step by step, differentiated by autograd."""
    output, outputs = initial, []
    for step, begins in enumerate(reset):
        z, candidate = torch.sigmoid(gates[:, step, :, :3]), gates[:, step, :, 3:]
        output = torch.where(begins.unsqueeze(1), 0.0, output)
        output = (1 - z) * output + z * candidate
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def average(gates: Tensor, initial: Tensor, reset: Tensor) -> Tensor:
    output: Tensor = GatedAverage.apply(gates, initial, columns_reset(reset))  # type: ignore[no-untyped-call]
    return output


def test_two_steps_by_hand() -> None:
    # z is 1/2, then 1/4; candidates are 4 and 8; what was before is 2.
    # h[0] = (2 + 4) / 2 = 3        h[1] = 3/4 * 3 + 1/4 * 8 = 4.25
    gates = torch.tensor([[[[0.0, 4.0]], [[-torch.tensor(3.0).log(), 8.0]]]])
    output = average(gates, torch.tensor([[[2.0]]]), torch.tensor([[False], [False]]))
    torch.testing.assert_close(output.flatten(), torch.tensor([3.0, 4.25]))
    # It begins anew at the second: h[1] = 1/4 * 8 = 2
    output = average(gates, torch.tensor([[[2.0]]]), torch.tensor([[False], [True]]))
    torch.testing.assert_close(output.flatten(), torch.tensor([3.0, 2.0]))


@pytest.mark.parametrize("reset", [RESET, torch.zeros_like(RESET)], ids=["resets", "none"])
def test_gradients_are_those_of_small_differences(reset: Tensor) -> None:
    def of(gates: Tensor, initial: Tensor) -> Tensor:
        return average(gates, initial, reset)

    assert torch.autograd.gradcheck(of, inputs(2, reset))


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 9), st.integers(1, 4), st.integers(1, 2), st.integers(0, 99))
def test_outputs_and_gradients_are_those_of_plain_autograd(
    data: st.DataObject, steps: int, columns: int, groups: int, seed: int
) -> None:
    count = steps * columns
    flags = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    reset = torch.tensor(flags).view(steps, columns)
    sources = inputs(groups, reset, seed=seed)
    found, expected = average(*sources, reset), by_equations(*sources, reset)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn(found.shape, dtype=torch.float64)
    gradients, wanted = (
        torch.autograd.grad((output * weight).sum(), sources) for output in (found, expected)
    )
    torch.testing.assert_close(gradients, wanted, rtol=1e-12, atol=1e-12)


def test_the_gradient_that_is_given_and_the_inputs_stay_as_they_were() -> None:
    gates, initial = inputs(2, RESET)
    output = average(gates, initial, RESET)
    given_ = torch.ones_like(output)
    before = [each.detach().clone() for each in (gates, initial, output)]
    torch.autograd.backward(output, given_)
    assert (given_ == 1).all()
    for each, copy in zip((gates, initial, output), before, strict=True):
        assert torch.equal(each, copy)


def test_what_was_not_a_number_before_a_reset_is_forgotten() -> None:
    gates, initial = inputs(1, RESET)
    with torch.no_grad():
        initial[:, 1] = float("nan")
        gates[:, :2, 0] = float("nan")
    output = average(gates, initial, RESET)
    assert output[:, 2:].isfinite().all()
    assert output[:, :2, 1].isfinite().all()
    torch.autograd.backward(output[:, 2:].sum() + output[:, :2, 1].sum())
    assert gates.grad is not None
    assert gates.grad[:, 2:].isfinite().all()
    assert gates.grad[:, :, 1].isfinite().all()


def test_a_state_of_any_size_stays_within_the_candidates() -> None:
    # An average never leaves the range of what it is an average of.
    layer = MinGRULayer(1, 3, 4, generator=torch.Generator().manual_seed(1))
    x = torch.randn(1, 50 * 2, 3, generator=torch.Generator().manual_seed(2)) * 100
    with torch.no_grad():
        output = layer.unroll(x, torch.zeros(1, 2, 4), [None] * 50)
        candidates = (x @ layer.weight_input.transpose(1, 2))[..., 4:]
    assert output.abs().max() <= candidates.abs().max()
