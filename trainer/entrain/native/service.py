"""The gRPC service: carries bytes between streams and conversations, and nothing more.

A stream has a task that reads and one that writes, so that a Goodbye or a broken connection is
noticed while a Step waits for its Act. Bytes are (de)serialised by the conversation, not by gRPC,
so that what cannot be read gets an answer in words.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio
from grpc.aio import EOF, BaseError  # type: ignore[attr-defined]

from entrain.errors import (
    BadHelloError,
    BadStepError,
    LimitError,
    RefusedHelloError,
    SimulatorError,
    UnauthenticatedError,
    UnexpectedMessageError,
)
from entrain.native.address import peer_host
from entrain.native.credentials import TokenCheck
from entrain.native.session import Send
from entrain.native.stream import StreamProtocol
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

SERVICE_NAME = "entrain.v1.Trainer"

STATUS: Mapping[type[SimulatorError], grpc.StatusCode] = {
    BadHelloError: grpc.StatusCode.INVALID_ARGUMENT,
    BadStepError: grpc.StatusCode.INVALID_ARGUMENT,
    UnexpectedMessageError: grpc.StatusCode.INVALID_ARGUMENT,
    RefusedHelloError: grpc.StatusCode.FAILED_PRECONDITION,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What a simulator sees. None of these goes away by dialling again."""

HELLO_S = 30.0
"""Longest wait for the first message of a stream."""

LAST_WORDS_S = 5.0
"""Longest wait for a simulator to take what was said to it before its stream ends."""

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


@dataclass(frozen=True)
class Ending:
    """The stream ends with this status after everything before it has been sent."""

    code: grpc.StatusCode
    details: str


BROKEN = Ending(grpc.StatusCode.OK, "")
"""The simulator is gone; nobody sees the status."""


