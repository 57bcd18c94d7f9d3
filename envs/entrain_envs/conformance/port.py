"""Where simulators dial the kit: streams of messages as bytes, over whichever transport.

Nothing here knows gRPC or WebSocket.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from entrain_envs.wire import trainer_pb2 as pb


class End(Enum):
    """How the kit ends a stream: a status of gRPC, or BROKEN, a connection that just closes."""

    BROKEN = -1
    NORMAL = 0
    INVALID_ARGUMENT = 3
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class SilentError(Exception):
    """Nothing came in time."""


class WrongFormError(Exception):
    """A message arrived that is not binary. The words say what it was instead."""


class StreamOverError(Exception):
    """The simulator ended the stream, or it broke."""


class Stream(Protocol):
    """One stream that a simulator opened. Its messages are bytes."""

    @property
    def peer(self) -> str:
        """Where it comes from."""
        ...

    @property
    def token(self) -> str:
        """The token that it showed; empty if none."""
        ...

    @property
    def opened_s(self) -> float:
        """When it came, by the kit's clock."""
        ...

    @property
    def offers_subprotocol(self) -> bool | None:
        """Whether it offered WebSocket's subprotocol; None where there is none."""
        ...

    def receive(self, *, timeout_s: float) -> bytes:
        """The next message.

        Raises:
            SilentError: none came in time.
            StreamOverError: none will come.
            WrongFormError: it is text.
        """
        ...

    def send(self, message: bytes) -> None:
        """Send one message. Nothing happens if the stream is over."""
        ...

    def answers_ping(self, *, timeout_s: float) -> bool | None:
        """Ping it, and wait for the pong; None if the transport answers pings itself."""
        ...

    def end(self, how: End, words: str = "") -> None:
        """End it."""
        ...


@dataclass(frozen=True)
class Question:
    """An Inquire that a simulator sent."""

    session_id: str
    instance_id: str
    sequence: int


class Port(Protocol):
    """Where streams come in."""

    def next_stream(self, *, timeout_s: float) -> Stream | None:
        """The next stream that was opened; None if none was in time."""
        ...

    def next_question(self, *, timeout_s: float) -> Question | None:
        """The next Inquire, which was answered."""
        ...

    def answer_with(self, standing: pb.StepStanding) -> None:
        """Answer each Inquire so from now on; at first it is HELD."""
        ...
