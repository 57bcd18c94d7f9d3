"""One stream of a simulator, message by message, as a state machine without input or output.

    GREETING --Hello--> TALKING --close--> CLOSING
    any --Goodbye, error, end of the stream--> OVER

A session may outlive its stream and go on in another one. Messages come in by `receive` and go out
by a `Link`. Nothing here knows what carries them.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from google.protobuf.message import DecodeError

from entrain.errors import (
    BadHelloError,
    BadStepError,
    LimitError,
    RefusedHelloError,
    SimulatorError,
    UnauthenticatedError,
    UnexpectedMessageError,
)
from entrain.native.hello import MAX_HELLO_BYTES, MAX_NAME_LENGTH, ParsedHello, read_hello
from entrain.native.session import Session
from entrain.native.sessions import Sessions
from entrain.quoting import shortened
from entrain.serving.batch import nobody_waits
from entrain.serving.front import Ending
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

CLOSE_REASONS: Mapping[Ending, pb.CloseReason] = {
    Ending.COMPLETED: pb.CLOSE_REASON_COMPLETED,
    Ending.STOPPED: pb.CLOSE_REASON_STOPPED,
}


class EndCode(Enum):
    """Why a stream ends. Each transport has its own way to say it."""

    DONE = "done"
    """By Goodbye, or because the other end is gone."""

    INVALID = "invalid"
    """A message made no sense here: its content, or its turn."""

    REFUSED = "refused"
    """The simulator does not fit this run."""

    UNAUTHENTICATED = "unauthenticated"
    LIMIT = "limit"
    """One of the trainer's limits is reached."""

    REPLACED = "replaced"
    """The session goes on in a newer stream."""

    LATE = "late"
    """No Hello came in time."""

    STOPPING = "stopping"
    """The trainer takes no new streams; it may later."""


END_CODES: Mapping[type[SimulatorError], EndCode] = {
    BadHelloError: EndCode.INVALID,
    BadStepError: EndCode.INVALID,
    UnexpectedMessageError: EndCode.INVALID,
    RefusedHelloError: EndCode.REFUSED,
    UnauthenticatedError: EndCode.UNAUTHENTICATED,
    LimitError: EndCode.LIMIT,
}
"""What ends a stream on which a simulator broke the protocol."""


@dataclass(frozen=True)
class StreamEnd:
    """How a stream ends, after everything before it has been sent."""

    code: EndCode
    words: str = ""
    """For people at the other end."""

    @classmethod
    def of(cls, error: SimulatorError) -> "StreamEnd":
        """The end that this error brings."""
        return cls(END_CODES[type(error)], str(error))


class Link(Protocol):
    """The way back to the simulator."""

    def send(self, message: bytes, taken: Callable[[], None]) -> None:
        """Send a serialised ConnectResponse soon; `taken` is called when the transport took it."""
        ...

    def end(self, how: StreamEnd) -> None:
        """End the stream after what was sent before."""
        ...


class StreamState(Enum):
    """Where a stream stands."""

    GREETING = "waiting for Hello"
    TALKING = "talking"
    CLOSING = "closing"
    OVER = "over"


