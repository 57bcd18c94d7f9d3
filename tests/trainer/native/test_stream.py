"""One stream, message by message: what may follow what, and what its end means."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from entrain.errors import BadStepError, LimitError, SimulatorError, UnexpectedMessageError
from entrain.serving.front import Ending
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID = StepType.FIRST, StepType.MID
Make = Callable[..., Any]


def test_welcome_says_what_the_simulator_needs(make_world: Make) -> None:
    welcome = make_world(grace_s=12.0).dial().hello()
    assert welcome.version == 1
    assert welcome.run_id == "run"
    assert welcome.seed > 0
    assert welcome.max_unanswered_steps == 1
    assert welcome.grace_s == 12.0
    assert not welcome.resumed


@pytest.mark.parametrize("kind", ["step", "goodbye", None])
def test_a_stream_begins_with_hello(world: Any, kind: str | None) -> None:
    simulator = world.dial()
    message = {} if kind is None else {kind: {"step": pb.Step(), "goodbye": pb.Goodbye()}[kind]}
    name = "An empty message" if kind is None else kind.capitalize()
    with pytest.raises(
        UnexpectedMessageError, match=rf"a simulator@10.0.0.7 sent {name} while waiting for Hello"
    ):
        simulator.send(**message)


def test_a_second_hello_is_refused(world: Any) -> None:
    simulator = world.join()
    with pytest.raises(
        UnexpectedMessageError, match=r"walker-sim@10.0.0.7 sent Hello while talking"
    ):
        simulator.hello()


def test_bytes_that_are_no_message_are_refused(world: Any) -> None:
    with pytest.raises(UnexpectedMessageError, match=r"sent 3 bytes that are no ConnectRequest"):
        world.dial().stream.receive(b"\xff\xff\xff")


def test_a_message_that_is_too_long_is_refused_with_what_to_raise(make_world: Make) -> None:
    simulator = make_world(max_message_mib=1000 / 2**20).join()
    with pytest.raises(
        LimitError, match=r"sent a message of 1,001 bytes, .* takes 1,000; raise server.max_message"
    ):
        simulator.stream.receive(b"x" * 1001)


def test_after_goodbye_it_is_over_and_its_end_is_no_loss(world: Any) -> None:
    simulator = world.join()
    simulator.goodbye()
    assert simulator.stream.is_over
    simulator.stream.end()
    assert world.participants.counters["sessions_left"] == 1
    assert len(world.participants) == 0


@pytest.mark.parametrize(
    ("unheard", "end"),
    [("", "to come back"), ("if it was told so", "to come back (if it was told so)")],
)
def test_a_lost_stream_is_logged_with_what_this_side_may_not_have_heard(
    make_world: Make, caplog: pytest.LogCaptureFixture, unheard: str, end: str
) -> None:
    caplog.set_level(logging.INFO)
    make_world(grace_s=12.0).join(unheard=unheard).stream.end()
    assert caplog.messages[-1] == f"walker-sim@10.0.0.7 lost its connection: it has 12 s {end}"


def test_a_refused_hello_is_counted_and_leaves_no_session(world: Any) -> None:
    simulator = world.dial("")
    with pytest.raises(SimulatorError) as refusal:
        simulator.hello()
    simulator.stream.refuse(refusal.value)
    simulator.stream.end()
    assert world.participants.counters["sessions_refused"] == 1
    assert len(world.participants) == 0


def test_a_refused_step_ends_that_session_and_no_other(world: Any) -> None:
    bad, good = world.join("bad"), world.join("good")
    bad.step(1, (1, FIRST))
    good.step(1, (1, FIRST))
    world.serve()
    good.step(2, (1, MID))
    with pytest.raises(BadStepError) as refusal:
        bad.step(2, (1, FIRST))
    bad.stream.refuse(refusal.value)
    bad.stream.end()
    assert world.participants.counters["steps_refused"] == 1
    assert [session.label for session in world.participants] == ["good@10.0.0.7"]
    batch = world.serve()
    assert batch.slot.tolist() == [1]
    assert batch.released.tolist() == [0]
    assert not world.dial("bad").hello(resume=bad.stream.session_id).resumed


def test_close_is_said_once_and_steps_that_cross_it_are_passed_over(world: Any) -> None:
    simulator = world.join()
    simulator.stream.close(Ending.STOPPED, "back soon")
    simulator.stream.close(Ending.STOPPED, "back soon")
    simulator.step(1, (7, FIRST))
    (response,) = simulator.inbox
    assert response.close.reason == pb.CLOSE_REASON_STOPPED
    assert response.close.message == "back soon"
    assert not world.is_due()


def test_a_stopped_trainer_keeps_who_does_not_say_goodbye(world: Any) -> None:
    stays, leaves = world.join("stays"), world.join("leaves")
    for simulator in (stays, leaves):
        simulator.stream.close(Ending.STOPPED, "")
    leaves.goodbye()
    stays.stream.end()
    leaves.stream.end()
    assert [session.label for session in world.participants] == ["stays@10.0.0.7"]


def test_a_completed_run_releases_everyone(world: Any) -> None:
    simulator = world.join()
    simulator.stream.close(Ending.COMPLETED, "done")
    simulator.stream.end()
    assert len(world.participants) == 0
    assert world.participants.counters["sessions_left"] == 1


def test_the_end_of_a_stream_that_was_replaced_changes_nothing(world: Any) -> None:
    simulator = world.join()
    again = world.dial()
    again.hello(resume=simulator.stream.session_id)
    assert simulator.stream.is_over
    simulator.stream.end()
    assert world.participants.num_running == 1


def test_closing_before_hello_says_nothing(world: Any) -> None:
    simulator = world.dial()
    simulator.stream.close(Ending.STOPPED, "")
    assert simulator.inbox == []


def test_the_time_of_reading_and_writing_is_noted(world: Any) -> None:
    simulator = world.join()
    # A Hello may have a policy made, which is neither.
    assert world.participants.timings.decode == 0.0
    simulator.step(1, (7, FIRST))
    assert world.participants.timings.decode > 0.0
    assert world.participants.timings.encode == 0.0
    world.serve()
    assert world.participants.timings.encode > 0.0
