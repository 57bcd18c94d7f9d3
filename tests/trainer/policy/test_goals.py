"""The goal generates the last layer's weights: two goals can ask for opposite behaviour."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from entrain.errors import ConfigError
from entrain.policy.goals import GOAL_CODE_SIZE, GoalHiddenLayers, HyperLinear


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layers(
    sizes: tuple[int, ...] = (8, 6), *, layer_norm: bool = False, groups: int = 2
) -> GoalHiddenLayers:
    """4 features and a goal of 3 numbers, in double precision."""
    return GoalHiddenLayers(
        groups, 4, 3, sizes, activation="tanh", layer_norm=layer_norm, generator=generator()
    ).double()


def rows(count: int) -> Tensor:
    return torch.randn(count, 7, dtype=torch.float64)


def test_each_row_has_the_weights_that_its_goal_asks_for() -> None:
    ours = HyperLinear(2, 4, 5, 3, generator=generator()).double()
    with torch.no_grad():
        ours.bias.normal_()
    x, goal = torch.randn(2, 6, 4).double(), torch.randn(2, 6, 3).double()
    output = ours(x, goal)
    for group in (0, 1):
        weights = ours.weight[group].view(1 + GOAL_CODE_SIZE, 4, 5)
        for row in range(6):
            code = torch.tanh(goal[group, row] @ ours.code.weight[group] + ours.code.bias[group, 0])
            weight, bias = weights[0].clone(), ours.bias[group, 0].clone()
            for h in range(GOAL_CODE_SIZE):
                weight += code[h] * weights[h + 1]
                bias += code[h] * ours.bias[group, h + 1]
            torch.testing.assert_close(output[group, row], x[group, row] @ weight + bias)


def test_opposite_goals_can_ask_for_opposite_behaviour() -> None:
    ours = HyperLinear(1, 4, 5, 3, generator=generator()).double()
    with torch.no_grad():
        ours.weight[:, :4] = 0  # what all goals share
    x, goal = torch.randn(1, 6, 4).double(), torch.randn(1, 6, 3).double()
    torch.testing.assert_close(ours(x, -goal), -ours(x, goal))
    # Seen beside the others, a goal could only shift the layer's outputs, alike for every x.
    doubled = ours(2 * x, goal)
    torch.testing.assert_close(doubled, 2 * ours(x, goal))


def test_initial_weights_are_as_large_as_those_of_any_hidden_layer() -> None:
    ours = HyperLinear(1, 64, 64, 3, generator=generator())
    norms = ours.weight[0].view(1 + GOAL_CODE_SIZE, -1).square().sum(dim=-1)
    # An orthogonal 64 x 64 matrix of gain sqrt 2 has squares that sum to 128.
    assert norms[0].item() == pytest.approx(64, rel=1e-4)
    assert norms[1:].sum().item() == pytest.approx(64, rel=1e-4)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_only_the_last_layer_looks_at_the_goal(layer_norm: bool) -> None:
    ours, features = layers(layer_norm=layer_norm), rows(5)
    x, goal = (part.expand(2, -1, -1) for part in (features[:, :4], features[:, 4:]))
    hidden = ours.last(ours.first(x), goal)
    if layer_norm:
        hidden = functional.layer_norm(hidden, (6,))
    torch.testing.assert_close(ours(features), torch.tanh(hidden))


def test_with_one_hidden_layer_the_goal_chooses_that() -> None:
    ours, features = layers((6,)), rows(5)
    x, goal = (part.expand(2, -1, -1) for part in (features[:, :4], features[:, 4:]))
    torch.testing.assert_close(ours(features), torch.tanh(ours.last(x, goal)))


@pytest.mark.parametrize("layer_norm", [False, True])
def test_keeping_the_first_group_leaves_what_it_computes(layer_norm: bool) -> None:
    ours, features = layers(layer_norm=layer_norm), rows(5)
    before = ours(features)
    ours.keep_first_group()
    after = ours(features)
    assert after.shape == (1, 5, 6)
    torch.testing.assert_close(after[0], before[0])
    assert all(len(parameter) == 1 for parameter in ours.parameters())


def test_a_groups_gradient_reaches_no_other_group() -> None:
    ours = layers(layer_norm=True)
    torch.autograd.backward(ours(rows(5))[0].sum())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad[1] == 0).all(), name


@pytest.mark.parametrize(
    ("inputs", "sizes", "missing"),
    [(4, (), "a hidden layer"), (0, (8,), "an observation other than the goal")],
)
def test_a_goal_with_nothing_to_choose_weights_for_is_refused(
    inputs: int, sizes: tuple[int, ...], missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"needs {missing}; add one, or choose concatenate"):
        GoalHiddenLayers(
            2, inputs, 3, sizes, activation="tanh", layer_norm=False, generator=generator()
        )