class StreamProtocol:
    """See the module. Owned by the event loop."""

    def __init__(self, sessions: Sessions, *, peer: str, link: Link, unheard: str = "") -> None:
        """A stream before its Hello.

        Args:
            sessions: where its session is found or made.
            peer: the host at the other end, for messages.
            link: takes what the simulator is told.
            unheard: what may have ended it without a word to this side, for people.
        """
        self.state_now = StreamState.GREETING
        self._sessions = sessions
        self._timings = sessions.participants.timings
        self._max_message_bytes = min(MAX_HELLO_BYTES, sessions.max_message_bytes)
        self._peer = peer
        self._link = link
        self._unheard = unheard
        self._simulator = ""
        self._session: Session | None = None
        self._is_complete = False

    def __repr__(self) -> str:
        return f"<StreamProtocol {self.label}: {self.state_now.value}>"

    @property
    def label(self) -> str:
        """For people: simulator@host."""
        return f"a simulator@{self._peer}" if self._session is None else self._session.label

    @property
    def session_id(self) -> str:
        """Of the session it carries; empty before Hello."""
        return "" if self._session is None else self._session.id

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.state_now is StreamState.OVER

    def receive(self, content: bytes) -> bool:
        """Take a serialised ConnectRequest; SimulatorError if it is not acceptable.

        After an error, `refuse` ends the stream.

        Returns:
            Whether it is a Step that is held, because it brings new behaviours: see `take_held`.
        """
        began_s = time.perf_counter()
        request = self._parse(content)
        if self.state_now is StreamState.TALKING and request.HasField("step"):
            assert self._session is not None
            is_held = self._session.exchange.receive(request.step, size=len(content))
            self._timings.decode += time.perf_counter() - began_s
            return is_held
        self._receive_rare(request)
        return False

    async def take_held(self, content: bytes) -> None:
        """Take the Step that `content` held, once there are policies for what it brings.

        Raises as `receive` does.
        """
        assert self._session is not None
        await self._session.exchange.take_held(
            size=len(content), is_wanted=lambda: self.state_now is StreamState.TALKING
        )

    def _parse(self, content: bytes) -> pb.ConnectRequest:
        if len(content) > self._max_message_bytes:
            raise self._too_long(len(content))
        try:
            return pb.ConnectRequest.FromString(content)
        except DecodeError:
            raise UnexpectedMessageError(
                f"{self.label} sent {len(content):,} bytes that are no ConnectRequest; "
                "generate the simulator's protobuf code from proto/entrain/v1/trainer.proto"
            ) from None

    def _too_long(self, size: int) -> LimitError:
        if self.state_now is StreamState.GREETING:
            return LimitError(
                f"{self.label} sent a first message of {size:,} bytes; expected a Hello of at most "
                f"{self._max_message_bytes:,}: declare fewer behaviours, observations and actions"
            )
        return LimitError(
            f"{self.label} sent a message of {size:,} bytes, and this trainer takes "
            f"{self._max_message_bytes:,}; raise server.max_message_mib of the trainer, or "
            "send fewer agents in a message"
        )

    @asynccontextmanager
    async def preparing(self, content: bytes) -> AsyncIterator[None]:
        """Within the block, receiving the first message, `content`, is quick.

        Networks for new behaviours take a while to make; others are answered meanwhile.
        """
        try:
            hello = self._read_hello(self._parse(content).hello)
            self._sessions.check(hello)
            participants = self._sessions.for_role(hello)
        except SimulatorError:
            # It will be refused when it is received, in the same words.
            yield
            return
        async with participants.behaviours.preparing(hello.join.specs):
            yield

    def _read_hello(self, message: pb.Hello) -> ParsedHello:
        limit = self._sessions.participants.config.max_behaviours
        return read_hello(message, self._peer, max_behaviours=limit)

    def _receive_rare(self, request: pb.ConnectRequest) -> None:
        """Take a message that is no Step in its turn."""
        kind = request.WhichOneof("message")
        if self.state_now is StreamState.OVER:
            # It crossed the end of the stream; the session may go on in another one.
            return
        if kind == "hello" and self.state_now is StreamState.GREETING:
            self._greet(request.hello)
        elif kind == "goodbye" and self._session is not None:
            self._leave(shortened(request.goodbye.reason))
        elif self.state_now is not StreamState.CLOSING:
            raise UnexpectedMessageError(
                f"{self.label} sent {(kind or 'an empty message').capitalize()} while "
                f"{self.state_now.value}; a stream is one Hello, then Steps, then Goodbye"
            )

    def _greet(self, message: pb.Hello) -> None:
        self._simulator = message.simulator[:MAX_NAME_LENGTH]
        hello = self._read_hello(message)
        session, is_resumed = self._sessions.welcome(hello)
        self._session = session
        self.state_now = StreamState.TALKING
        self._max_message_bytes = self._sessions.max_message_bytes
        session.attach(
            self,
            self._link,
            is_resumed=is_resumed,
            max_unanswered_steps=self._sessions.max_unanswered_steps(hello),
        )
        welcome = pb.ConnectResponse(welcome=self._sessions.welcome_message(session, is_resumed))
        self._link.send(welcome.SerializeToString(), nobody_waits)

    def _leave(self, reason: str) -> None:
        self.state_now = StreamState.OVER
        if self._session is not None:
            self._session.leave(reason)

    def close(self, ending: Ending, message: str) -> None:
        """Tell the simulator that nothing more will be answered. Later Steps are ignored."""
        if self.state_now is not StreamState.TALKING:
            return
        self.state_now = StreamState.CLOSING
        self._is_complete = ending is Ending.COMPLETED
        close = pb.Close(reason=CLOSE_REASONS[ending], message=message)
        self._link.send(pb.ConnectResponse(close=close).SerializeToString(), nobody_waits)

    def refuse(self, error: SimulatorError) -> None:
        """The stream ends because of what was sent on it, and its session with it."""
        if self._session is None:
            self._sessions.participants.refuse_join(error, simulator=self._simulator)
        else:
            self._session.refuse(error)
        self.state_now = StreamState.OVER

    def fail(self, error: SimulatorError) -> None:
        """See `Session.Stream`: as if it had been refused when it came."""
        self.refuse(error)
        self._link.end(StreamEnd.of(error))

    def replace(self) -> None:
        """Another stream of the simulator carries the session on."""
        self.state_now = StreamState.OVER
        words = "the session goes on in a newer stream of this simulator"
        self._link.end(StreamEnd(EndCode.REPLACED, words))

    def end(self) -> None:
        """The stream is gone. Without Goodbye, the session may come back on another one."""
        was, self.state_now = self.state_now, StreamState.OVER
        if self._session is None or was is StreamState.OVER:
            return
        if self._is_complete:
            self._leave("the run is complete")
            return
        is_waiting = self._session.detach()
        if was is StreamState.CLOSING:
            logger.info("%s may come back when the trainer does", self.label)
        else:
            logger.info(
                "%s lost its connection: it has %g s to come back%s",
                self.label,
                self._sessions.grace_s,
                f" ({self._unheard})" if self._unheard and not is_waiting else "",
            )
