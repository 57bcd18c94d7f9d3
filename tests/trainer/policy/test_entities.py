"""Sets of entities: order and absent entities do not matter, and a set may be empty."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from entrain.policy.entities import EntityEncoder
from entrain_envs.spec import ObservationSpec


def encoder(most: int = 5, *, heads: int = 2, groups: int = 2) -> EntityEncoder:
    """Of entities with 3 numbers, in double precision, with weights as if it had learned."""
    ours = EntityEncoder(
        ObservationSpec("foes", (most, 3), kind="entities"),
        8,
        heads,
        groups,
        torch.Generator().manual_seed(1),
    ).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return ours


def sets(rows: int, present: int, most: int = 5) -> Tensor:
    """[rows, most, 3], of which the first `present` are there."""
    entities = torch.zeros(rows, most, 3, dtype=torch.float64)
    entities[:, :present] = torch.randn(rows, present, 3, dtype=torch.float64)
    return entities


def textbook(ours: EntityEncoder, entities: Tensor, group: int, heads: int) -> Tensor:
    """Features of one set of n entities that are all there, [n, 3], entity by entity."""

    def linear(name: str, x: Tensor) -> Tensor:
        layer = ours.get_submodule(name)
        return x @ layer.get_parameter("weight")[group] + layer.get_parameter("bias")[group]

    def norm(name: str, x: Tensor) -> Tensor:
        layer = ours.get_submodule(name)
        weight, bias = (
            layer.get_parameter("weight")[group, 0],
            layer.get_parameter("bias")[group, 0],
        )
        return functional.layer_norm(x, (8,), weight, bias)

    x = norm("embedding_norm", linear("embedding", entities).relu())
    query, key, value = (linear(name, x) for name in ("query", "key", "value"))
    width = 8 // heads
    seen = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for looker in range(len(x)):
            scores = key[:, part] @ query[looker, part] / math.sqrt(width)
            seen[looker, part] = torch.softmax(scores, dim=0) @ value[:, part]
    return norm("output_norm", x + linear("output", seen)).mean(dim=0)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("present", [1, 3, 5])
def test_it_computes_what_the_textbook_does_for_those_that_are_there(
    heads: int, present: int
) -> None:
    ours, entities = encoder(heads=heads), sets(4, present)
    features = ours(entities, 4)
    assert features.shape == (2, 4, 8)
    for group in (0, 1):
        for row in range(4):
            expected = textbook(ours, entities[row, :present], group, heads)
            torch.testing.assert_close(features[group, row], expected)


def test_the_order_of_entities_means_nothing() -> None:
    ours, entities = encoder(), sets(6, 3)
    features = ours(entities, 6)
    for _ in range(5):
        permuted = ours(entities[:, torch.randperm(5)], 6)
        torch.testing.assert_close(permuted, features)


def test_more_absent_entities_change_nothing() -> None:
    small, large = encoder(4), encoder(9)
    large.load_state_dict(small.state_dict())
    entities = sets(6, 4, most=4)
    padded = torch.cat([entities, torch.zeros(6, 5, 3, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(large(padded, 6), small(entities, 6))


def test_an_entity_with_one_number_that_is_not_zero_is_there() -> None:
    ours, entities = encoder(), sets(1, 2)
    changed = entities.clone()
    changed[0, 4, 1] = -1e-3
    assert not torch.allclose(ours(changed, 1), ours(entities, 1))
    # Numbers that cancel are no absent entity either.
    changed[0, 4] = torch.tensor([1.0, -1.0, 0.0])
    assert not torch.allclose(ours(changed, 1), ours(entities, 1))


def test_an_empty_set_gives_zeros_and_learns_nothing() -> None:
    ours, empty = encoder(), sets(3, 0).requires_grad_()
    features = ours(empty, 3)
    assert (features == 0).all()
    torch.autograd.backward(features.sum())
    assert empty.grad is not None
    assert (empty.grad == 0).all()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad == 0).all(), name


def test_gradients_are_those_of_the_entities_that_are_there() -> None:
    ours = encoder()
    entities = torch.cat([sets(2, 3), sets(2, 0), sets(1, 5)]).requires_grad_()
    torch.autograd.backward(ours(entities, 5).square().sum())
    assert entities.grad is not None
    is_there = (entities != 0).any(-1)
    assert (entities.grad[is_there] != 0).any(-1).all()
    assert (entities.grad[~is_there] == 0).all()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_rows_do_not_know_of_each_other() -> None:
    ours, entities = encoder(), torch.cat([sets(2, 3), sets(1, 0), sets(2, 5)])
    together = ours(entities, 5)
    for row in range(5):
        torch.testing.assert_close(ours(entities[row : row + 1], 1)[:, 0], together[:, row])


def test_each_group_has_weights_of_its_own() -> None:
    ours, entities = encoder(), sets(2, 4)
    torch.autograd.backward(ours(entities, 2)[0].square().sum())
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad[1] == 0).all(), name


def test_keeping_the_first_group_leaves_what_it_sees() -> None:
    ours, entities = encoder(), sets(2, 4)
    before = ours(entities, 2)
    ours.keep_first_group()
    after = ours(entities, 2)
    assert after.shape == (1, 2, 8)
    torch.testing.assert_close(after[0], before[0])
    assert all(len(parameter) == 1 for parameter in ours.parameters())


def test_no_rows_give_no_features() -> None:
    assert encoder()(torch.zeros(1, 0, 5, 3, dtype=torch.float64), 0).shape == (2, 0, 8)


def test_initial_weights_follow_from_the_generator() -> None:
    def drawn() -> EntityEncoder:
        spec = ObservationSpec("foes", (5, 3), kind="entities")
        return EntityEncoder(spec, 8, 2, 2, torch.Generator().manual_seed(3))

    before = torch.get_rng_state()
    for one, other in zip(drawn().parameters(), drawn().parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)
