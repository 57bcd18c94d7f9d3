"""One stream of a simulator, message by message, without the stream itself.

    GREETING --Hello--> TALKING --close--> CLOSING
    any --Goodbye, error, end of the stream--> OVER

A session may outlive its stream and go on in another conversation. Bytes come in by `receive`, and
go out by the function that was given. Nothing here knows of gRPC.
"""

import logging
import time
from enum import Enum

from google.protobuf.message import DecodeError

from entrain.errors import LimitError, SimulatorError, UnexpectedMessageError
from entrain.native.hello import MAX_NAME_LENGTH, read_hello
from entrain.native.session import Send, Session
from entrain.native.sessions import Roster
from entrain.serving.parameters import EnvironmentParameters
from entrain.stopwatch import ServerTimings
from entrain_envs import codec
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

TOO_LONG_PERHAPS = (
    " (if gRPC told it that a message is larger than max, which only the simulator hears: raise "
    "server.max_message_mib)"
)
"""Where gRPC itself refuses a message, this side sees no more than the end of the stream."""


class StreamState(Enum):
    """Where a stream stands."""

    GREETING = "waiting for Hello"
    TALKING = "talking"
    CLOSING = "closing"
    OVER = "over"


class StreamProtocol:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        roster: Roster,
        parameters: EnvironmentParameters,
        seconds: ServerTimings,
        *,
        run_id: str,
        grace_s: float,
        max_message_bytes: int,
        peer: str,
        send: Send,
    ) -> None:
        """A stream before its Hello.

        Args:
            roster: where its session is found or made.
            parameters: of the environment, for Welcome.
            seconds: where time is noted.
            run_id: for Welcome.
            grace_s: for Welcome.
            max_message_bytes: longest message that is taken, for Welcome too.
            peer: the host at the other end, for messages.
            send: takes what the simulator is told.
        """
        self.state_now = StreamState.GREETING
        self._roster = roster
        self._parameters = parameters
        self._seconds = seconds
        self._run_id = run_id
        self._grace_s = grace_s
        self._max_message_bytes = max_message_bytes
        self._peer = peer
        self._send = send
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
        return "" if self._session is None else self._session.identity.session_id

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be read."""
        return self.state_now is StreamState.OVER

    def receive(self, content: bytes) -> None:
        """Take a serialised ConnectRequest; SimulatorError if it is not acceptable.

        After an error, `refuse` ends the conversation.
        """
        began_s = time.perf_counter()
        request = self._parse(content)
        kind = request.WhichOneof("message")
        if kind == "step" and self.state_now is StreamState.TALKING:
            assert self._session is not None
            self._roster.receive_step(self._session, request.step, size=len(content))
        elif kind == "hello" and self.state_now is StreamState.GREETING:
            self._greet(request.hello)
            # A policy may be made for it meanwhile, which is no decoding.
            return
        elif kind == "goodbye" and self._session is not None:
            self._leave(request.goodbye.reason)
        elif self.state_now is not StreamState.CLOSING:
            raise UnexpectedMessageError(
                f"{self.label} sent {(kind or 'an empty message').capitalize()} while "
                f"{self.state_now.value}; a stream is one Hello, then Steps, then Goodbye"
            )
        self._seconds.decode += time.perf_counter() - began_s

    def _parse(self, content: bytes) -> pb.ConnectRequest:
        if len(content) > self._max_message_bytes:
            raise LimitError(
                f"{self.label} sent a message of {len(content):,} bytes, and this trainer takes "
                f"{self._max_message_bytes:,}; raise server.max_message_mib of the trainer, or "
                "send fewer agents in a message"
            )
        try:
            return pb.ConnectRequest.FromString(content)
        except DecodeError:
            raise UnexpectedMessageError(
                f"{self.label} sent {len(content)} bytes that are no ConnectRequest; "
                "generate the simulator's protobuf code from proto/entrain/v1/trainer.proto"
            ) from None

    def _greet(self, hello: pb.Hello) -> None:
        self._simulator = hello.simulator[:MAX_NAME_LENGTH]
        greeting = read_hello(hello, self._peer)
        session, is_resumed = self._roster.welcome(greeting, self._peer, self._send)
        self._session = session
        self.state_now = StreamState.TALKING
        response = pb.ConnectResponse(
            welcome=pb.Welcome(
                version=codec.PROTOCOL_VERSION,
                session_id=session.identity.session_id,
                run_id=self._run_id,
                seed=session.identity.seed,
                environment_parameters=self._parameters.values,
                max_unanswered_steps=1,
                resumed=is_resumed,
                grace_s=self._grace_s,
                max_message_bytes=self._max_message_bytes,
            )
        )
        self._send(response.SerializeToString())

    def _leave(self, reason: str) -> None:
        self.state_now = StreamState.OVER
        if self._session is not None and self._session.is_live:
            self._roster.leave(self._session, reason)

    def close(self, reason: pb.CloseReason, message: str) -> None:
        """Tell the simulator that nothing more will be answered. Steps are passed over from now."""
        if self.state_now is not StreamState.TALKING:
            return
        self.state_now = StreamState.CLOSING
        self._is_complete = reason == pb.CLOSE_REASON_COMPLETED
        response = pb.ConnectResponse(close=pb.Close(reason=reason, message=message))
        self._send(response.SerializeToString())

    def refuse(self, error: SimulatorError) -> None:
        """The stream ends because of what was sent on it, and its session with it."""
        if self._session is None:
            self._roster.refuse_hello(error, simulator=self._simulator)
        elif self._session.is_live:
            self._roster.refuse_step(self._session, error)
        self.state_now = StreamState.OVER

    def replace(self) -> None:
        """Another stream carries the session on."""
        self.state_now = StreamState.OVER

    def end(self) -> None:
        """The stream is gone. Without Goodbye, the session may come back on another one."""
        was, self.state_now = self.state_now, StreamState.OVER
        if self._session is None or was is StreamState.OVER:
            return
        if self._is_complete:
            self._leave("the run is complete")
            return
        self._roster.detach(self._session)
        if was is StreamState.CLOSING:
            logger.info("%s may come back when the trainer does", self.label)
        else:
            logger.info(
                "%s lost its connection: it has %g s to come back%s",
                self.label,
                self._grace_s,
                "" if self._session.has_unanswered_step else TOO_LONG_PERHAPS,
            )
