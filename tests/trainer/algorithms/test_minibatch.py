"""Minibatches: every valid step once an epoch, every row in agreement with itself."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.minibatch import StepMinibatches
from entrain.experience import Minibatch, Rollout

LEAK = 1e9


def coded_rollout(lengths: list[int], filler: float = LEAK) -> Rollout:
    """Each field of step t of column b says 100 * b + t, in its own way."""
    rows = max(lengths)
    code = torch.arange(rows)[:, None] + 100.0 * torch.arange(len(lengths))
    valid = torch.arange(rows)[:, None] < torch.tensor(lengths)

    def coded(x: Tensor) -> Tensor:
        shape = (*valid.shape, *[1] * (x.dim() - 2))
        return torch.where(valid.view(shape), x, torch.tensor(filler).to(x.dtype))

    return Rollout(
        observation={
            "vector": coded(torch.stack([code, code + 0.5], dim=-1)),
            "scalar": coded(code + 1.0),
        },
        action={"continuous": coded(code[..., None] + 2.0), "discrete": code[..., None].long()},
        action_mask=(code[..., None].long() >> torch.arange(12)) % 2 == 1,
        log_prob=coded(code + 3.0),
        value=coded(code + 4.0),
        reward=coded(code),
        next_value=coded(code),
        boundary=valid & False,
        reset=code.long() % 2 == 0,
        valid=valid,
        policy_version=code.long(),
        initial_state=torch.zeros(len(lengths), 0),
    )


def minibatches_of(rollout: Rollout, size: int) -> StepMinibatches:
    return StepMinibatches(
        rollout,
        advantage=rollout.log_prob + 2.0,
        return_=rollout.value + 2.0,
        size=size,
        device=torch.device("cpu"),
    )


def codes(minibatch: Minibatch) -> list[int]:
    """The codes of its steps, after every field was held against them."""
    code = minibatch.observation["vector"][..., 0]
    assert torch.equal(minibatch.observation["vector"][..., 1], code + 0.5)
    assert torch.equal(minibatch.observation["scalar"], code + 1.0)
    assert torch.equal(minibatch.action["continuous"][..., 0], code + 2.0)
    assert torch.equal(minibatch.action["discrete"][..., 0], code.long())
    bits = (minibatch.action_mask.long() << torch.arange(12)).sum(-1)
    assert torch.equal(bits, code.long())
    assert torch.equal(minibatch.log_prob, code + 3.0)
    assert torch.equal(minibatch.value, code + 4.0)
    assert torch.equal(minibatch.advantage, code + 5.0)
    assert torch.equal(minibatch.return_, code + 6.0)
    assert torch.equal(minibatch.reset, code.long() % 2 == 0)
    assert bool(minibatch.mask.all())
    assert minibatch.initial_state.shape == (minibatch.mask.shape[1], 0)
    return [int(number) for number in code.flatten()]


columns = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@settings(max_examples=60)
@given(columns, st.integers(1, 20), st.sampled_from([LEAK, float("nan")]))
def test_an_epoch_visits_every_valid_step_once_and_no_padding(
    lengths: list[int], size: int, filler: float
) -> None:
    minibatches = minibatches_of(coded_rollout(lengths, filler), size)
    visited = [
        code
        for minibatch in minibatches.epoch(torch.Generator().manual_seed(0))
        for code in codes(minibatch)
    ]
    expected = [100 * b + t for b, length in enumerate(lengths) for t in range(length)]
    assert sorted(visited) == expected


@given(st.integers(1, 500), st.integers(1, 64))
def test_minibatches_are_equally_large_and_as_near_to_the_size_as_can_be(
    num_steps: int, size: int
) -> None:
    minibatches = minibatches_of(coded_rollout([num_steps]), size)
    sizes = [m.mask.shape[1] for m in minibatches.epoch(torch.Generator())]
    assert len(sizes) == len(minibatches)
    assert sum(sizes) == num_steps
    assert max(sizes) - min(sizes) <= 1
    # Their number differs from num_steps / size by at most a half.
    assert abs(num_steps / size - len(sizes)) <= 0.5 or sizes == [num_steps]


def test_a_rollout_of_2050_steps_leaves_no_minibatch_of_two() -> None:
    minibatches = minibatches_of(coded_rollout([2050]), 64)
    sizes = [m.mask.shape[1] for m in minibatches.epoch(torch.Generator())]
    assert len(sizes) == 32
    assert set(sizes) == {64, 65}


def test_fewer_steps_than_a_minibatch_are_one_minibatch() -> None:
    minibatches = minibatches_of(coded_rollout([3, 2]), 64)
    assert [len(codes(m)) for m in minibatches.epoch(torch.Generator())] == [5]


def test_each_epoch_has_its_own_order_and_the_generator_decides_it() -> None:
    minibatches = minibatches_of(coded_rollout([30, 30]), 60)

    def two_epochs(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [codes(next(minibatches.epoch(generator))) for _ in range(2)]

    first, second = two_epochs(seed=1)
    assert first != second
    assert first != sorted(first)
    assert two_epochs(seed=1) == [first, second]
    assert two_epochs(seed=2) != [first, second]


def test_shuffling_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(minibatches_of(coded_rollout([9]), 4).epoch(torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_rollout_without_a_step_is_refused() -> None:
    rollout = coded_rollout([3])
    empty = replace(rollout, valid=torch.zeros_like(rollout.valid))
    with pytest.raises(ValueError, match="no valid step; there is nothing to learn from"):
        minibatches_of(empty, 4)
