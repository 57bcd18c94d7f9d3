"""What a simulator is told that asks about a Step, and what a stranger is told: nothing."""

import asyncio
from typing import Any

import pytest

from entrain.errors import LimitError, UnexpectedMessageError
from entrain.native.connection import Transport
from entrain.native.inquiry import MAX_INQUIRY_BYTES, Inquiries
from entrain.native.stream import EndCode
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID = StepType.FIRST, StepType.MID
NOT_HELD = pb.STEP_STANDING_NOT_HELD
HELD = pb.STEP_STANDING_HELD
ANSWERED = pb.STEP_STANDING_ANSWERED


def standing(world: Any, simulator: Any, sequence: int, **other: Any) -> int:
    request = pb.InquireRequest(
        session_id=simulator.stream.session_id,
        instance_id=simulator.instance_id,
        sequence=sequence,
    )
    request.MergeFrom(pb.InquireRequest(**other))
    content = Inquiries(world.sessions).answer(request.SerializeToString(), peer="10.0.0.7")
    return pb.InquireResponse.FromString(content).standing


def come_back(world: Any, simulator: Any) -> Any:
    again = world.dial(simulator.name, instance_id=simulator.instance_id, specs=simulator.specs)
    assert again.hello(resume=simulator.stream.session_id).resumed
    return again


def test_a_step_that_waits_is_held_until_it_is_answered(world: Any) -> None:
    simulator = world.join()
    assert standing(world, simulator, 1) == NOT_HELD
    simulator.step(1, (7, FIRST))
    assert standing(world, simulator, 1) == HELD
    world.serve()
    assert standing(world, simulator, 1) == ANSWERED
    assert standing(world, simulator, 2) == NOT_HELD
    simulator.step(2, (7, MID))
    assert standing(world, simulator, 2) == HELD


def test_a_paused_run_holds_steps_however_long_so_nobody_gives_it_up(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    world.serve()
    world.participants.hold()
    simulator.step(2, (7, MID))
    world.timers.pass_time(86_400.0)
    assert standing(world, simulator, 2) == HELD
    world.participants.go_on()
    world.serve()
    assert standing(world, simulator, 2) == ANSWERED
    assert simulator.acted_agents() == [(1, [7]), (2, [7])]


def test_a_step_whose_stream_broke_is_not_held_for_its_act_would_go_nowhere(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    simulator.stream.end()
    assert standing(world, simulator, 1) == NOT_HELD


def test_a_step_is_held_again_only_once_the_resumed_stream_has_brought_it(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    simulator.stream.end()
    again = come_back(world, simulator)
    assert standing(world, again, 1) == NOT_HELD
    again.step(1, (7, FIRST))
    assert standing(world, again, 1) == HELD
    world.serve()
    assert standing(world, again, 1) == ANSWERED
    assert again.acted_agents() == [(1, [7])]


@pytest.mark.parametrize("other", [{"session_id": "x"}, {"instance_id": "x"}])
def test_who_does_not_know_both_secrets_learns_nothing(world: Any, other: dict[str, str]) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    assert standing(world, simulator, 1, **other) == NOT_HELD


def test_a_session_that_was_left_is_not_held(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    simulator.goodbye()
    assert standing(world, simulator, 1) == NOT_HELD


def test_asking_changes_nothing(world: Any) -> None:
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    for sequence in (0, 1, 2, 2**63):
        standing(world, simulator, sequence)
    world.serve()
    simulator.step(2, (7, MID))
    world.serve()
    assert simulator.acted_agents() == [(1, [7]), (2, [7])]


def test_what_is_no_question_is_refused_in_words(world: Any) -> None:
    inquiries = Inquiries(world.sessions)
    with pytest.raises(UnexpectedMessageError, match=r"10.0.0.7 sent 3 bytes that are no Inquire"):
        inquiries.answer(b"\xff\xff\xff", peer="10.0.0.7")
    with pytest.raises(LimitError, match=r"InquireRequest of 1,025 bytes; expected at most 1,024"):
        inquiries.answer(bytes(MAX_INQUIRY_BYTES + 1), peer="10.0.0.7")


class GoneError(Exception):
    """The caller is gone."""


async def carry(world: Any, content: object, *, is_gone: bool = False) -> tuple[Any, list[bytes]]:
    """The end of a call that sends this; never, if it is None."""
    sent: list[bytes] = []

    async def receive() -> object:
        if content is None:
            await asyncio.Event().wait()
        return content

    async def send(answer: bytes) -> None:
        if is_gone:
            raise GoneError
        sent.append(answer)

    inquiries = Inquiries(world.sessions, inquiry_s=0.01)
    return await inquiries.carry(Transport("10.0.0.7", receive, send, GoneError)), sent


async def test_a_call_is_answered_once_and_ended(world: Any) -> None:
    how, sent = await carry(world, pb.InquireRequest(sequence=1).SerializeToString())
    assert how.code is EndCode.DONE
    assert [pb.InquireResponse.FromString(each).standing for each in sent] == [NOT_HELD]


async def test_a_call_that_asks_nothing_is_ended_after_a_while(world: Any) -> None:
    how, _ = await carry(world, None)
    assert how.code is EndCode.LATE


async def test_a_call_that_is_gone_or_holds_nonsense_ends(world: Any) -> None:
    assert (await carry(world, b"", is_gone=True))[0].code is EndCode.DONE
    assert (await carry(world, object()))[0].code is EndCode.DONE
    assert (await carry(world, b"\xff"))[0].code is EndCode.INVALID
    assert (await carry(world, bytes(2000)))[0].code is EndCode.LIMIT
