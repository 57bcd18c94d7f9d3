"""Initial weights of memory, the layout of its state, and what an actor alone keeps of both."""

from typing import Literal

import pytest
import torch

from entrain.config.policy import MemoryConfig
from entrain.policy.recurrence import RecurrentMemory, make_memory

Kind = Literal["lstm", "gru", "mingru"]
KINDS = pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
GATES = {"lstm": 4, "gru": 3, "mingru": 2}
PARTS = {"lstm": 2, "gru": 1, "mingru": 1}


def memory_of(kind: Kind, *, layers: int = 2, groups: int = 2, seed: int = 1) -> RecurrentMemory:
    memory = make_memory(
        MemoryConfig(kind=kind, size=6, layers=layers),
        groups,
        3,
        generator=torch.Generator().manual_seed(seed),
    )
    assert isinstance(memory, RecurrentMemory)
    return memory


@pytest.mark.parametrize(
    ("kind", "layers", "groups", "size"),
    [
        ("gru", 1, 1, 6),  # the output
        ("lstm", 1, 1, 12),  # output and cells
        ("lstm", 2, 1, 24),  # of two layers
        ("lstm", 2, 2, 48),  # of two groups
        ("gru", 3, 2, 36),
        ("mingru", 1, 1, 6),
        ("mingru", 3, 2, 36),
    ],
)
def test_the_size_of_the_state_by_hand(kind: Kind, layers: int, groups: int, size: int) -> None:
    memory = memory_of(kind, layers=layers, groups=groups)
    assert memory.state_size == size
    assert memory.feature_size == 6


@KINDS
def test_an_actor_keeps_the_first_part_of_the_state_and_what_it_computes(kind: Kind) -> None:
    memory = memory_of(kind)
    reset = torch.tensor([[False, True, False], [False, False, True]])
    hidden, state = torch.randn(2, 6, 3), torch.randn(3, memory.state_size)
    whole, final = memory(hidden, state, reset)
    memory.keep_first_group()
    size = 2 * PARTS[kind] * 6
    assert memory.state_size == size
    assert all(len(parameter) == 1 for parameter in memory.parameters())
    output, after = memory(hidden[:1], state[:, :size], reset)
    torch.testing.assert_close(output, whole[:1])
    torch.testing.assert_close(after, final[:, :size])


@KINDS
def test_the_state_begins_with_the_output_of_the_lowest_layer(kind: Kind) -> None:
    memory = memory_of(kind, layers=1, groups=1)
    reset = torch.zeros(3, 2, dtype=torch.bool)
    output, state = memory(torch.randn(1, 6, 3), torch.randn(2, memory.state_size), reset)
    assert torch.equal(state[:, :6], output[0, -2:])


@KINDS
def test_a_groups_gradient_reaches_no_other_group(kind: Kind) -> None:
    memory = memory_of(kind)
    reset = torch.tensor([[False, True, False], [False, False, True]])
    state = torch.randn(3, memory.state_size)
    torch.autograd.backward(memory(torch.randn(2, 6, 3), state, reset)[0][0].sum())
    for parameter in memory.parameters():
        assert parameter.grad is not None
        assert (parameter.grad[0] != 0).any()
        assert (parameter.grad[1] == 0).all()


@KINDS
def test_every_gates_initial_matrices_are_orthogonal(kind: Kind) -> None:
    memory = memory_of(kind)
    for name, parameter in memory.named_parameters():
        if "weight" not in name:
            continue
        for matrix in parameter.view(2 * GATES[kind], 6, -1):
            # 6 units read 3 or 6 numbers: columns are orthogonal.
            torch.testing.assert_close(
                matrix.T @ matrix, torch.eye(matrix.shape[1]), atol=1e-5, rtol=0
            )
        assert not torch.equal(parameter[0], parameter[1])


def test_initial_biases_are_zero_but_for_the_forget_gate() -> None:
    for name, parameter in memory_of("gru").named_parameters():
        assert "bias" not in name or (parameter == 0).all()
    for name, parameter in memory_of("lstm").named_parameters():
        if "bias" in name:
            enter, forget, candidate, leave = parameter.view(2, 4, 6).unbind(1)
            assert (forget == 1).all()
            assert not torch.stack([enter, candidate, leave]).any()


def test_new_units_of_a_mingru_remember_for_2_to_16_steps() -> None:
    for name, parameter in memory_of("mingru").named_parameters():
        if "bias" in name:
            update, candidate = parameter.view(2, 2, 6).unbind(1)
            # 1 / z = 1 + exp(-bias), the mean of a geometric distribution.
            steps = 1 / torch.sigmoid(update)
            assert steps.min() >= 2
            assert steps.max() <= 16
            assert len(set(steps.flatten().tolist())) == 12
            assert not candidate.any()


@KINDS
def test_weights_follow_from_the_generator_and_leave_the_global_one_alone(kind: Kind) -> None:
    before = torch.get_rng_state()
    first, second, other = memory_of(kind), memory_of(kind), memory_of(kind, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for one, same in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, same)
    weight = "layers.0.weight_input"
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])


@KINDS
def test_only_what_is_learned_is_saved(kind: Kind) -> None:
    memory = memory_of(kind)
    assert set(memory.state_dict()) == {name for name, _ in memory.named_parameters()}
