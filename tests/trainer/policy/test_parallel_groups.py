"""Two jobs at the same time: the same numbers and gradients, in two threads."""

import copy
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.config.policy import MemoryConfig
from entrain.policy.parallel_groups import MIN_NUMBERS, ParallelGroups, Tensors
from entrain.policy.recurrence import RecurrentMemory, make_memory
from entrain.policy.recurrent_layers import LSTMLayer

PATIENCE_S = 30.0
"""After which a waiting thread gives up; reached only if the code is broken."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def product(x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensors:
    """Two results, so that the gradient of the second one is tested too."""
    y = torch.tanh(x @ weight)
    return (y if offset is None else y + offset, (x * weight).sum())


def jobs(*, is_learned: bool = True, seed: int = 0) -> list[list[Tensor | None]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        [
            torch.randn(5, 5, generator=generator).requires_grad_(is_learned),
            torch.randn(5, 5, generator=generator).requires_grad_(is_learned),
            None if is_learned else torch.ones(()),
        ]
        for _ in range(2)
    ]


def leaves(of: Sequence[Sequence[Tensor | None]]) -> list[Tensor]:
    return [tensor for job in of for tensor in job if tensor is not None and tensor.requires_grad]


def in_turn(of: Sequence[Sequence[Tensor | None]]) -> list[Tensors]:
    return [product(*job) for job in of]  # type: ignore[arg-type]


def gradients(results: Sequence[Tensors], inputs: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    loss = sum(((index + 2.0) * part.square().sum() for index, part in enumerate(flat(results))))
    return torch.autograd.grad(loss, inputs, allow_unused=True)  # type: ignore[arg-type]


def flat(results: Sequence[Tensors]) -> list[Tensor]:
    return [part for result in results for part in result]


def assert_same(found: Sequence[Tensor | None], expected: Sequence[Tensor | None]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert torch.equal(one, other)


def test_results_and_gradients_are_those_of_one_after_the_other() -> None:
    two = jobs()
    at_once = ParallelGroups()(product, two, numbers=MIN_NUMBERS)
    expected = in_turn(two)
    assert_same(flat(at_once), flat(expected))
    assert_same(gradients(at_once, leaves(two)), gradients(expected, leaves(two)))


@pytest.mark.parametrize("kept", [(0,), (1,), (2,), (3,), (0, 3), (1, 2)])
def test_results_that_nothing_comes_of_cost_no_gradient(kept: tuple[int, ...]) -> None:
    two = jobs()
    both = [ParallelGroups()(product, two, numbers=MIN_NUMBERS), in_turn(two)]
    found, expected = (
        gradients([tuple(flat(results)[index] for index in kept)], leaves(two)) for results in both
    )
    assert_same(found, expected)


@pytest.mark.parametrize("learned", [0, 1, 2, 3])
def test_only_what_wants_a_gradient_gets_one(learned: int) -> None:
    two = [[x, weight, None] for x, weight, _ in jobs(is_learned=False)]
    (only,) = [two[learned // 2][learned % 2]]
    assert only is not None
    only.requires_grad_()
    at_once, expected = ParallelGroups()(product, two, numbers=MIN_NUMBERS), in_turn(two)
    assert_same(gradients(at_once, [only]), gradients(expected, [only]))


def test_constant_results_and_unused_arguments_are_let_be() -> None:
    def partly(x: Tensor, unused: Tensor) -> Tensors:
        return (2.0 * x, torch.ones(3))

    x, y, unused = (torch.ones(3, requires_grad=True) for _ in range(3))
    results = ParallelGroups()(partly, [[x, unused], [y, unused]], numbers=MIN_NUMBERS)
    sum(part.sum() for part in flat(results)).backward()  # type: ignore[union-attr]
    for leaf in (x, y):
        assert leaf.grad is not None
        assert leaf.grad.tolist() == [2.0] * 3
    assert unused.grad is None


def test_a_tensor_of_both_jobs_gets_the_sum_of_its_gradients() -> None:
    (x, shared, _), (y, *_) = jobs()
    two = [[x, shared, None], [y, shared, None]]
    at_once, expected = ParallelGroups()(product, two, numbers=MIN_NUMBERS), in_turn(two)
    inputs = [tensor for tensor in (x, y, shared) if tensor is not None]
    for found, wanted in zip(gradients(at_once, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_recorded_in_either_thread(mode: Any) -> None:
    recorded: list[bool] = []

    def note(x: Tensor, weight: Tensor, offset: Tensor | None) -> Tensors:
        results = product(x, weight, offset)
        recorded.extend(part.requires_grad for part in results)
        return results

    weights = [weight for _, weight, _ in jobs()]
    with mode():
        two: list[list[Tensor | None]] = [[torch.ones(5, 5), weight, None] for weight in weights]
        results = ParallelGroups()(note, two, numbers=MIN_NUMBERS)
        assert_same(flat(results), flat(in_turn(two)))
    assert recorded == [False] * 4


def test_what_is_not_learned_from_has_no_gradient() -> None:
    results = ParallelGroups()(product, jobs(is_learned=False), numbers=MIN_NUMBERS)
    assert not any(part.requires_grad for part in flat(results))


class Meeting(torch.autograd.Function):
    """Blocks until two threads have arrived, in the forward and in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: threading.Barrier, back: threading.Barrier) -> Tensor:
        ctx.back = back
        there.wait(PATIENCE_S)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        ctx.back.wait(PATIENCE_S)
        return gradient, None, None


