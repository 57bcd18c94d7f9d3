"""Whole sequences are computed as the equations of the cells say, row by row.

Shapes: T steps, B columns, G groups, F features, S numbers of state, H units. In float64.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.config.policy import MemoryConfig, PolicyConfig
from entrain.policy.recurrence import RecurrentMemory, make_memory
from entrain.policy.trunk import RecurrentBackbone, make_backbone
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

pytestmark = pytest.mark.usefixtures("both_ways")

assert_equal = partial(torch.testing.assert_close, atol=1e-12, rtol=1e-12)
FEATURES = 3
SIZE = 4

Kind = Literal["lstm", "gru", "mingru"]


def memory_of(kind: Kind, *, layers: int, groups: int) -> RecurrentMemory:
    """With weights and biases that are no longer the initial ones."""
    memory = make_memory(
        MemoryConfig(kind=kind, size=SIZE, layers=layers),
        groups,
        FEATURES,
        generator=torch.Generator().manual_seed(1),
    )
    assert isinstance(memory, RecurrentMemory)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in memory.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return memory.double()


def lstm_cell(layer: torch.nn.Module, group: int, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    output, cell = state
    weights = dict(layer.named_parameters())
    gates = weights["weight_input"][group] @ x + weights["weight_recurrent"][group] @ output
    i, f, g, o = (gates + weights["bias"][group, 0]).view(4, SIZE)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return [torch.sigmoid(o) * torch.tanh(cell), cell]


def gru_cell(layer: torch.nn.Module, group: int, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    (output,) = state
    weights = dict(layer.named_parameters())
    from_x = (weights["weight_input"][group] @ x + weights["bias"][group, 0]).view(3, SIZE)
    from_output = (weights["weight_recurrent"][group] @ output).view(3, SIZE)
    r = torch.sigmoid(from_x[0] + from_output[0])
    z = torch.sigmoid(from_x[1] + from_output[1])
    n = torch.tanh(from_x[2] + r * from_output[2])
    return [(1 - z) * n + z * output]


def mingru_cell(layer: torch.nn.Module, group: int, x: Tensor, state: list[Tensor]) -> list[Tensor]:
    (output,) = state
    weights = dict(layer.named_parameters())
    gates = weights["weight_input"][group] @ x + weights["bias"][group, 0]
    z, candidate = torch.sigmoid(gates[:SIZE]), gates[SIZE:]
    return [(1 - z) * output + z * candidate]


CELLS = {"lstm": lstm_cell, "gru": gru_cell, "mingru": mingru_cell}
PARTS = {"lstm": 2, "gru": 1, "mingru": 1}


def one_by_one(
    kind: Kind, memory: RecurrentMemory, hidden: Tensor, state: Tensor, reset: Tensor
) -> tuple[Tensor, Tensor]:
    """Every group, column, step and layer on its own, and vectors instead of matrices."""
    steps, columns = reset.shape
    layers, parts = list(memory.layers), PARTS[kind]
    outputs = [[[] for _ in range(steps)] for _ in hidden]  # type: list[list[list[Tensor]]]
    finals = []
    for column in range(columns):
        pieces = list(torch.split(state[column], SIZE))
        for group, step in itertools.product(range(len(hidden)), range(steps)):
            x = hidden[group, step * columns + column]
            for index, layer in enumerate(layers):
                first = (group * len(layers) + index) * parts
                before = pieces[first : first + parts]
                if reset[step, column]:
                    before = [torch.zeros_like(piece) for piece in before]
                pieces[first : first + parts] = CELLS[kind](layer, group, x, before)
                x = pieces[first]
            outputs[group][step].append(x)
        finals.append(torch.cat(pieces))
    rows = [torch.stack([row for step in group for row in step]) for group in outputs]
    return torch.stack(rows), torch.stack(finals)


@dataclass(frozen=True)
class Case:
    """A memory and its inputs."""

    kind: Kind
    memory: RecurrentMemory
    hidden: Tensor
    """[G, T * B, F]."""
    state: Tensor
    """[B, S]."""
    reset: Tensor
    """[T, B]."""

    def to(self, dtype: torch.dtype) -> "Case":
        memory = self.memory.to(dtype)
        return Case(self.kind, memory, self.hidden.to(dtype), self.state.to(dtype), self.reset)

    def run(self) -> tuple[Tensor, Tensor]:
        hidden, state = self.memory(self.hidden, self.state, self.reset)
        return hidden, state

    def by_step(self) -> Tensor:
        """[G, T, B, F]."""
        return self.hidden.view(len(self.hidden), *self.reset.shape, -1)


def make_case(kind: Kind, *, layers: int, groups: int, reset: Tensor, seed: int = 3) -> Case:
    memory = memory_of(kind, layers=layers, groups=groups)
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(groups, reset.numel(), FEATURES, generator=generator, dtype=torch.float64)
    state = torch.randn(reset.shape[1], memory.state_size, generator=generator, dtype=torch.float64)
    return Case(kind, memory, hidden, state, reset)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    steps, columns = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    flags = st.sampled_from([st.just(False), st.booleans(), st.just(True)]).flatmap(
        lambda each: st.lists(each, min_size=steps * columns, max_size=steps * columns)
    )
    return make_case(
        draw(st.sampled_from(["lstm", "gru", "mingru"])),
        layers=draw(st.integers(1, 2)),
        groups=draw(st.integers(1, 2)),
        reset=torch.tensor(draw(flags)).view(steps, columns),
        seed=draw(st.integers(0, 100)),
    )


RESETS = torch.tensor(
    [
        [False, True, False],
        [False, False, True],
        [False, True, False],
        [False, False, False],
        [False, False, True],
    ]
)
KINDS = pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
LAYERS = pytest.mark.parametrize("layers", [1, 2])


@settings(max_examples=80, deadline=None)
@given(cases())
def test_outputs_and_final_states_are_those_of_the_equations(case: Case) -> None:
    expected = one_by_one(case.kind, case.memory, case.hidden, case.state, case.reset)
    for arrived, wanted in zip(case.run(), expected, strict=True):
        assert_equal(arrived, wanted)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_gradients_are_those_of_the_equations(case: Case) -> None:
    hidden, state = case.hidden.requires_grad_(), case.state.requires_grad_()
    sources = [hidden, state, *case.memory.parameters()]

    def gradients(outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        loss = outputs[0].cos().sum() + 2 * outputs[1].sin().sum()
        return torch.autograd.grad(loss, sources, materialize_grads=True)

    expected = gradients(one_by_one(case.kind, case.memory, hidden, state, case.reset))
    for arrived, wanted in zip(gradients(case.run()), expected, strict=True):
        assert_equal(arrived, wanted)


@settings(max_examples=30, deadline=None)
@given(cases(), st.data())
def test_a_sequence_may_be_cut_anywhere_if_the_state_is_carried(
    case: Case, data: st.DataObject
) -> None:
    steps = len(case.reset)
    cut = data.draw(st.integers(0, steps - 1))
    whole, final = case.run()
    state, pieces = case.state, []
    for rows in (slice(0, cut), slice(cut, steps)):
        if rows.start < rows.stop:
            piece = case.by_step()[:, rows].flatten(1, 2)
            output, state = case.memory(piece, state, case.reset[rows])
            pieces.append(output)
    assert_equal(torch.cat(pieces, dim=1), whole)
    assert_equal(state, final)


@settings(max_examples=30, deadline=None)
@given(cases())
def test_acting_step_by_step_is_what_learning_sees(case: Case) -> None:
    whole, final = case.run()
    state, outputs = case.state, []
    for step in range(len(case.reset)):
        output, state = case.memory(case.by_step()[:, step], state, case.reset[step : step + 1])
        outputs.append(output)
    assert_equal(torch.cat(outputs, dim=1), whole)
    assert_equal(state, final)


@settings(max_examples=30, deadline=None)
@given(cases(), st.data())
def test_columns_in_another_order_give_the_same(case: Case, data: st.DataObject) -> None:
    order = torch.tensor(data.draw(st.permutations(range(case.reset.shape[1]))))
    whole, final = case.run()
    output, state = case.memory(
        case.by_step()[:, :, order].flatten(1, 2), case.state[order], case.reset[:, order]
    )
    expected = whole.view(len(whole), *case.reset.shape, -1)[:, :, order].flatten(1, 2)
    assert_equal(output, expected)
    assert_equal(state, final[order])


@KINDS
@LAYERS
@pytest.mark.parametrize("poison", [1e9, -1e9])
@pytest.mark.parametrize("reset_step", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_nothing_from_before_a_reset_is_left(
    kind: Kind, layers: int, poison: float, reset_step: int, dtype: torch.dtype
) -> None:
    reset = torch.zeros(4, 3, dtype=torch.bool)
    reset[reset_step, 1] = True
    case = make_case(kind, layers=layers, groups=2, reset=reset).to(dtype)
    whole, final = case.run()
    case.state[1] = poison
    case.by_step()[:, :reset_step, 1] = poison
    output, state = case.run()
    by_step, expected = (x.view(2, 4, 3, SIZE) for x in (output, whole))
    assert_equal(by_step[:, reset_step:], expected[:, reset_step:])
    assert_equal(by_step[:, :, ::2], expected[:, :, ::2])
    assert_equal(state, final)


@KINDS
@LAYERS
@pytest.mark.parametrize("has_resets", [False, True])
def test_nan_at_a_columns_end_reaches_no_other_column(
    kind: Kind, layers: int, has_resets: bool
) -> None:
    reset = RESETS if has_resets else torch.zeros_like(RESETS)
    case = make_case(kind, layers=layers, groups=2, reset=reset)
    whole, final = case.run()
    case.by_step()[:, 3:, 0] = float("nan")
    output, state = case.run()
    by_step, expected = (x.view(2, 5, 3, SIZE) for x in (output, whole))
    assert_equal(by_step[:, :3], expected[:, :3])
    assert_equal(by_step[:, :, 1:], expected[:, :, 1:])
    assert_equal(state[1:], final[1:])


@KINDS
@LAYERS
def test_single_precision_agrees_with_double(kind: Kind, layers: int) -> None:
    # In single precision the library takes another kernel than in double.
    case = make_case(kind, layers=layers, groups=2, reset=RESETS)
    expected = case.run()
    arrived = case.memory.float()(case.hidden.float(), case.state.float(), RESETS)
    for single, double in zip(arrived, expected, strict=True):
        torch.testing.assert_close(single, double.float(), atol=1e-5, rtol=1e-5)


@KINDS
@LAYERS
def test_cells_survive_the_rows_behind_a_shorter_columns_end_exactly(
    kind: Kind, layers: int
) -> None:
    # Column 0 gets three rows more than column 1, whose cells must be those at its end, not merely
    # close to them, even if what is remembered is large.
    reset = torch.zeros(6, 2, dtype=torch.bool)
    reset[1::2, 0] = True
    case = make_case(kind, layers=layers, groups=1, reset=reset)
    case.hidden.mul_(1e6)
    expected = one_by_one(case.kind, case.memory, case.hidden, case.state, case.reset)
    assert_equal(case.run()[1], expected[1])


@KINDS
@pytest.mark.parametrize("columns", [1, 3])
def test_inputs_are_left_as_they_were(kind: Kind, columns: int) -> None:
    # The transpose of a single column is no copy.
    case = make_case(kind, layers=2, groups=2, reset=RESETS[:, 3 - columns :].clone())
    before = [case.hidden.clone(), case.state.clone(), case.reset.clone()]
    case.run()
    for tensor, copy in zip([case.hidden, case.state, case.reset], before, strict=True):
        assert torch.equal(tensor, copy)


def test_a_backbone_without_memory_passes_the_trunks_features_and_the_state_through() -> None:
    inputs = BehaviourSpec("b", (ObservationSpec("o", (FEATURES,)),), ActionSpec(branches=(2,)))
    backbone = make_backbone(inputs, PolicyConfig(), 2, torch.Generator())
    assert not isinstance(backbone, RecurrentBackbone)
    assert backbone.state_size == 0
    assert backbone.feature_size == backbone.trunk.feature_size
    observation, state = {"o": torch.randn(2, 3, FEATURES)}, torch.zeros(3, 0)
    features, after = backbone(observation, state, torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(features, backbone.trunk(observation, 6))
    assert after.shape == (3, 0)
