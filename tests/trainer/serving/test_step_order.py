"""The order of an agent's rows, against a slow table and by hand."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import BadStepError
from entrain.serving.step_order import StepOrder
from entrain_envs.timestep import StepType, TimestepBatch
from support.slow_step_order import Message, batch, slow_after

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Rows = Callable[..., TimestepBatch]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.sampled_from(StepType)), max_size=6), max_size=12
    )
)
def test_it_allows_and_refuses_what_a_slow_table_does(messages: list[Message]) -> None:
    awaiting, slow = StepOrder(), set[int]()
    for message in messages:
        try:
            expected = slow_after(slow, message)
        except IndexError as error:
            with pytest.raises(BadStepError, match=rf"^row {error.args[0]}: agent "):
                awaiting.after(batch(message))
            continue
        awaiting, slow = awaiting.after(batch(message)), expected
        assert awaiting.agent_id.tolist() == sorted(slow)
        assert len(awaiting) == len(slow)


@settings(deadline=None)
@given(st.data())
def test_the_usual_rows_are_those_that_leave_it_as_it_is(data: st.DataObject) -> None:
    agents = data.draw(st.permutations(range(4)))
    awaiting = StepOrder().after(batch([(agent, FIRST) for agent in (*agents, 9)]))
    awaiting = awaiting.after(batch([(agent, MID) for agent in agents]))
    types = data.draw(st.lists(st.sampled_from(StepType), min_size=4, max_size=4))
    outcomes = list(zip(agents, types, strict=True))
    begun = [(agent, FIRST) for agent, step_type in outcomes if step_type >= TERMINATED]
    message: Message = data.draw(
        st.sampled_from([outcomes + begun, outcomes + begun[::-1], outcomes + begun[1:]])
    )
    try:
        after = awaiting.after(batch(message))
    except BadStepError:
        assert not awaiting.stays_after(batch(message))
        return
    is_usual = message == outcomes + begun
    assert awaiting.stays_after(batch(message)) is is_usual
    if is_usual:
        assert after.agent_id.tolist() == awaiting.agent_id.tolist()
        assert after.recent == awaiting.recent
        assert awaiting.num_recent == 4


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(StepType)), max_size=5),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(StepType)), max_size=5),
)
def test_rows_are_called_usual_only_if_they_are_allowed_and_change_nothing(
    first: Message, second: Message
) -> None:
    try:
        awaiting = StepOrder().after(batch(first))
    except BadStepError:
        return
    if awaiting.stays_after(batch(second)):
        assert awaiting.after(batch(second)).agent_id.tolist() == awaiting.agent_id.tolist()


def test_an_episode_from_its_first_row_to_its_last(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST))).after(rows((5, MID))).after(rows((5, MID)))
    assert awaiting.agent_id.tolist() == [5]
    assert awaiting.after(rows((5, TERMINATED))).agent_id.tolist() == []
    assert awaiting.after(rows((5, TRUNCATED), (5, FIRST))).agent_id.tolist() == [5]


def test_the_end_and_the_next_beginning_need_not_stand_together(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST), (6, FIRST)))
    after = awaiting.after(rows((5, TERMINATED), (6, MID), (5, FIRST)))
    assert after.agent_id.tolist() == [5, 6]


def test_an_agent_may_be_left_out_of_a_step_and_report_later(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST), (6, FIRST))).after(rows((6, MID)))
    assert awaiting.agent_id.tolist() == [5, 6]
    assert awaiting.after(rows((5, MID))).agent_id.tolist() == [5, 6]


@pytest.mark.parametrize("step_type", [MID, TERMINATED, TRUNCATED])
def test_an_outcome_without_an_action_is_refused(rows: Rows, step_type: StepType) -> None:
    with pytest.raises(
        BadStepError,
        match=rf"row 1: agent 6 sent {step_type.name}, but it was given no action .* must be FIRST",
    ):
        StepOrder().after(rows((5, FIRST), (6, step_type)))


def test_an_episode_that_begins_inside_another_is_refused(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST)))
    with pytest.raises(
        BadStepError, match=r"row 0: agent 5 sent FIRST while .* send TERMINATED or"
    ):
        awaiting.after(rows((5, FIRST)))


def test_an_agent_with_two_rows_that_need_an_action_is_refused(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST)))
    with pytest.raises(
        BadStepError, match=r"row 1: agent 5 has a row FIRST after a row MID in one"
    ):
        awaiting.after(rows((5, MID), (5, FIRST)))


def test_an_agent_with_three_rows_is_refused(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST)))
    with pytest.raises(
        BadStepError, match=r"row 2: agent 5 has a row TERMINATED after a row FIRST"
    ):
        awaiting.after(rows((5, TERMINATED), (5, FIRST), (5, TERMINATED)))


def test_a_refused_message_changes_nothing(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((5, FIRST)))
    with pytest.raises(BadStepError):
        awaiting.after(rows((6, FIRST), (5, FIRST)))
    assert awaiting.agent_id.tolist() == [5]


def test_strays_begin_an_episode_and_lose_what_they_cannot_close(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((1, FIRST)))
    welcome = awaiting.welcome_strays(
        rows((1, MID, 0.5), (2, MID, 0.25), (3, TERMINATED, 1.0), (3, FIRST), (4, TRUNCATED, 2.0))
    )
    assert welcome.agent_id.tolist() == [1, 2, 3]
    assert welcome.step_type.tolist() == [MID, FIRST, FIRST]
    assert welcome.reward.tolist() == [0.5, 0.0, 0.0]
    assert welcome.observation["eyes"].tolist() == [[1.5, 1.5], [2.25, 2.25], [3.0, 3.0]]
    assert awaiting.after(welcome).agent_id.tolist() == [1, 2, 3]


def test_rows_of_remembered_agents_are_left_as_they_are(rows: Rows) -> None:
    awaiting = StepOrder().after(rows((1, FIRST)))
    message = rows((1, MID), (2, FIRST))
    assert awaiting.welcome_strays(message) is message


def test_a_restored_one_refuses_and_allows_the_same(rows: Rows) -> None:
    awaiting = StepOrder.from_state(StepOrder().after(rows((5, FIRST))).state())
    assert awaiting.after(rows((5, MID), (6, FIRST))).agent_id.tolist() == [5, 6]
    with pytest.raises(BadStepError):
        awaiting.after(rows((5, FIRST)))


def test_two_groups_that_send_in_turns_are_both_usual() -> None:
    left, right = batch([(1, FIRST), (2, FIRST)]), batch([(3, FIRST), (4, FIRST)])
    order = StepOrder().after(left, in_turns=True).after(right, in_turns=True)
    assert order.stays_after(batch([(3, MID), (4, MID)]))
    assert not order.stays_after(batch([(1, MID), (2, MID)]))
    assert order.turned().stays_after(batch([(1, MID), (2, TERMINATED), (2, FIRST)]))
    assert order.turned().agent_id.tolist() == order.agent_id.tolist() == [1, 2, 3, 4]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from(StepType)), max_size=3), max_size=9
    )
)
def test_rows_of_the_other_group_are_called_usual_only_if_they_change_nothing(
    messages: list[Message],
) -> None:
    awaiting = StepOrder()
    for message in messages:
        try:
            after = awaiting.after(batch(message), in_turns=True)
        except BadStepError:
            assert not (awaiting.other and awaiting.turned().stays_after(batch(message)))
            continue
        if awaiting.other and awaiting.turned().stays_after(batch(message)):
            assert after.agent_id.tolist() == awaiting.agent_id.tolist()
            assert after.recent == awaiting.other
        awaiting = after