def test_both_are_done_at_the_same_time_and_their_gradients_too() -> None:
    there, back = threading.Barrier(2), threading.Barrier(2)

    def meet(x: Tensor) -> Tensors:
        return (Meeting.apply(x, there, back),)  # type: ignore[no-untyped-call]

    x, y = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    (one,), (other,) = ParallelGroups()(meet, [[x], [y]], numbers=MIN_NUMBERS)
    (one.sum() + 2 * other.sum()).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert y.grad is not None
    assert (x.grad.tolist(), y.grad.tolist()) == ([1.0] * 3, [2.0] * 3)


@pytest.mark.parametrize(
    ("numbers", "threads"),
    [
        pytest.param(MIN_NUMBERS - 1, 1, id="too small"),
        pytest.param(MIN_NUMBERS, 2, id="torch splits each operation"),
    ],
)
def test_what_would_gain_nothing_is_done_by_one_thread(numbers: int, threads: int) -> None:
    torch.set_num_threads(threads)
    by = set()

    def note(x: Tensor) -> Tensors:
        by.add(threading.get_ident())
        return (x,)

    assert len(ParallelGroups()(note, [[torch.ones(1)]] * 2, numbers=numbers)) == 2
    assert by == {threading.get_ident()}


def test_a_single_job_is_done_by_the_one_who_asks() -> None:
    x = torch.ones(2)
    by = []

    def note(x: Tensor) -> Tensors:
        by.append(threading.get_ident())
        return (x,)

    assert ParallelGroups()(note, [[x]], numbers=MIN_NUMBERS)[0][0] is x
    assert by == [threading.get_ident()]


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_of_either_reaches_the_one_who_asked(wrong: int) -> None:
    def refuse(x: Tensor) -> Tensors:
        if x.item() == wrong:
            raise ValueError(f"no {wrong}")
        return (x,)

    both = ParallelGroups()
    with pytest.raises(ValueError, match=f"no {wrong}"):
        both(refuse, [[torch.tensor(0.0)], [torch.tensor(1.0)]], numbers=MIN_NUMBERS)
    # And the next ones are done as if nothing had been.
    assert len(both(refuse, [[torch.tensor(2.0)], [torch.tensor(3.0)]], numbers=MIN_NUMBERS)) == 2


def test_an_error_waits_for_the_other_job() -> None:
    begun, gate, done = threading.Event(), threading.Event(), threading.Event()

    def work(x: Tensor) -> Tensors:
        if x.item() == 0.0:
            begun.wait(PATIENCE_S)
            threading.Timer(0.05, gate.set).start()
            raise ValueError("the first")
        begun.set()
        gate.wait(PATIENCE_S)
        done.set()
        return (x,)

    with pytest.raises(ValueError, match="the first"):
        ParallelGroups()(work, [[torch.tensor(0.0)], [torch.tensor(1.0)]], numbers=MIN_NUMBERS)
    assert done.is_set()


def large_memory(kind: Any) -> RecurrentMemory:
    memory = make_memory(
        MemoryConfig(kind=kind, size=128, layers=2), 2, 3, generator=torch.Generator()
    )
    assert isinstance(memory, RecurrentMemory)
    return memory


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("with_resets", [False, True])
def test_a_recurrent_policy_and_its_critic_are_to_the_bit_what_they_are_in_turn(
    kind: str, with_resets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = large_memory(kind)
    generator = torch.Generator().manual_seed(5)
    # 9 steps of 32 columns of 128 units: more than MIN_NUMBERS.
    hidden = torch.randn(2, 9 * 32, 3, generator=generator)
    state = torch.randn(32, memory.state_size, generator=generator)
    reset = torch.rand(9, 32, generator=generator) < (0.2 if with_resets else 0.0)

    def found() -> list[Tensor]:
        inputs = [hidden.clone().requires_grad_(), state.clone().requires_grad_()]
        output, after = memory(*inputs, reset)
        loss = (output * torch.linspace(-1, 1, 128)).sum() + after.square().sum()
        weights = list(memory.parameters())
        return [output, after, *torch.autograd.grad(loss, [*inputs, *weights])]

    at_once = found()
    monkeypatch.setattr("entrain.policy.parallel_groups.MIN_NUMBERS", 2**62)
    assert_same(at_once, found())


@pytest.mark.parametrize(("steps", "threads"), [(9, 2), (1, 1), (2, 1)])
def test_long_sequences_of_policy_and_critic_are_gone_through_at_once(
    steps: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = set()
    unroll = LSTMLayer.unroll

    def noted(*arguments: Any) -> Any:
        by.add(threading.get_ident())
        return unroll(*arguments)

    monkeypatch.setattr(LSTMLayer, "unroll", noted)
    memory = large_memory("lstm")
    # 2 x 32 x 128 numbers are too few, and a single step is not unrolled at all.
    memory(
        torch.ones(2, steps * 32, 3),
        torch.zeros(32, memory.state_size),
        torch.zeros(steps, 32, dtype=torch.bool),
    )
    assert len(by) == (0 if steps == 1 else threads)


def test_a_copy_computes_what_the_original_does() -> None:
    memory = large_memory("lstm")
    both = copy.deepcopy(memory), memory
    hidden, state = torch.ones(2, 9 * 32, 3), torch.zeros(32, memory.state_size)
    reset = torch.zeros(9, 32, dtype=torch.bool)
    outputs = [one(hidden, state, reset)[0] for one in both]
    assert torch.equal(*outputs)
