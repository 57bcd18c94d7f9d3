"""The kit's front door: what is no Hello is told by its rule, and who dials meanwhile may wait."""

from collections import deque

import pytest

from entrain_envs.codec import PROTOCOL_VERSION
from entrain_envs.conformance.front_door import FrontDoor
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import (
    End,
    Question,
    SilentError,
    Stream,
    StreamOverError,
    WrongFormError,
)
from entrain_envs.conformance.results import Results, Verdict
from entrain_envs.wire import trainer_pb2 as pb


class OneMessage:
    """A stream on which one thing comes."""

    peer = token = ""
    opened_s = 0.0
    offers_subprotocol = None

    def __init__(self, what: bytes | Exception) -> None:
        self._what = what
        self.ended: list[End] = []

    def receive(self, *, timeout_s: float) -> bytes:
        if isinstance(self._what, Exception):
            raise self._what
        return self._what

    def send(self, message: bytes) -> None:
        raise AssertionError("nothing is to be sent")

    def answers_ping(self, *, timeout_s: float) -> None:
        raise AssertionError("nobody is to be pinged")

    def end(self, how: End, words: str = "") -> None:
        self.ended.append(how)


class Street:
    """A port where these streams come in; its clock moves while nobody comes."""

    def __init__(self, *streams: Stream) -> None:
        self._streams = deque(streams)
        self.now_s = 0.0

    def next_stream(self, *, timeout_s: float) -> Stream | None:
        if self._streams:
            return self._streams.popleft()
        self.now_s += timeout_s
        return None

    def next_question(self, *, timeout_s: float) -> Question | None:
        raise AssertionError("no question is awaited")

    def answer_with(self, standing: pb.StepStanding) -> None:
        raise AssertionError("no question is answered")


def door_to(street: Street) -> tuple[FrontDoor, Results]:
    results = Results()
    door = FrontDoor(street, results, pace=Pace(), token="", clock=lambda: street.now_s)
    return door, results


def hello_of(instance_id: str) -> OneMessage:
    hello = pb.Hello(
        min_version=PROTOCOL_VERSION,
        max_version=PROTOCOL_VERSION,
        simulator="game",
        instance_id=instance_id,
    )
    return OneMessage(pb.ConnectRequest(hello=hello).SerializeToString())


@pytest.mark.parametrize(
    ("what", "rule", "words"),
    [
        (b"\xff\xff", "messages", "bytes that are no ConnectRequest"),
        (SilentError(), "hello-first", "no Hello within 10 s of opening the stream"),
        (WrongFormError("a text message of 5 characters"), "binary", "a text message of 5"),
        (b"", "hello-first", "nothing in place of Hello"),
    ],
)
def test_what_is_no_hello_breaks_a_rule_and_ends_the_stream(
    what: bytes | Exception, rule: str, words: str
) -> None:
    stream = OneMessage(what)
    door, results = door_to(Street(stream, hello_of("a1")))
    greeting = door.first_greeting(60.0)
    (failed,) = [each for each in results.findings() if each.verdict is Verdict.FAILED]
    assert failed.rule.name == rule
    assert words in failed.arrived
    assert stream.ended == [End.INVALID_ARGUMENT]
    assert greeting is not None, "the next one is still welcome"


def test_a_port_that_is_only_tried_out_breaks_no_rule() -> None:
    stream = OneMessage(StreamOverError("it ended"))
    door, results = door_to(Street(stream))
    assert door.first_greeting(60.0) is None
    assert {each.verdict for each in results.findings()} == {Verdict.NOT_SHOWN}
    assert stream.ended == []


def test_another_process_that_dials_while_one_is_watched_is_greeted_next() -> None:
    door, _ = door_to(Street(hello_of("new"), hello_of("old")))
    assert door.stays_away("old")
    greeting = door.first_greeting(60.0)
    assert greeting is not None
    assert greeting.hello.instance_id == "new"
    assert not door.stays_away("old")
    assert door.stays_away("old"), "nobody dials"
