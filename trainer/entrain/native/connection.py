"""Carries messages between a transport and the streams' state machines, and nothing more.

A stream has a task that reads and one that writes, so that a Goodbye or a broken connection is
noticed while a Step waits for its Act. Nothing here knows gRPC: a transport is five values.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from entrain.errors import LimitError, SimulatorError
from entrain.native.sessions import Sessions
from entrain.native.stream import EndCode, StreamEnd, StreamProtocol, StreamState
from entrain.serving.front import Ending

logger = logging.getLogger(__name__)

HELLO_S = 30.0
"""Longest wait for the first message of a stream."""

LAST_WORDS_S = 5.0
"""Longest wait for a simulator to take what was said to it before its stream ends."""

MOST_UNREAD = 4
"""Messages that may still wait to be sent when a simulator sends its next one. None does where each
Step waits for the Act before it."""

MOST_UNREAD_BYTES = 2**20
"""The most bytes that those messages may have together."""

DONE = StreamEnd(EndCode.DONE)


@dataclass(frozen=True)
class Transport:
    """One open stream of messages. Its creator closes it, as `Connections.carry` says."""

    peer: str
    """The host at the other end, for messages."""

    receive: Callable[[], Awaitable[object]]
    """Waits for the next message, bytes; anything else says that no more will come."""

    send: Callable[[bytes], Awaitable[object]]
    """Returns when the transport took the message."""

    broken: type[Exception] | tuple[type[Exception], ...]
    """What `send` raises if the simulator is gone."""

    unheard: str = ""
    """What may have ended the stream without a word to this side, for people."""


class Connection:
    """One open stream; the `Link` of its state machine. Owned by the event loop."""

    def __init__(
        self, sessions: Sessions, transport: Transport, *, hello_s: float, last_words_s: float
    ) -> None:
        self._transport = transport
        self._hello_s = hello_s
        self._last_words_s = last_words_s
        self._outbox: asyncio.Queue[tuple[bytes, Callable[[], None]] | StreamEnd] = asyncio.Queue()
        self._unread_bytes = 0
        self.stream = StreamProtocol(
            sessions, peer=transport.peer, link=self, unheard=transport.unheard
        )

    def send(self, message: bytes, taken: Callable[[], None]) -> None:
        """Send it after what was sent before; `taken` is called when the transport took it."""
        self._unread_bytes += len(message)
        self._outbox.put_nowait((message, taken))

    def end(self, how: StreamEnd) -> None:
        """End the stream once what was sent before is on its way."""
        self._outbox.put_nowait(how)

    async def run(self) -> StreamEnd:
        """Carry messages until either side ends it, and say how it ends."""
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return writing.result()
            how = self._end_of(reading)
            self.stream.end()
            self.end(how)
            # gRPC takes no status while the first message is on its way: the call would stay open
            # for ever. A simulator that does not read must not keep it open either.
            await asyncio.wait({writing}, timeout=self._last_words_s)
            return how
        finally:
            reading.cancel()
            writing.cancel()
            self.stream.end()

    def _end_of(self, reading: asyncio.Task[StreamEnd]) -> StreamEnd:
        try:
            return reading.result()
        except SimulatorError as error:
            self.stream.refuse(error)
            return StreamEnd.of(error)

    async def _read(self) -> StreamEnd:
        receive, stream = self._transport.receive, self.stream
        try:
            async with asyncio.timeout(self._hello_s):
                content = await receive()
        except TimeoutError:
            return self._late()
        if isinstance(content, bytes):
            async with stream.preparing(content):
                stream.receive(content)
            content = await receive()
        while isinstance(content, bytes):
            if not self._outbox.empty():
                self._check_unread()
            if stream.receive(content):
                await stream.take_held(content)
            if stream.state_now is StreamState.OVER:
                break
            content = await receive()
        return DONE

    def _check_unread(self) -> None:
        """Raise LimitError if the simulator sends and sends, and reads nothing of what it is told.

        Every Act would have to be kept for it, and an Act may be far longer than its Step.
        """
        waiting, size = self._outbox.qsize(), self._unread_bytes
        if waiting > MOST_UNREAD or size > MOST_UNREAD_BYTES:
            raise LimitError(
                f"{self.stream.label} sent another message while {waiting} earlier answers "
                f"({size:,} bytes) wait for it to read them; read the Act of each Step before "
                "sending the next"
            )

    def _late(self) -> StreamEnd:
        """A stream that says nothing must not hold its place for ever."""
        words = (
            f"{self.stream.label} said no Hello within {self._hello_s:g} s; "
            "send Hello as soon as the stream is open"
        )
        logger.warning("refused: %s", words)
        return StreamEnd(EndCode.LATE, words)

    async def _write(self) -> StreamEnd:
        send, outbox, broken = self._transport.send, self._outbox, self._transport.broken
        while True:
            item = await outbox.get()
            if isinstance(item, StreamEnd):
                return item
            message, taken = item
            self._unread_bytes -= len(message)
            try:
                await send(message)
            except broken as error:
                # The simulator is gone; it will ask for this again if it comes back.
                logger.debug("%s could not be written to: %s", self.stream.label, error)
                return DONE
            taken()


class Connections:
    """All open streams. Owned by the event loop."""

    def __init__(
        self, sessions: Sessions, *, hello_s: float = HELLO_S, last_words_s: float = LAST_WORDS_S
    ) -> None:
        """No streams yet.

        Args:
            sessions: of the simulators.
            hello_s: how long a stream may take to say Hello.
            last_words_s: how long a simulator may take to read what precedes the end of its stream.
        """
        self._sessions = sessions
        self._hello_s = hello_s
        self._last_words_s = last_words_s
        self._open: set[Connection] = set()
        self._is_closing = False
        self._all_ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Connections: {len(self._open)} streams>"

    async def carry(self, transport: Transport) -> StreamEnd:
        """Carry one stream from its beginning to its end, and say how to close the transport."""
        if self._is_closing:
            return StreamEnd(EndCode.STOPPING, "the trainer is stopping; dial again later")
        connection = Connection(
            self._sessions,
            transport,
            hello_s=self._hello_s,
            last_words_s=self._last_words_s,
        )
        self._open.add(connection)
        try:
            return await connection.run()
        finally:
            self._open.discard(connection)
            if not self._open:
                self._all_ended.set()

    def refuse(self, error: SimulatorError) -> StreamEnd:
        """Count a stream that its transport refuses, and say how to close it."""
        self._sessions.participants.refuse_join(error, simulator="")
        return StreamEnd.of(error)

    async def close(self, ending: Ending, message: str, *, goodbye_s: float) -> None:
        """Say Close on every stream, wait so long for Goodbyes, then end them all."""
        self._is_closing = True
        for connection in self._open:
            connection.stream.close(ending, message)
        await self._wait_for_streams(goodbye_s)
        for connection in self._open:
            connection.end(DONE)
        await self._wait_for_streams(goodbye_s)

    async def _wait_for_streams(self, timeout_s: float) -> None:
        if not self._open:
            return
        self._all_ended.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._all_ended.wait()
        except TimeoutError:
            return
