"""When a trainer is asked about its silence, and what each answer leads to; time is a number."""

import math
import threading
import time
from collections.abc import Callable

import pytest

from entrain_envs.client import TrainerClient
from entrain_envs.errors import (
    BrokenStreamError,
    OptionError,
    RefusedError,
    TrainerClosed,
)
from entrain_envs.silence import ANSWER_S, SILENCE_S, Silence, Wait
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import RowsOf, act, close, welcome

HELD = pb.STEP_STANDING_HELD
ANSWERED = pb.STEP_STANDING_ANSWERED
NOT_HELD = pb.STEP_STANDING_NOT_HELD
POINT = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec((-1.0,), (1.0,)))

Answer = pb.StepStanding | Exception


class AskedStream:
    """Answers each question in the same way, and remembers when it was asked or given up."""

    def __init__(self, world: "World", answer: Answer) -> None:
        self.answer = answer
        self.asked_at_s: list[float] = []
        self.requests: list[pb.InquireRequest] = []
        self.given_up: list[str] = []
        self._world = world

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        assert timeout_s == ANSWER_S
        self.asked_at_s.append(self._world.now_s)
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return pb.InquireResponse(standing=self.answer)

    def give_up(self, words: str) -> None:
        self.given_up.append(words)


class World:
    """A silence that is looked at every second of a clock that only the test moves."""

    def __init__(self, answer: Answer) -> None:
        self.now_s = 100.0
        self.stream = AskedStream(self, answer)
        self.wait: Wait | None = None
        self.silence = Silence(clock=lambda: self.now_s, silence_s=SILENCE_S, answer_s=ANSWER_S)

    def wait_for(self, sequence: int, *, on: AskedStream | None = None) -> None:
        self.wait = Wait(on or self.stream, "session", "process", sequence)

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.silence.look(lambda: self.wait)
            self.now_s += 1.0
        self.silence.look(lambda: self.wait)


def test_nobody_is_asked_before_thirty_seconds() -> None:
    world = World(NOT_HELD)
    world.wait_for(7)
    world.pass_s(29)
    assert not world.stream.requests
    world.pass_s(1)
    (request,) = world.stream.requests
    assert (request.session_id, request.instance_id, request.sequence) == ("session", "process", 7)


def test_a_step_that_the_trainer_has_not_got_is_given_up_at_once() -> None:
    world = World(NOT_HELD)
    world.wait_for(7)
    world.pass_s(31)
    assert world.stream.given_up == [
        "no Act came for Step 7 within 30 s, and the trainer has not received the Step"
    ]
    world.pass_s(300)
    assert len(world.stream.given_up) == 1


def test_nobody_who_answers_is_a_stream_given_up() -> None:
    world = World(BrokenStreamError("DEADLINE_EXCEEDED: 5 s"))
    world.wait_for(7)
    world.pass_s(31)
    (words,) = world.stream.given_up
    assert "the trainer does not say whether it has the Step (DEADLINE_EXCEEDED" in words


def test_a_step_that_is_held_is_waited_for_through_an_update_of_ten_minutes() -> None:
    world = World(HELD)
    world.wait_for(7)
    world.pass_s(600)
    assert len(world.stream.requests) == 20
    assert not world.stream.given_up


def test_an_act_that_was_sent_has_five_seconds_to_come() -> None:
    world = World(ANSWERED)
    world.wait_for(7)
    world.pass_s(34)
    assert not world.stream.given_up
    world.pass_s(1)
    (words,) = world.stream.given_up
    assert words.endswith("although the trainer has sent it")
    assert len(world.stream.requests) == 1


def test_an_act_that_was_sent_and_comes_ends_the_wait() -> None:
    world = World(ANSWERED)
    world.wait_for(7)
    world.pass_s(33)
    world.wait_for(8)
    world.pass_s(29)
    assert not world.stream.given_up
    assert len(world.stream.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        RefusedError("UNIMPLEMENTED"),
        OptionError("a file is being renewed"),
        pb.STEP_STANDING_UNSPECIFIED,
        99,
    ],
)
def test_a_trainer_that_cannot_say_is_waited_for(answer: Answer) -> None:
    world = World(answer)
    world.wait_for(7)
    world.pass_s(600)
    assert not world.stream.given_up