class Stream:
    """One open stream. Owned by the event loop."""

    def __init__(
        self,
        context: Context,
        converse: Callable[[Send], StreamProtocol],
        *,
        on_sent: Callable[[], None],
        hello_s: float,
        last_words_s: float,
    ) -> None:
        self._context = context
        self._on_sent = on_sent
        self._hello_s = hello_s
        self._last_words_s = last_words_s
        self._outbox: asyncio.Queue[bytes | Ending] = asyncio.Queue()
        self.conversation = converse(self._outbox.put_nowait)
        self._carried_session = ""

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the stream once what was sent before is on its way."""
        self._outbox.put_nowait(Ending(code, details))

    async def run(self, on_session: Callable[["Stream"], None]) -> Ending:
        """Carry messages until either side ends it, and say how it ends.

        Args:
            on_session: called once, when the stream has a session.
        """
        reading = asyncio.create_task(self._read(on_session))
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return writing.result()
            ending = self._ending_of(reading)
            self.conversation.end()
            self.end(ending.code, ending.details)
            # gRPC takes no status while the first message is on its way: the call would stay open
            # for ever. A simulator that does not read must not keep it open either.
            await asyncio.wait({writing}, timeout=self._last_words_s)
            return ending
        finally:
            reading.cancel()
            writing.cancel()
            self.conversation.end()

    def _ending_of(self, reading: asyncio.Task[Ending]) -> Ending:
        try:
            return reading.result()
        except SimulatorError as error:
            self.conversation.refuse(error)
            return Ending(STATUS[type(error)], str(error))

    async def _read(self, on_session: Callable[["Stream"], None]) -> Ending:
        context, conversation = self._context, self.conversation
        try:
            async with asyncio.timeout(self._hello_s):
                content = await context.read()
        except TimeoutError:
            return self._late()
        while content is not EOF:
            conversation.receive(content)
            if not self._carried_session:
                self._carried_session = conversation.session_id
                on_session(self)
            if conversation.is_over:
                break
            content = await context.read()
        return Ending(grpc.StatusCode.OK, "")

    def _late(self) -> Ending:
        """A stream that says nothing must not hold its place for ever."""
        words = (
            f"{self.conversation.label} said no Hello within {self._hello_s:g} s; "
            "send Hello as soon as the stream is open"
        )
        logger.warning("refused: %s", words)
        return Ending(grpc.StatusCode.DEADLINE_EXCEEDED, words)

    async def _write(self) -> Ending:
        context, outbox = self._context, self._outbox
        while True:
            message = await outbox.get()
            if isinstance(message, Ending):
                return message
            try:
                await context.write(message)
            except BaseError as error:
                # The simulator is gone; it will ask for this again if it comes back.
                logger.debug("%s could not be written to: %s", self.conversation.label, error)
                return BROKEN
            self._on_sent()


class Service:
    """Answers `Connect`. Owned by the event loop."""

    def __init__(
        self,
        converse: Callable[[str, Send], StreamProtocol],
        *,
        token: TokenCheck | None,
        on_change: Callable[[], None],
        on_sent: Callable[[], None] = lambda: None,
        hello_s: float = HELLO_S,
        last_words_s: float = LAST_WORDS_S,
    ) -> None:
        """No streams yet.

        Args:
            converse: makes a conversation with that peer, whose messages go there.
            token: what simulators must show; None lets everyone in.
            on_change: called when a stream has ended.
            on_sent: called when gRPC has taken a message to a simulator.
            hello_s: how long a stream may take to say Hello.
            last_words_s: how long a simulator may take to read what precedes the end of its stream.
        """
        self._hello_s = hello_s
        self._last_words_s = last_words_s
        self._converse = converse
        self._token = token
        self._on_change = on_change
        self._on_sent = on_sent
        self._streams: set[Stream] = set()
        self._carrier: dict[str, Stream] = {}
        self._is_closing = False
        self._all_ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Service with {len(self._streams)} streams>"

    @property
    def rpc_handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """What a gRPC server registers."""
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME, {"Connect": grpc.stream_stream_rpc_method_handler(self.connect)}
        )

    async def connect(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Carry one stream from its beginning to its end."""
        if self._is_closing:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "the trainer is stopping; dial again later"
            )
        peer = peer_host(context.peer())
        stream = Stream(
            context,
            lambda send: self._converse(peer, send),
            on_sent=self._on_sent,
            hello_s=self._hello_s,
            last_words_s=self._last_words_s,
        )
        try:
            self._check_token(context, peer)
        except UnauthenticatedError as error:
            stream.conversation.refuse(error)
            await context.abort(STATUS[type(error)], str(error))
        self._streams.add(stream)
        try:
            ending = await stream.run(self._note_session)
        finally:
            self._forget(stream)
        if ending.code is not grpc.StatusCode.OK:
            try:
                await context.abort(ending.code, ending.details)
            except BaseError as error:
                logger.debug("nobody is there to be told %s: %s", ending.details, error)

    def _check_token(self, context: Context, peer: str) -> None:
        if self._token is not None:
            metadata = context.invocation_metadata() or ()
            self._token.check(metadata, who=f"a simulator@{peer}")

    def _note_session(self, stream: Stream) -> None:
        """A stream has a session now; one that carried it before (half open) ends."""
        session_id = stream.conversation.session_id
        before = self._carrier.get(session_id)
        self._carrier[session_id] = stream
        if before is not None:
            before.conversation.replace()
            before.end(
                grpc.StatusCode.ABORTED, "the session goes on in a newer stream of this simulator"
            )

    def _forget(self, stream: Stream) -> None:
        self._streams.discard(stream)
        session_id = stream.conversation.session_id
        if self._carrier.get(session_id) is stream:
            del self._carrier[session_id]
        if not self._streams:
            self._all_ended.set()
        self._on_change()

    async def close(self, reason: pb.CloseReason, message: str, *, goodbye_s: float) -> None:
        """Say Close on every stream, wait so long for Goodbyes, then end them all."""
        self._is_closing = True
        for stream in self._streams:
            stream.conversation.close(reason, message)
        await self._wait_for_streams(goodbye_s)
        for stream in self._streams:
            stream.end(grpc.StatusCode.OK, "")
        await self._wait_for_streams(goodbye_s)

    async def _wait_for_streams(self, timeout_s: float) -> None:
        if not self._streams:
            return
        self._all_ended.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_ended.wait()
        except TimeoutError:
            return
