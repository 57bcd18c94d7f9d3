"""Takes streams and reads their Hellos: the first of a process, and those that dial again."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from entrain_envs.conformance.greetings import judge_hello
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import (
    End,
    Port,
    SilentError,
    Stream,
    StreamOverError,
    WrongFormError,
)
from entrain_envs.conformance.results import Results, shown
from entrain_envs.wire import trainer_pb2 as pb

_MOST_NAMES = 1000
"""Instance ids that are remembered."""


@dataclass(frozen=True)
class Greeting:
    """A stream and the Hello on it."""

    stream: Stream
    hello: pb.Hello


class FrontDoor:
    """See the module."""

    def __init__(
        self,
        port: Port,
        results: Results,
        *,
        pace: Pace,
        token: str,
        clock: Callable[[], float],
    ) -> None:
        self.simulator = ""
        """Name in the latest Hello."""
        self._port = port
        self._results = results
        self._pace = pace
        self._token = token
        self._clock = clock
        self._waiting: Greeting | None = None
        """A new process that came while an old one was watched."""
        self._seen: list[str] = []
        self._is_new_process = False

    def expect_new_process(self) -> None:
        """The next Hello is known to come from a process of its own."""
        self._is_new_process = True

    def first_greeting(self, timeout_s: float) -> Greeting | None:
        """The first Hello of a process that can be welcomed; None if none comes in time."""
        until_s = self._clock() + timeout_s
        while (left_s := until_s - self._clock()) > 0.0:
            greeting, self._waiting = self._waiting, None
            greeting = greeting or self._next(left_s)
            if greeting is not None and self._is_welcome(greeting):
                return greeting
        return None

    def _is_welcome(self, greeting: Greeting) -> bool:
        """Judge a first Hello."""
        hello, seen = greeting.hello, self._seen
        if self._is_new_process and seen and hello.instance_id:
            self._results.check(
                "same-instance",
                hello.instance_id not in seen,
                f"a process that was started anew has instance_id {hello.instance_id[:200]!r}, as "
                "one before had",
                "draw the instance_id at random when the process starts",
            )
        self._is_new_process = False
        self._results.check(
            "new-session",
            not hello.resume_session_id,
            f"the first Hello has resume_session_id {hello.resume_session_id[:200]!r}",
            "leave it empty until a stream of this process breaks",
        )
        seen.append(hello.instance_id)
        del seen[:-_MOST_NAMES]
        if judge_hello(hello, self._results):
            return True
        greeting.stream.end(End.INVALID_ARGUMENT, "the check says in its report what is wrong")
        return False

    def dialled_again(self) -> Greeting | None:
        """The Hello of a simulator whose stream broke; None if none comes in time."""
        return self._next(self._pace.dial_s)

    def next_dial(self) -> Stream | None:
        """A stream that was opened by a simulator whose stream broke."""
        return self._port.next_stream(timeout_s=self._pace.dial_s)

    def stays_away(self, instance_id: str) -> bool:
        """Watch whether a process dials again that must not; another one may."""
        greeting = self._next(self._pace.quiet_s)
        if greeting is None:
            return True
        if greeting.hello.instance_id != instance_id:
            self._waiting = greeting
            return True
        greeting.stream.end(End.FAILED_PRECONDITION, "the check is over for this process")
        return False

    def _next(self, timeout_s: float) -> Greeting | None:
        """The Hello of the next stream."""
        until_s = self._clock() + timeout_s
        while (left_s := until_s - self._clock()) > 0.0:
            stream = self._port.next_stream(timeout_s=left_s)
            if stream is not None and self._shows_token(stream):
                self._judge_handshake(stream)
                hello = self._read_hello(stream)
                if hello is not None:
                    return Greeting(stream, hello)
        return None

    def _shows_token(self, stream: Stream) -> bool:
        if not self._token:
            return True
        shown = stream.token
        is_right = hmac.compare_digest(shown.encode(), self._token.encode())
        self._results.check(
            "token",
            is_right,
            "the call shows another token" if shown else "the call shows no token",
            "send the metadata (over WebSocket the header) authorization: Bearer TOKEN",
        )
        if not is_right:
            stream.end(End.UNAUTHENTICATED, "the token is missing or wrong")
        return is_right

    def _judge_handshake(self, stream: Stream) -> None:
        if stream.offers_subprotocol is not None:
            self._results.check(
                "subprotocol",
                stream.offers_subprotocol,
                "a handshake that does not offer it; a trainer answers 400",
                "send Sec-WebSocket-Protocol: entrain.v1",
            )

    def _read_hello(self, stream: Stream) -> pb.Hello | None:
        remedy = "send a ConnectRequest with Hello first of all, as soon as the stream is open"
        request = pb.ConnectRequest()
        try:
            request.ParseFromString(stream.receive(timeout_s=self._pace.hello_s))
        except DecodeError:
            self._fail(stream, "messages", "bytes that are no ConnectRequest", remedy)
            return None
        except SilentError:
            arrived = f"no Hello within {self._pace.hello_s:g} s of opening the stream"
            self._fail(stream, "hello-first", arrived, remedy)
            return None
        except WrongFormError as wrong:
            self._fail(stream, "binary", str(wrong), "send each message as a binary one")
            return None
        except StreamOverError:
            # A port that is tried out is no simulator.
            return None
        kind = request.WhichOneof("message")
        if kind != "hello":
            self._fail(stream, "hello-first", f"{kind or 'nothing'} in place of Hello", remedy)
            return None
        self._results.passed("messages", "hello-first")
        self.simulator = shown(request.hello.simulator[:200])
        return request.hello

    def _fail(self, stream: Stream, rule: str, arrived: str, remedy: str) -> None:
        self._results.failed(rule, arrived, remedy)
        stream.end(End.INVALID_ARGUMENT, arrived)