def test_a_simulator_that_computes_for_long_asks_nobody() -> None:
    world = World(NOT_HELD)
    world.wait_for(7)
    world.pass_s(20)
    world.wait = None
    world.pass_s(500)
    world.wait_for(8)
    world.pass_s(29)
    assert not world.stream.requests


def test_an_act_that_comes_while_the_trainer_is_asked_is_not_given_up() -> None:
    world = World(NOT_HELD)
    world.wait_for(7)
    answer = world.stream.inquire

    def inquire(request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        world.wait_for(8)
        return answer(request, timeout_s=timeout_s)

    world.stream.inquire = inquire  # type: ignore[method-assign]
    world.pass_s(40)
    assert not world.stream.given_up


def test_the_same_step_has_twice_the_time_on_the_next_stream_and_the_next_step_the_usual() -> None:
    world = World(NOT_HELD)
    world.wait_for(7)
    world.pass_s(30)
    # Dialling.
    world.wait = None
    world.pass_s(1)
    second = AskedStream(world, NOT_HELD)
    world.wait_for(7, on=second)
    world.pass_s(59)
    assert not second.requests
    world.pass_s(1)
    assert len(second.given_up) == 1
    third = AskedStream(world, NOT_HELD)
    world.wait_for(8, on=third)
    world.pass_s(30)
    assert len(third.given_up) == 1


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_times_are_above_zero(seconds: float) -> None:
    with pytest.raises(OptionError, match=r"silence_s is .*; expected seconds, more than 0"):
        TrainerClient("trainer:1", [POINT], simulator="sim", silence_s=seconds)
    with pytest.raises(OptionError, match=r"answer_s is .*; expected seconds, more than 0"):
        TrainerClient("trainer:1", [POINT], simulator="sim", answer_s=seconds)


class MuteConnection:
    """Says Welcome, and answers Steps only from the second stream on."""

    def __init__(self, number: int, inquiries: list[pb.InquireRequest]) -> None:
        self._number = number
        self._inquiries = inquiries
        self._newest = pb.ConnectRequest()
        self._given_up = threading.Event()

    def send(self, request: pb.ConnectRequest) -> None:
        self._newest = request

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        if self._newest.HasField("hello"):
            return welcome("abc", resumed=self._number > 1)
        if self._number == 1:
            assert self._given_up.wait(10.0)
            raise BrokenStreamError("given up")
        if self._newest.step.sequence == 2:
            return close(pb.CLOSE_REASON_COMPLETED)
        return act(POINT, self._newest.step)

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        self._inquiries.append(request)
        return pb.InquireResponse(standing=NOT_HELD)

    def give_up(self, words: str) -> None:
        self._given_up.set()

    def end(self, *, timeout_s: float) -> None:
        pass


def watchers() -> int:
    return sum(thread.name == "silence" for thread in threading.enumerate())


def test_a_client_asks_with_its_ids_dials_again_and_ends_its_thread(rows_of: RowsOf) -> None:
    inquiries: list[pb.InquireRequest] = []
    opened: list[MuteConnection] = []

    def dial() -> MuteConnection:
        opened.append(MuteConnection(len(opened) + 1, inquiries))
        return opened[-1]

    client = TrainerClient(
        "trainer:1", [POINT], simulator="sim", silence_s=0.02, open_connection=dial
    )
    before = watchers()
    client.connect()
    assert watchers() == before + 1
    assert len(client.exchange({"point": rows_of(POINT, StepType.FIRST)})["point"]) == 1
    assert len(opened) == 2
    assert (inquiries[0].session_id, inquiries[0].sequence) == ("abc", 1)
    assert len(inquiries[0].instance_id) == 32
    with pytest.raises(TrainerClosed):
        client.exchange({"point": rows_of(POINT, StepType.MID)})
    until(lambda: watchers() == before)


def test_a_client_that_nobody_uses_any_more_is_not_kept_by_its_thread() -> None:
    before = watchers()
    client = TrainerClient(
        *("trainer:1", [POINT]),
        simulator="sim",
        silence_s=0.02,
        open_connection=lambda: MuteConnection(1, []),
    )
    client.connect()
    del client
    until(lambda: watchers() == before)


def until(is_true: Callable[[], bool]) -> None:
    began_s = time.monotonic()
    while not is_true():
        assert time.monotonic() - began_s < 5.0
        threading.Event().wait(0.005)
