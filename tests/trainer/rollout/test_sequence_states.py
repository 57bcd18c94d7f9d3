"""The states that sequences are unrolled from: which rows' they are, through cuts and restarts.

The state before row t of slot s is written as (s, t), so that a wrong one says where it is from.
"""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.rollout.buffer import RolloutBuffer
from entrain.rollout.sequence_states import SequenceStates
from entrain.run.state_files import decode_state, encode_state
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType

SPEC = BehaviourSpec("b", (ObservationSpec("x", ()),), ActionSpec((-1.0,), (1.0,)))
MID = StepType.MID


def states_of(*, sequence_length: int, burn_in: int = 0, slots: int = 3) -> SequenceStates:
    states = SequenceStates(2, sequence_length=sequence_length, burn_in=burn_in)
    states.grow(slots)
    return states


def open_rows(states: SequenceStates, rows: dict[int, int]) -> None:
    """{slot: row}."""
    slot = np.array(list(rows), np.int64)
    row = np.array(list(rows.values()), np.int64)
    states.open(row, slot, np.stack([slot, row], -1).astype(np.float32))


@pytest.mark.parametrize(
    ("sequence_length", "burn_in", "starts"),
    [
        # Sequences of rows 0-3, 4-7 and 8-9.
        (4, 0, [0, 4, 8]),
        (4, 1, [0, 3, 7]),
        (4, 3, [0, 1, 5]),
        # The second one is unrolled from the top too.
        (4, 4, [0, 0, 4]),
        # A burn-in of more than two sequences.
        (2, 5, [0, 0, 0, 1, 3]),
        (1, 0, list(range(10))),
        (1, 1, [0, *range(9)]),
        (16, 3, [0]),
    ],
)
def test_each_sequence_has_the_state_before_the_row_it_is_unrolled_from(
    sequence_length: int, burn_in: int, starts: list[int]
) -> None:
    states = states_of(sequence_length=sequence_length, burn_in=burn_in)
    for row in range(10):
        open_rows(states, {2: row})
    taken = states.taken(num_rows=10, slots=np.array([2]))
    assert taken[:, 0].tolist() == [[2.0, row] for row in starts]


def test_slots_that_are_at_different_rows_are_kept_apart() -> None:
    states = states_of(sequence_length=2)
    for row in range(5):
        open_rows(states, {1: row, 0: row // 2, 2: 0})
    taken = states.taken(num_rows=5, slots=np.array([0, 1]))
    assert taken[:, 1].tolist() == [[1.0, 0.0], [1.0, 2.0], [1.0, 4.0]]
    assert taken[:2, 0].tolist() == [[0.0, 0.0], [0.0, 2.0]]


def test_a_row_that_is_opened_again_has_the_state_of_the_second_time() -> None:
    states = states_of(sequence_length=3)
    states.open(np.array([3]), np.array([0]), np.array([[7.0, 7.0]], np.float32))
    states.open(np.array([3]), np.array([0]), np.array([[8.0, 9.0]], np.float32))
    assert states.taken(num_rows=4, slots=np.array([0]))[1, 0].tolist() == [8.0, 9.0]


@pytest.mark.parametrize("burn_in", [0, 2, 3])
def test_an_open_step_that_is_carried_to_the_top_takes_its_state_along(burn_in: int) -> None:
    states = states_of(sequence_length=3, burn_in=burn_in)
    for row in range(6):
        open_rows(states, {0: row, 1: row // 2})
    states.carry(np.array([0, 1]))
    for row in (1, 2, 3):
        states.open(np.array([row]), np.array([0]), np.array([[50.0, row]], np.float32))
    taken = states.taken(num_rows=4, slots=np.array([0, 1]))
    # Slot 0's open step was at row 5, slot 1's at row 2.
    assert taken[0].tolist() == [[0.0, 5.0], [1.0, 2.0]]
    second = {0: [50.0, 3.0], 2: [50.0, 1.0], 3: [0.0, 5.0]}[burn_in]
    assert taken[1, 0].tolist() == second


def test_without_memory_there_is_nothing_and_any_rollout_has_one_empty_state_a_sequence() -> None:
    states = SequenceStates(0, sequence_length=16, burn_in=0)
    states.grow(2)
    states.open(np.array([0, 40]), np.array([0, 1]), np.zeros((2, 0), np.float32))
    states.carry(np.array([0]))
    assert states.is_empty
    assert states.taken(num_rows=41, slots=np.array([0, 1])).shape == (3, 2, 0)
    assert states.taken(num_rows=0, slots=np.zeros(0, np.int64)).shape == (1, 0, 0)


def test_states_of_other_sequences_are_refused_with_the_remedy() -> None:
    then = states_of(sequence_length=16, burn_in=4)
    now = states_of(sequence_length=16)
    with pytest.raises(
        CheckpointError, match=r"sequence_length 16 and memory.burn_in 4, .*16 and 0"
    ):
        now.load_state(then.state(), num_slots=3)


def test_without_memory_the_length_of_sequences_may_change_at_a_restart() -> None:
    then, now = (SequenceStates(0, sequence_length=n, burn_in=0) for n in (8, 16))
    now.load_state(then.state(), num_slots=0)
    assert now.taken(num_rows=17, slots=np.zeros(0, np.int64)).shape == (2, 0, 0)


def test_a_checkpoint_holds_no_reference_to_what_happens_later() -> None:
    states = states_of(sequence_length=2)
    open_rows(states, {0: 0, 1: 2})
    at_its_time = states.state()
    copy = decode_state(*encode_state(at_its_time))
    open_rows(states, {0: 0, 1: 4, 2: 6})
    states.open(np.array([0]), np.array([0]), np.full((1, 2), 5.0, np.float32))
    np.testing.assert_equal(at_its_time, copy)


@pytest.fixture(autouse=True, scope="module")
def _fresh_storage_is_loud() -> Iterator[None]:
    def poisoned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.full(shape, 1e9, dtype)

    with mock.patch("entrain.rollout.sequence_states.allocate", poisoned):
        yield


class Column:
    """One slot of a buffer: the states before its steps, in a list."""

    def __init__(self) -> None:
        self.closed: list[float] = []
        self.open: float | None = None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from(["wait", "step", "drop", "close"]), min_size=1, max_size=4),
            st.sampled_from(["cut", "reload"]),
        ),
        max_size=60,
    ),
    st.integers(1, 4),
    st.integers(0, 4),
)
def test_a_buffers_sequences_begin_with_the_states_of_their_rows_whatever_the_interleaving(
    story: list[list[str] | str], sequence_length: int, burn_in: int
) -> None:
    burn_in = min(burn_in, sequence_length)

    def empty() -> RolloutBuffer:
        return RolloutBuffer(SPEC, state_size=1, sequence_length=sequence_length, burn_in=burn_in)

    buffer, columns = empty(), [Column() for _ in range(4)]
    for chapter, events in enumerate([*story, "cut"], start=1):
        if events == "cut":
            assert_begin_with_their_states(
                buffer, columns, sequence_length=sequence_length, burn_in=burn_in
            )
        elif events == "reload":
            state, buffer = buffer.state(), empty()
            buffer.load_state(decode_state(*encode_state(state)))
        else:
            live(buffer, columns, list(events), chapter)


