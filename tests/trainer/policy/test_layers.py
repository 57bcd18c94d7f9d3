"""Grouped layers equal separate ones; initial weights are orthogonal and from their own seed."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from entrain.policy.layers import (
    ACTIVATIONS,
    Activation,
    GroupedLinear,
    Head,
    HiddenLayers,
    NormalisedLinear,
)


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hidden_layers(
    groups: int,
    sizes: tuple[int, ...] = (8, 6),
    activation: Activation = "tanh",
    *,
    layer_norm: bool = False,
) -> HiddenLayers:
    return HiddenLayers(
        groups, 5, sizes, activation=activation, layer_norm=layer_norm, generator=generator()
    )


def randomised(layers: HiddenLayers) -> HiddenLayers:
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter)
    return layers


def one_by_one(
    layers: HiddenLayers, features: Tensor, group: int, activation: Activation
) -> Tensor:
    """The textbook formula for one group."""
    hidden = features
    parameters = list(layers.parameters())
    for weight, bias in zip(parameters[0::2], parameters[1::2], strict=True):
        hidden = ACTIVATIONS[activation](hidden @ weight[group] + bias[group])
    return hidden


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_each_group_is_a_network_of_its_own(activation: Activation) -> None:
    layers = randomised(hidden_layers(2, activation=activation))
    features = torch.randn(7, 5)
    hidden = layers(features)
    assert hidden.shape == (2, 7, 6)
    for group in (0, 1):
        torch.testing.assert_close(
            hidden[group], one_by_one(layers, features, group, activation), atol=1e-5, rtol=1e-5
        )


def test_activations_are_what_they_are_called() -> None:
    x = torch.tensor([-1.0, 2.0])
    assert ACTIVATIONS["relu"](x.clone()).tolist() == [0, 2]
    expected = {
        "tanh": [math.tanh(-1), math.tanh(2)],
        "elu": [math.exp(-1) - 1, 2],
        "silu": [-1 / (1 + math.e), 2 / (1 + math.exp(-2))],
    }
    for name in ("tanh", "elu", "silu"):
        assert ACTIVATIONS[name](x.clone()).tolist() == pytest.approx(expected[name])


def test_a_groups_gradient_reaches_no_other_group() -> None:
    layers = hidden_layers(2)
    torch.autograd.backward(layers(torch.randn(7, 5))[0].sum())
    for parameter in layers.parameters():
        assert parameter.grad is not None
        assert (parameter.grad[0] != 0).any()
        assert (parameter.grad[1] == 0).all()


def test_without_hidden_layers_features_pass_through() -> None:
    layers, features = hidden_layers(2, sizes=()), torch.randn(3, 5)
    assert layers.feature_size == 5
    assert torch.equal(layers(features), torch.stack([features, features]))


def test_layer_norm_comes_between_each_layer_and_its_activation() -> None:
    layers, features = randomised(hidden_layers(2, layer_norm=True)), torch.randn(7, 5)
    hidden = layers(features)
    for group in (0, 1):
        expected = features
        for layer in layers.layers:
            weight, bias, scale, shift = (p[group] for p in layer.parameters())
            x = expected @ weight + bias
            x = x - x.mean(dim=-1, keepdim=True)
            x = x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
            expected = torch.tanh(x * scale + shift)
        torch.testing.assert_close(hidden[group], expected, atol=1e-5, rtol=1e-5)


def test_layer_norm_begins_with_mean_zero_and_variance_one() -> None:
    layer = NormalisedLinear(2, 5, 64, gain=1.0, generator=generator())
    normalised = layer(100 * torch.randn(2, 7, 5))
    torch.testing.assert_close(normalised.mean(-1), torch.zeros(2, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(-1, correction=0), torch.ones(2, 7))


def test_groups_may_read_features_of_their_own() -> None:
    layers, features = randomised(hidden_layers(2)), torch.randn(2, 7, 5)
    hidden = layers(features)
    for group in (0, 1):
        torch.testing.assert_close(hidden[group], layers(features[group])[group])


@pytest.mark.parametrize("layer_norm", [False, True])
def test_keeping_the_first_group_leaves_what_it_computes(layer_norm: bool) -> None:
    layers, features = hidden_layers(2, layer_norm=layer_norm), torch.randn(3, 5)
    before = layers(features)
    layers.keep_first_group()
    after = layers(features)
    assert after.shape == (1, 3, 6)
    torch.testing.assert_close(after[0], before[0])
    assert all(len(parameter) == 1 for parameter in layers.parameters())


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 5), (3, 9), (9, 3)])
def test_initial_weights_of_each_group_are_orthogonal_with_the_gain(
    inputs: int, outputs: int
) -> None:
    layer = GroupedLinear(3, inputs, outputs, gain=math.sqrt(2), generator=generator())
    for weight in layer.weight:
        small = weight if inputs <= outputs else weight.T
        product = small @ small.T
        torch.testing.assert_close(product, 2 * torch.eye(len(small)), atol=1e-5, rtol=0)
    assert (layer.bias == 0).all()
    assert not torch.equal(layer.weight[0], layer.weight[1])


def test_a_heads_rows_are_orthogonal_with_its_gain() -> None:
    head = Head(8, 3, gain=0.01, generator=generator())
    product = head.weight @ head.weight.T
    torch.testing.assert_close(product, 1e-4 * torch.eye(3), atol=1e-9, rtol=0)
    assert (head.bias == 0).all()
    x = torch.randn(4, 8)
    torch.testing.assert_close(head(x), functional.linear(x, head.weight))


def test_weights_follow_from_the_generator_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, second = hidden_layers(2), hidden_layers(2)
    Head(8, 3, gain=1.0, generator=generator())
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
