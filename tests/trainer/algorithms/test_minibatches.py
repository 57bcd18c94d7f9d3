"""Minibatches hold every valid step once an epoch, with all fields of one row from one step."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coded_rollouts import LEAK, coded_rollout, codes_of_steps
from entrain.algorithms import minibatches as minibatches_module
from entrain.algorithms.minibatches import StepMinibatches
from entrain.experience import Estimate, Minibatch, Rollout


def minibatches_of(rollout: Rollout, size: int) -> StepMinibatches:
    return StepMinibatches(
        rollout,
        Estimate(rollout.log_prob + 2.0, rollout.value + 2.0),
        size=size,
        device=torch.device("cpu"),
    )


def codes(minibatch: Minibatch) -> list[int]:
    """The codes of its steps, after every field was held against them."""
    code = codes_of_steps(minibatch)
    assert bool(minibatch.mask.all())
    assert minibatch.initial_state.shape == (minibatch.mask.shape[1], 0)
    assert len(minibatch.burn_in.sequence) == 0
    return code[0].tolist()


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


@pytest.mark.parametrize("max_bytes", [1, 200, 2000])
def test_a_rollout_too_large_to_copy_is_gathered_some_minibatches_at_a_time(
    max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What fits is one gather for an epoch, of which minibatches are views; what does not is more.
    minibatches = minibatches_of(coded_rollout([30, 30]), 6)
    in_one_go = list(minibatches.epoch(torch.Generator().manual_seed(0)))
    assert len({m.steps.log_prob.untyped_storage().data_ptr() for m in in_one_go}) == 1
    monkeypatch.setattr(minibatches_module, "MAX_GATHERED_BYTES", max_bytes)
    in_pieces = list(minibatches.epoch(torch.Generator().manual_seed(0)))
    assert len({m.steps.log_prob.untyped_storage().data_ptr() for m in in_pieces}) > 1
    assert [codes(m) for m in in_pieces] == [codes(m) for m in in_one_go]


def test_a_rollout_without_a_step_is_refused() -> None:
    rollout = coded_rollout([3])
    empty = replace(rollout, valid=torch.zeros_like(rollout.valid))
    with pytest.raises(ValueError, match="no valid step; there is nothing to learn from"):
        minibatches_of(empty, 4)
