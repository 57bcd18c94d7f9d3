"""The buffer against lists of dictionaries, with (slot, step) written into every field."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.experience import Rollout, rollout_of
from entrain.rollout.buffer import RolloutBuffer
from entrain.rollout.ledger import Ledger
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType

SPEC = BehaviourSpec(
    "walker",
    (ObservationSpec("position", (2,)), ObservationSpec("camera", (2, 2), "uint8")),
    ActionSpec((-1.0,), (1.0,), (3, 4)),
)
MID, TERMINATED, TRUNCATED = StepType.MID, StepType.TERMINATED, StepType.TRUNCATED
Step = dict[str, Any]


def numbers(code: int) -> Step:
    """What `open_steps` writes for the step of that code."""
    return {
        "observation": {
            "position": np.array([code, -code], np.float32),
            "camera": np.full((2, 2), code % 251, np.uint8),
        },
        "action": {
            "continuous": np.array([code + 0.25], np.float32),
            "discrete": np.array([code, code + 1], np.int64),
        },
        "action_mask": (code >> np.arange(7)) % 2 == 1,
        "log_prob": np.float32(-code),
        "value": np.array([code + 0.5, -code], np.float32),
        "reset": code % 3 == 0,
        "policy_version": code // 10,
    }


def open_steps(buffer: RolloutBuffer, slots: Sequence[int], codes: Sequence[int]) -> None:
    """Open a step for each slot; all codes of one call share their policy version."""
    steps = [numbers(code) for code in codes]
    buffer.open(
        np.array(slots, np.int64),
        observation={
            name: np.stack([step["observation"][name] for step in steps])
            for name in ("position", "camera")
        },
        action={
            name: np.stack([step["action"][name] for step in steps])
            for name in ("continuous", "discrete")
        },
        action_mask=np.stack([step["action_mask"] for step in steps]),
        log_prob=np.stack([step["log_prob"] for step in steps]),
        value=np.stack([step["value"] for step in steps]),
        reset=np.stack([step["reset"] for step in steps]),
        recurrent_state=np.zeros((len(slots), 0), np.float32),
        policy_version=codes[0] // 10,
    )


def close_steps(
    buffer: RolloutBuffer, slots: Sequence[int], codes: Sequence[int], kinds: Sequence[StepType]
) -> None:
    """Close the open step of each slot with reward code / 8 and values code + 100, -code."""
    buffer.close(
        np.array(slots, np.int64),
        step_type=np.array(kinds, np.uint8),
        reward=np.array([code / 8 for code in codes], np.float32),
        value=np.array([[code + 100, -code] for code in codes], np.float32).reshape(-1, 2),
    )


def outcome(code: int, kind: StepType) -> Step:
    return {
        "reward": np.float32(code / 8),
        "next_value": np.array([0, 0] if kind is TERMINATED else [code + 100, -code], np.float32),
        "boundary": kind is not MID,
    }


def assert_is_step(rollout: Rollout, row: int, column: int, step: Step) -> None:
    for name, expected in step.items():
        arrived = getattr(rollout, name)
        pairs = (
            [(arrived[key], expected[key]) for key in expected]
            if isinstance(expected, dict)
            else [(arrived, expected)]
        )
        for tensor, value in pairs:
            np.testing.assert_array_equal(tensor[row, column].numpy(), value, err_msg=name)


def assert_is_rollout(rollout: Rollout, columns: Sequence[Sequence[Step]]) -> None:
    """Each column holds these steps and nothing else is called valid."""
    lengths = [len(column) for column in columns]
    expected_valid = np.arange(max(lengths, default=0))[:, None] < np.array(lengths, np.int64)
    np.testing.assert_array_equal(rollout.valid.numpy(), expected_valid)
    for b, column in enumerate(columns):
        for t, step in enumerate(column):
            assert_is_step(rollout, t, b, step)


@pytest.fixture
def buffer() -> RolloutBuffer:
    buffer = RolloutBuffer(SPEC, num_values=2)
    buffer.grow(3)
    return buffer


def test_a_closed_step_holds_what_opened_it_and_what_closed_it(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [2, 0], [20, 21])
    close_steps(buffer, [0, 2], [31, 32], [MID, TRUNCATED])
    # Column 0 is slot 0, column 1 is slot 2; slot 1 has no step and so no column. Slot 0's episode
    # goes on, but its column ends here, so that is a boundary too.
    assert_is_rollout(
        buffer.cut(),
        [
            [{**numbers(21), **outcome(31, MID), "boundary": True}],
            [{**numbers(20), **outcome(32, TRUNCATED)}],
        ],
    )


def test_a_step_is_late_if_its_outcome_says_so(buffer: RolloutBuffer) -> None:
    # Batches with late rows and batches without are written together.
    for late in ([True, False], None, [False, True], None):
        open_steps(buffer, [0, 2], [20, 21])
        buffer.close(
            np.array([0, 2]),
            step_type=np.full(2, MID, np.uint8),
            reward=np.zeros(2, np.float32),
            value=np.zeros((2, 2), np.float32),
            late=None if late is None else np.array(late),
        )
    assert buffer.cut().late.int().tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]


def test_steps_of_before_there_were_deadlines_are_not_late(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0], [20])
    close_steps(buffer, [0], [31], [MID])
    state = dict(buffer.state())
    state["columns"] = {name: each for name, each in state["columns"].items() if name != "late"}
    buffer.load_state(state)
    rollout = buffer.cut()
    assert rollout.late.tolist() == [[False]]
    saved = {name: each for name, each in rollout.state().items() if name != "late"}
    assert rollout_of(saved).late.tolist() == [[False]]


def test_the_future_after_termination_is_worth_zero_whatever_the_critic_says(
    buffer: RolloutBuffer,
) -> None:
    open_steps(buffer, [0, 1, 2], [10, 11, 12])
    buffer.close(
        np.array([0, 1, 2]),
        step_type=np.array([TERMINATED, TRUNCATED, MID], np.uint8),
        reward=np.zeros(3, np.float32),
        value=np.array([[np.nan, np.inf], [5.0, 7.0], [6.0, 8.0]], np.float32),
    )
    assert buffer.cut().next_value.tolist() == [[[0.0, 0.0], [5.0, 7.0], [6.0, 8.0]]]


def test_an_open_step_waits_through_a_cut_and_is_the_first_row_of_the_next(
    buffer: RolloutBuffer,
) -> None:
    open_steps(buffer, [1], [10])
    close_steps(buffer, [1], [11], [MID])
    open_steps(buffer, [1], [12])
    first = buffer.cut()
    assert_is_rollout(first, [[{**numbers(10), **outcome(11, MID), "boundary": True}]])
    assert buffer.num_closed == 0
    close_steps(buffer, [1], [13], [TERMINATED])
    assert_is_rollout(buffer.cut(), [[{**numbers(12), **outcome(13, TERMINATED)}]])


def test_a_rollout_never_changes_after_it_was_handed_out(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0, 1, 2], [10, 11, 12])
    close_steps(buffer, [0, 1, 2], [20, 21, 22], [MID, MID, MID])
    rollout = buffer.cut()
    before = {name: value.copy() for name, value in flat(rollout).items()}
    for code in range(50, 90, 10):
        open_steps(buffer, [0, 1, 2], [code, code + 1, code + 2])
        close_steps(buffer, [0, 1, 2], [code] * 3, [TERMINATED] * 3)
    buffer.cut()
    for name, value in flat(rollout).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_rollout_can_be_learned_from(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0], [10])
    close_steps(buffer, [0], [11], [MID])
    rollout = buffer.cut()
    weight = torch.ones((), requires_grad=True)
    loss = (weight * rollout.value[..., 0] * rollout.reward).sum()
    torch.autograd.backward(loss)
    assert weight.grad is not None
    assert weight.grad.item() == 10.5 * 11 / 8
    assert not rollout.reward.is_inference()


def test_a_dropped_step_ends_the_sequence_before_it_and_is_in_no_rollout(
    buffer: RolloutBuffer,
) -> None:
    open_steps(buffer, [0], [10])
    close_steps(buffer, [0], [11], [MID])
    open_steps(buffer, [0], [12])
    buffer.drop(np.array([0, 1]))
    open_steps(buffer, [0], [13])
    close_steps(buffer, [0], [14], [MID])
    # The value of the dropped step's observation, code 11 + 100, stays as the first's next value.
    rollout = buffer.cut()
    assert_is_rollout(
        rollout,
        [
            [
                {**numbers(10), **outcome(11, MID), "boundary": True},
                {**numbers(13), **outcome(14, MID), "boundary": True},
            ]
        ],
    )
    assert buffer.ledger == Ledger(opened=3, closed=2, dropped=1)


def test_dropping_slots_without_an_open_step_changes_nothing(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0], [10])
    close_steps(buffer, [0], [11], [MID])
    before = buffer.state()
    buffer.drop(np.array([0, 1, 2]))
    np.testing.assert_equal(buffer.state(), before)


def test_a_step_dropped_right_after_a_cut_leaves_other_columns_alone(
    buffer: RolloutBuffer,
) -> None:
    # Slot 2's step is carried to row 0; "the row before it" must not wrap around to the last row.
    open_steps(buffer, [0, 2], [10, 11])
    close_steps(buffer, [0], [12], [MID])
    open_steps(buffer, [0], [13])
    buffer.cut()
    buffer.drop(np.array([2]))
    for code in (20, 30, 40):
        close_steps(buffer, [0], [code], [MID])
        open_steps(buffer, [0], [code])
    assert buffer.cut().boundary.tolist() == [[False], [False], [True]]


def test_opening_a_slot_that_is_open_drops_the_step_it_had(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0], [10])
    open_steps(buffer, [0], [11])
    close_steps(buffer, [0], [12], [MID])
    assert_is_rollout(buffer.cut(), [[{**numbers(11), **outcome(12, MID), "boundary": True}]])
    assert buffer.ledger == Ledger(opened=2, closed=1, dropped=1)


def test_a_ledger_stays_as_it_was_when_it_was_taken(buffer: RolloutBuffer) -> None:
    buffer.grow(2)
    open_steps(buffer, [0], [1])
    ledger = buffer.ledger
    open_steps(buffer, [1], [2])
    close_steps(buffer, [0], [1], [StepType.MID])
    buffer.drop(np.array([1]))
    assert ledger == Ledger(opened=1)
    assert buffer.ledger == Ledger(opened=2, closed=1, dropped=1)


def test_cutting_with_nothing_closed_gives_a_rollout_without_columns(
    buffer: RolloutBuffer,
) -> None:
    open_steps(buffer, [0], [10])
    rollout = buffer.cut()
    assert rollout.valid.shape == (0, 0)
    assert rollout.num_steps == 0
    close_steps(buffer, [0], [11], [TRUNCATED])
    assert_is_rollout(buffer.cut(), [[{**numbers(10), **outcome(11, TRUNCATED)}]])


def test_a_behaviour_without_branches_has_no_discrete_action() -> None:
    spec = BehaviourSpec("b", (ObservationSpec("x", ()),), ActionSpec((-1.0,), (1.0,)))
    buffer = RolloutBuffer(spec)
    buffer.grow(1)
    rollout = buffer.cut()
    assert list(rollout.action) == ["continuous"]
    assert rollout.action_mask.shape == (0, 0, 0)


EVENTS = ("skip", "mid", "terminated", "truncated", "drop", "only close")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from(EVENTS), min_size=1, max_size=6),
            st.just("cut"),
            st.just("reload"),
        ),
        max_size=40,
    )
)
def test_every_closed_step_is_in_exactly_one_rollout_whatever_the_interleaving(
    story: list[list[str] | str],
) -> None:
    buffer, lists = RolloutBuffer(SPEC, num_values=2), StepsInLists()
    for code, chapter in enumerate(story, start=1):
        if chapter == "cut":
            assert_is_rollout(buffer.cut(), lists.cut())
        elif chapter == "reload":
            state, buffer = buffer.state(), RolloutBuffer(SPEC, num_values=2)
            buffer.load_state(state)
        else:
            lists.live(buffer, list(chapter), 10 * code)
        assert buffer.num_closed == lists.num_closed
        assert buffer.ledger.open == np.count_nonzero(buffer.is_open) == len(lists.open)
    assert_is_rollout(buffer.cut(), lists.cut())
    assert lists.closed == buffer.ledger.closed


class StepsInLists:
    """The same bookkeeping, one slot at a time, with nothing clever."""

    def __init__(self) -> None:
        self.open: dict[int, Step] = {}
        self.columns: dict[int, list[Step]] = {}
        self.closed = 0

    @property
    def num_closed(self) -> int:
        return sum(len(column) for column in self.columns.values())

    def live(self, buffer: RolloutBuffer, events: list[str], code: int) -> None:
        """Event i happens to slot i, in the buffer and in the lists."""
        buffer.grow(len(events))
        dropped = [slot for slot, event in enumerate(events) if event == "drop"]
        buffer.drop(np.array(dropped, np.int64))
        for slot in dropped:
            if self.open.pop(slot, None) and self.columns.get(slot):
                self.columns[slot][-1]["boundary"] = True
        kinds = {"mid": MID, "terminated": TERMINATED, "truncated": TRUNCATED, "only close": MID}
        closing = [s for s, event in enumerate(events) if event in kinds and s in self.open]
        close_steps(
            buffer, closing, [code + s for s in closing], [kinds[events[s]] for s in closing]
        )
        for slot in closing:
            step = {**self.open.pop(slot), **outcome(code + slot, kinds[events[slot]])}
            self.columns.setdefault(slot, []).append(step)
            self.closed += 1
        opening = [s for s, event in enumerate(events) if event in {"mid", "terminated"}]
        if opening:
            open_steps(buffer, opening, [code + slot for slot in opening])
            self.open.update({slot: numbers(code + slot) for slot in opening})

    def cut(self) -> list[list[Step]]:
        columns = [self.columns[slot] for slot in sorted(self.columns)]
        for column in columns:
            column[-1]["boundary"] = True
        self.columns = {}
        return columns


def test_storage_grows_to_any_number_of_rows_and_slots() -> None:
    buffer = RolloutBuffer(SPEC, num_values=2)
    for slot in range(9):
        buffer.grow(slot + 1)
        for step in range(3 * slot):
            open_steps(buffer, [slot], [100 * slot + step])
            close_steps(buffer, [slot], [100 * slot + step], [MID])
    rollout = buffer.cut()
    assert rollout.valid.sum(0).tolist() == [3 * slot for slot in range(1, 9)]
    for column, slot in enumerate(range(1, 9)):
        codes = [100 * slot + step for step in range(3 * slot)]
        assert rollout.value[: 3 * slot, column, 0].tolist() == [code + 0.5 for code in codes]
        assert rollout.reward[: 3 * slot, column].tolist() == [code / 8 for code in codes]


def test_a_state_is_a_copy(buffer: RolloutBuffer) -> None:
    open_steps(buffer, [0], [10])
    state = buffer.state()
    close_steps(buffer, [0], [11], [MID])
    open_steps(buffer, [0, 1], [12, 13])
    fresh = RolloutBuffer(SPEC, num_values=2)
    fresh.load_state(state)
    close_steps(fresh, [0], [14], [TERMINATED])
    assert_is_rollout(fresh.cut(), [[{**numbers(10), **outcome(14, TERMINATED)}]])


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["columns"].pop(name)


def replaced(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["columns"].update({name: value})


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (without("log_prob"), "has no 'log_prob'"),
        (replaced("value", np.zeros((1, 3, 2))), r"value is float64\[1, 3, 2\]"),
        (replaced("value", np.zeros((1, 3, 1), np.float32)), r"this run needs float32\[1, 3, 2\]"),
        (replaced("observation", []), "0 arrays of observation, this run needs 2"),
        (replaced("action_mask", np.zeros((1, 3, 6), bool)), r"this run needs bool\[1, 3, 7\]"),
        (lambda state: state.update(length=np.zeros((2, 2), np.int64)), r"length is int64\[2, 2\]"),
    ],
)
def test_a_state_of_another_spec_is_refused_and_says_what_differs(
    buffer: RolloutBuffer, damage: Callable[[dict[str, Any]], None], complaint: str
) -> None:
    open_steps(buffer, [0], [10])
    state: dict[str, Any] = dict(buffer.state())
    state["columns"] = dict(state["columns"])
    damage(state)
    with pytest.raises(CheckpointError, match=complaint):
        RolloutBuffer(SPEC, num_values=2).load_state(state)


def flat(rollout: Rollout) -> dict[str, Any]:
    return {
        f"{name} {key}": array
        for name, value in rollout.state().items()
        for key, array in (value.items() if isinstance(value, dict) else [("", value)])
    }