def live(buffer: RolloutBuffer, columns: list[Column], events: list[str], chapter: int) -> None:
    """Event i happens to slot i: it is in state 10 * chapter + i before what it opens now."""
    buffer.grow(len(events))
    buffer.drop(np.array([s for s, event in enumerate(events) if event == "drop"], np.int64))
    for column, event in zip(columns, events, strict=False):
        if event == "drop":
            column.open = None
    closing = [
        s
        for s, event in enumerate(events)
        if event in {"step", "close"} and columns[s].open is not None
    ]
    for column in (columns[s] for s in closing):
        assert column.open is not None
        column.closed.append(column.open)
        column.open = None
    count = len(closing)
    buffer.close(
        np.array(closing, np.int64),
        step_type=np.full(count, MID, np.uint8),
        reward=np.zeros(count, np.float32),
        value=np.zeros((count, 1), np.float32),
    )
    opening = np.array([s for s, event in enumerate(events) if event == "step"], np.int64)
    open_in_buffer(buffer, opening, (10.0 * chapter + opening)[:, None].astype(np.float32))
    for slot in opening.tolist():
        columns[slot].open = 10.0 * chapter + slot


def open_in_buffer(buffer: RolloutBuffer, slot: Any, state: Any) -> None:
    count = len(slot)
    buffer.open(
        slot,
        observation={"x": np.zeros(count, np.float32)},
        action={"continuous": np.zeros((count, 1), np.float32)},
        action_mask=np.ones((count, 0), np.bool_),
        log_prob=np.zeros(count, np.float32),
        value=np.zeros((count, 1), np.float32),
        reset=np.zeros(count, np.bool_),
        recurrent_state=state,
        policy_version=0,
    )


def assert_begin_with_their_states(
    buffer: RolloutBuffer, columns: list[Column], *, sequence_length: int, burn_in: int
) -> None:
    rollout = buffer.cut()
    present = [column for column in columns if column.closed]
    longest = max((len(column.closed) for column in present), default=0)
    count = max(1, -(-longest // sequence_length))
    assert rollout.sequence_state.shape == (count, len(present), 1)
    for b, column in enumerate(present):
        for q, top in enumerate(range(0, len(column.closed), sequence_length)):
            before = column.closed[max(0, top - burn_in)]
            assert rollout.sequence_state[q, b].item() == before
    for column in columns:
        column.closed = []
