"""Adam over all weights as one vector gives the same numbers as torch's Adam."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from entrain.algorithms.optimizer import Adam
from entrain.algorithms.weights import FlatWeights, load_weights, weights_of
from entrain.errors import CheckpointError


def network(seed: int = 0, outputs: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs), nn.BatchNorm1d(outputs))


def loss_of(module: nn.Module) -> Tensor:
    x = torch.linspace(-1, 1, 12).reshape(4, 3).to(next(module.parameters()))
    loss: Tensor = 10.0 * (module(x) - 3.0).square().sum()
    return loss


def parameters_equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_the_vector_is_the_modules_weights_in_both_directions() -> None:
    module = network()
    before = copy.deepcopy(module)
    flat = FlatWeights(module)
    assert parameters_equal(module, before)
    flat.weights.zero_()
    assert all(bool((parameter == 0).all()) for parameter in module.parameters())
    with torch.no_grad():
        next(module.parameters()).fill_(7.0)
    assert flat.weights[:15].tolist() == [7.0] * 15


def test_backward_fills_the_gradient_vector() -> None:
    module, separate = network(), network()
    flat = FlatWeights(module)
    loss_of(module).backward()  # type: ignore[no-untyped-call]
    loss_of(separate).backward()  # type: ignore[no-untyped-call]
    expected = torch.cat([p.grad.flatten() for p in separate.parameters() if p.grad is not None])
    torch.testing.assert_close(flat.gradient, expected)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5, 1e6])
def test_ten_steps_are_those_of_torchs_adam_and_clipping(max_grad_norm: float) -> None:
    # In float64: in ten steps, rounding of another order of sums would grow in float32.
    module, separate = network().double(), network().double()
    adam = Adam(module, epsilon=1e-5, max_grad_norm=max_grad_norm)
    reference = torch.optim.Adam(separate.parameters(), eps=1e-5)
    for step in range(10):
        learning_rate = 0.1 / (1 + step)
        norm = adam.step(loss_of(module), learning_rate=learning_rate)
        reference.zero_grad()
        loss_of(separate).backward()  # type: ignore[no-untyped-call]
        expected_norm = nn.utils.clip_grad_norm_(
            separate.parameters(), max_grad_norm or float("inf")
        )
        reference.param_groups[0]["lr"] = learning_rate
        reference.step()
        torch.testing.assert_close(norm, expected_norm)
    for parameter, expected in zip(module.parameters(), separate.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=1e-6)


def test_the_first_step_has_the_learning_rates_length_whatever_the_gradients() -> None:
    # t = 1: mean / (1 - beta_1) = g and mean_square / (1 - beta_2) = g^2, so the step is rate * 1.
    module = nn.Linear(2, 1, bias=False)
    before = module.weight.detach().clone()
    adam = Adam(module, epsilon=1e-12, max_grad_norm=0.0)
    adam.step((module.weight * torch.tensor([[1e-3, -1e3]])).sum(), learning_rate=0.25)
    torch.testing.assert_close(module.weight - before, torch.tensor([[-0.25, 0.25]]))


def test_a_long_gradient_is_shortened_and_its_true_length_told() -> None:
    module = nn.Linear(2, 1, bias=False)
    adam = Adam(module, epsilon=1e-8, max_grad_norm=1.0)
    norm = adam.step((module.weight * torch.tensor([[30.0, 40.0]])).sum(), learning_rate=0.0)
    assert norm.item() == pytest.approx(50.0)
    gradient = module.weight.grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.tensor([[0.6, 0.8]]))


def test_what_is_clipped_apart_is_shortened_by_its_own_length_alone() -> None:
    # Gradients are those of sum_i c_i * w_i: 3 and 4 in the weight, 1e12 in the bias.
    module = nn.Linear(2, 1)
    apart = {"weight": torch.zeros(1, 2).bool(), "bias": torch.ones(1).bool()}
    adam = Adam(module, epsilon=1e-8, max_grad_norm=1.0, apart=apart)
    loss = (module.weight * torch.tensor([[3.0, 4.0]])).sum() + 1e12 * module.bias.sum()
    norm = adam.step(loss, learning_rate=0.1)
    assert norm.item() == pytest.approx(1e12)
    mean = adam.state()["mean"]
    np.testing.assert_allclose(mean["weight"], [[0.1 * 3 / 5, 0.1 * 4 / 5]], rtol=1e-5)
    np.testing.assert_allclose(mean["bias"], [0.1], rtol=1e-5)
    # Short gradients stay as they are.
    adam = Adam(module, epsilon=1e-8, max_grad_norm=100.0, apart=apart)
    loss = (module.weight * torch.tensor([[3.0, 4.0]])).sum() + 12.0 * module.bias.sum()
    assert adam.step(loss, learning_rate=0.1).item() == pytest.approx(13.0)
    np.testing.assert_allclose(adam.state()["mean"]["weight"], [[0.3, 0.4]], rtol=1e-6)


def test_going_back_to_a_snapshot_goes_back_bit_for_bit() -> None:
    module = network()
    adam = Adam(module, epsilon=1e-5, max_grad_norm=0.5)
    adam.step(loss_of(module), learning_rate=0.1)
    there, snapshot = copy.deepcopy(module), adam.snapshot()
    adam.step(loss_of(module), learning_rate=0.1)
    once = copy.deepcopy(module)
    adam.restore(snapshot)
    assert parameters_equal(module, there)
    adam.step(loss_of(module), learning_rate=0.1)
    assert parameters_equal(module, once)


def test_a_loaded_state_goes_on_bit_for_bit() -> None:
    module, other = network(seed=0), network(seed=1)
    adam, loaded = (Adam(m, epsilon=1e-5, max_grad_norm=0.5) for m in (module, other))
    for _ in range(3):
        adam.step(loss_of(module), learning_rate=0.1)
    load_weights(other, weights_of(module))
    loaded.load_state(adam.state())
    for a, m in ((adam, module), (loaded, other)):
        a.step(loss_of(m), learning_rate=0.1)
    assert parameters_equal(module, other)


def test_a_state_is_a_copy() -> None:
    module = network()
    adam = Adam(module, epsilon=1e-5, max_grad_norm=0.5)
    weights, moments = weights_of(module), adam.state()
    first = weights["0.weight"].copy()
    adam.step(loss_of(module), learning_rate=0.1)
    np.testing.assert_array_equal(weights["0.weight"], first)
    assert not moments["mean"]["0.weight"].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"2.weight": np.zeros((4, 5), np.float32)},
            r"weight '2.weight' is torch.float32\[4, 5\], this run's policy has "
            r"torch.float32\[2, 5\]; resume with the network",
        ),
        ({"2.weight": np.zeros((2, 5), np.float64)}, r"is torch.float64\[2, 5\]"),
        ({"9.weight": np.zeros(3, np.float32)}, "has a weight '9.weight', which this run's"),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_overwritten(
    change: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], message: str
) -> None:
    module = network()
    before = copy.deepcopy(module)
    foreign = {**weights_of(network(seed=5)), **change}
    with pytest.raises(CheckpointError, match=message):
        load_weights(module, foreign)
    assert parameters_equal(module, before)


def test_a_missing_weight_is_named() -> None:
    state = dict(weights_of(network()))
    del state["0.bias"]
    with pytest.raises(CheckpointError, match=r"no weight '0\.bias', which this run's policy has"):
        load_weights(network(), state)


def test_moments_of_another_network_are_refused() -> None:
    adam = Adam(network(), epsilon=1e-5, max_grad_norm=0.0)
    foreign = Adam(network(outputs=3), epsilon=1e-5, max_grad_norm=0.0).state()
    with pytest.raises(CheckpointError, match=r"Adam mean of weight '2.weight' is .*\[3, 5\]"):
        adam.load_state(foreign)


def test_buffers_are_weights_too_and_are_loaded_in_place() -> None:
    source, target = network(seed=0), network(seed=1)
    loss_of(source)  # in training mode: moves the running statistics
    statistics = dict(target.named_buffers())["3.running_mean"]
    load_weights(target, weights_of(source))
    assert torch.equal(statistics, dict(source.named_buffers())["3.running_mean"])
    assert bool(statistics.any())


def test_weights_that_are_no_numbers_are_noticed() -> None:
    module = network()
    adam = Adam(module, epsilon=1e-5, max_grad_norm=0.0)
    assert adam.is_finite
    with torch.no_grad():
        next(module.parameters())[0, 0] = torch.inf
    assert not adam.is_finite
