"""Minibatches of sequences: every valid step once an epoch, in order, behind its own state."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coded_rollouts import LEAK, coded_rollout, codes_of_steps
from entrain.algorithms.minibatches import SequenceMinibatches
from entrain.experience import Estimate, Minibatch, Rollout

NAN = float("nan")
MANY_SEQUENCES = 40


def minibatches_of(
    rollout: Rollout, *, sequence_length: int, burn_in: int = 0, size: int = 10_000
) -> SequenceMinibatches:
    return SequenceMinibatches(
        rollout,
        Estimate(rollout.log_prob + 2.0, rollout.value + 2.0),
        sequence_length=sequence_length,
        burn_in=burn_in,
        sequence_state=lambda: rollout.sequence_state,
        size=size,
        device=torch.device("cpu"),
    )


def coded(lengths: Sequence[int], filler: float = LEAK) -> Rollout:
    return coded_rollout(list(lengths), filler, sequences=MANY_SEQUENCES)


@dataclass(frozen=True)
class Found:
    """One sequence of a minibatch, as codes: 100 * b + t of steps, 1000 * q + b of states."""

    steps: tuple[int, ...]
    state: int
    burn_in: tuple[int, ...]


def found_in(minibatch: Minibatch) -> list[Found]:
    codes = codes_of_steps(minibatch)
    before = dict.fromkeys(range(codes.shape[1]), ())
    burn_in = minibatch.burn_in
    for w, sequence in enumerate(burn_in.sequence.tolist()):
        code = burn_in.observation["vector"][:, w, 0]
        assert torch.equal(burn_in.observation["scalar"][:, w], code + 1.0)
        assert torch.equal(burn_in.reset[:, w], code.long() % 2 == 0)
        before[sequence] = tuple(code.long().tolist())
    found = []
    for m, column in enumerate(codes.t().tolist()):
        steps = tuple(code for code in column if code >= 0)
        # Padding is at the end.
        assert column == [*steps, *[-1] * (len(column) - len(steps))]
        found.append(Found(steps, int(minibatch.initial_state[m, 0]), before[m]))
    return found


def found_in_epoch(minibatches: SequenceMinibatches, seed: int = 0) -> list[Found]:
    epoch = minibatches.epoch(torch.Generator().manual_seed(seed))
    return [found for minibatch in epoch for found in found_in(minibatch)]


def expected(lengths: Sequence[int], sequence_length: int, burn_in: int) -> set[Found]:
    """By loops over columns and multiples of the sequence length."""
    sequences = set()
    for b, length in enumerate(lengths):
        for q, top in enumerate(range(0, length, sequence_length)):
            rows = range(top, min(top + sequence_length, length))
            rows_before = range(top - burn_in, top) if q > 0 else ()
            sequences.add(
                Found(
                    tuple(100 * b + t for t in rows),
                    1000 * q + b,
                    tuple(100 * b + t for t in rows_before),
                )
            )
    return sequences


columns = st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any)


@settings(max_examples=80)
@given(columns, st.integers(1, 14), st.integers(1, 30), st.sampled_from([LEAK, NAN]), st.data())
def test_an_epoch_visits_every_sequence_once_behind_its_state_and_burn_in(
    lengths: list[int], sequence_length: int, size: int, filler: float, data: st.DataObject
) -> None:
    burn_in = data.draw(st.integers(0, sequence_length), label="burn_in")
    minibatches = minibatches_of(
        coded(lengths, filler), sequence_length=sequence_length, burn_in=burn_in, size=size
    )
    found = found_in_epoch(minibatches)
    assert len(found) == len(set(found))
    assert set(found) == expected(lengths, sequence_length, burn_in)
    for minibatch in minibatches.epoch(torch.Generator()):
        assert minibatch.is_padded == (not minibatch.mask.all())


def test_a_column_of_seven_steps_in_sequences_of_three_by_hand() -> None:
    # Column 0 has steps 0-6, column 1 steps 100-101; burn-in is the two steps before a cut.
    minibatches = minibatches_of(coded([7, 2]), sequence_length=3, burn_in=2)
    (minibatch,) = minibatches.epoch(torch.Generator())
    assert minibatch.mask.shape == (3, 4)
    assert int(minibatch.mask.sum()) == 9
    assert set(found_in(minibatch)) == {
        Found((0, 1, 2), state=0, burn_in=()),
        Found((3, 4, 5), state=1000, burn_in=(1, 2)),
        Found((6,), state=2000, burn_in=(4, 5)),
        Found((100, 101), state=1, burn_in=()),
    }


def test_sequences_of_one_step_are_steps_with_a_state_each() -> None:
    found = found_in_epoch(minibatches_of(coded([3]), sequence_length=1, burn_in=1))
    assert set(found) == {
        Found((0,), state=0, burn_in=()),
        Found((1,), state=1000, burn_in=(0,)),
        Found((2,), state=2000, burn_in=(1,)),
    }


def test_sequences_longer_than_the_rollout_are_its_columns_without_padding_beyond_them() -> None:
    (minibatch,) = minibatches_of(coded([4, 6]), sequence_length=100, burn_in=50).epoch(
        torch.Generator()
    )
    assert minibatch.mask.shape == (6, 2)
    assert set(found_in(minibatch)) == {
        Found((0, 1, 2, 3), state=0, burn_in=()),
        Found((100, 101, 102, 103, 104, 105), state=1, burn_in=()),
    }


def test_rows_below_the_longest_column_make_no_sequence_and_no_row() -> None:
    tall = coded([12, 12])
    rows = torch.arange(12)[:, None]
    short = Rollout(**{**vars(tall), "valid": rows < torch.tensor([5, 3])})
    (minibatch,) = minibatches_of(short, sequence_length=6).epoch(torch.Generator())
    assert minibatch.mask.shape == (5, 2)


# How large minibatches are


@settings(max_examples=60)
@given(columns, st.integers(1, 14), st.integers(1, 40))
def test_their_number_is_counted_by_valid_steps_and_they_have_equally_many_sequences(
    lengths: list[int], sequence_length: int, size: int
) -> None:
    minibatches = minibatches_of(coded(lengths), sequence_length=sequence_length, size=size)
    epoch = list(minibatches.epoch(torch.Generator()))
    sizes = [minibatch.mask.shape[1] for minibatch in epoch]
    sequences = len(expected(lengths, sequence_length, 0))
    wanted = max(1, round(sum(lengths) / size))
    assert len(epoch) == len(minibatches) == min(wanted, sequences)
    assert sum(sizes) == sequences
    assert max(sizes) - min(sizes) <= 1


def test_padding_is_not_counted_when_minibatches_are() -> None:
    # 64 + 16 * 1 = 80 valid steps are two minibatches of 40; the 17 * 64 = 1088 cells that they
    # take up would be 27.
    ragged = minibatches_of(coded([64, *[1] * 16]), sequence_length=64, size=40)
    assert len(ragged) == 2


def test_a_minibatch_has_at_least_one_sequence_however_long() -> None:
    minibatches = minibatches_of(coded([12, 12]), sequence_length=12, size=2)
    assert len(minibatches) == 2
    assert [m.mask.sum().item() for m in minibatches.epoch(torch.Generator())] == [12, 12]


# In which order


def test_each_epoch_has_its_own_order_and_the_generator_decides_it() -> None:
    minibatches = minibatches_of(coded([30, 30]), sequence_length=2, size=10)

    def two_epochs(seed: int) -> list[list[Found]]:
        generator = torch.Generator().manual_seed(seed)
        return [
            [found for minibatch in minibatches.epoch(generator) for found in found_in(minibatch)]
            for _ in range(2)
        ]

    first, second = two_epochs(seed=1)
    assert first != second
    assert first != sorted(first, key=lambda found: found.steps)
    assert two_epochs(seed=1) == [first, second]
    assert two_epochs(seed=2) != [first, second]


def test_states_are_asked_for_before_every_epoch() -> None:
    rollout = coded([4, 4])
    asked: list[int] = []

    def sequence_state() -> torch.Tensor:
        asked.append(1)
        return rollout.sequence_state + 0.25 * len(asked)

    minibatches = SequenceMinibatches(
        rollout,
        Estimate(rollout.log_prob, rollout.value),
        sequence_length=2,
        burn_in=0,
        sequence_state=sequence_state,
        size=2,
        device=torch.device("cpu"),
    )
    generator = torch.Generator()
    for epoch in (1, 2):
        states = torch.cat([m.initial_state for m in minibatches.epoch(generator)])
        assert set((states - states.floor()).flatten().tolist()) == {0.25 * epoch}
    assert len(asked) == 2


# Beyond sequences


def test_all_valid_steps_are_there_for_statistics() -> None:
    all_steps = minibatches_of(coded([3, 0, 2], NAN), sequence_length=2).all_steps
    assert codes_of_steps(all_steps).tolist() == [[0, 200, 1, 201, 2]]


def test_a_rollout_without_a_step_is_refused() -> None:
    rollout = coded([3])
    empty = Rollout(**{**vars(rollout), "valid": torch.zeros_like(rollout.valid)})
    with pytest.raises(ValueError, match="no valid step; there is nothing to learn from"):
        minibatches_of(empty, sequence_length=2)


def test_a_rollout_with_fewer_states_than_sequences_is_refused() -> None:
    rollout = coded_rollout([7], sequences=2)
    with pytest.raises(ValueError, match="states of 2 sequences, but makes 3 of at most 3 steps"):
        minibatches_of(rollout, sequence_length=3)
