"""One WebSocket of a page's server, bounded in size, in number of messages and in what it ignores.

uvicorn's class decides what a WebSocket is; this one adds what a stranger could fill or flood: how
long a message may be before it is buffered, how many may wait, how often it may ping, and how long
an end may take. Nothing here knows what the messages hold.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import PayloadTooBig
from websockets.frames import Frame, Opcode

from entrain.page.connection import plain
from entrain.page.rates import Rates

logger = logging.getLogger(__name__)

PING_S = 20.0
"""How often the server pings, and how long a peer may send nothing after it."""

PART_BYTES = 4096
"""Bytes that are parsed at a time, so that a flood of tiny frames is noticed that soon."""

PAUSED_AT = 3
"""Messages that wait when no more are read. Who takes turns has at most two on their way."""

MOST_WAITING = 16
"""Messages that may wait: more can be in what had arrived by then only of who takes no turns."""

MOST_TINY_PARTS = 64
"""Fragments of one message, if they have fewer than `TINY` bytes on average."""

TINY = 64

CLOSE_S = 5.0
"""How long a peer may take to read what precedes the end, and to answer it."""

TLS_CLOSE_S = 1.0
"""As `CLOSE_S`, for a refusal over TLS, which has no half-closed connections."""

TOO_LONG = 1009
"""The code of a close frame after a message that is too long."""

FLOOD = 1008
"""The code after too many messages, or parts of one."""

TEXT = 1003
"""The code after a message that is text."""


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """How long the messages of a WebSocket may be, in bytes."""

    first_bytes: int
    """The first message, when the peer has not shown yet who it is."""

    most_bytes: int
    """Every later one."""


class BoundedSocket(WebSocketsSansIOProtocol):
    """See the module. Made by uvicorn, which calls it."""

    _lingering: asyncio.TimerHandle | None = None
    _is_heard = False
    """Whether anything came since the last ping."""

    _is_refused = False
    """Whether the peer broke a bound: it is told why, and nothing more is read."""

    def __init__(self, *, limits: SocketLimits, **made_of: Any) -> None:
        """Read nothing yet; uvicorn knows what it is `made_of`."""
        super().__init__(**made_of)
        self._limits = limits
        self._pings = Rates(per_s=1.0, burst=60.0, clock=self.loop.time)
        self._message = bytearray()
        self._num_parts = 0
        self.conn.max_message_size = limits.first_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The head of its request is here."""
        super().connection_made(plain(transport))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It sends something."""
        self._is_heard = True
        for begin in range(0, len(data), PART_BYTES):
            if self._is_refused or self.transport.is_closing():
                return
            super().data_received(data[begin : begin + PART_BYTES])

    def handle_connect(self, event: Any) -> None:
        """Have the request answered; what answers it may end the connection at once."""
        self.app_state = {**self.app_state, "abort": self.transport.abort}
        super().handle_connect(event)

    def handle_text(self, event: Frame) -> None:  # noqa: ARG002 - uvicorn passes it
        """The application refuses it, whatever it says."""
        self._refuse(TEXT)

    def handle_bytes(self, event: Frame) -> None:
        """A message, or its beginning."""
        if event.fin:
            self._take(bytes(event.data))
        else:
            self._message, self._num_parts = bytearray(event.data), 1

    def handle_cont(self, event: Frame) -> None:
        """More of a message; kept as one, so that many parts take no more room than a few."""
        self._message += event.data
        self._num_parts += 1
        if self._num_parts > MOST_TINY_PARTS and len(self._message) < TINY * self._num_parts:
            # Each takes as long as a long one.
            self._refuse(FLOOD)
        elif event.fin:
            content, self._message = bytes(self._message), bytearray()
            self._take(content)

    def _take(self, content: bytes) -> None:
        if self.close_sent or self._is_refused:
            return
        self.conn.max_message_size = self._limits.most_bytes
        self.queue.put_nowait({"type": "websocket.receive", "bytes": content})
        waiting = self.queue.qsize()
        if waiting > MOST_WAITING:
            self._refuse(FLOOD)
        elif waiting >= PAUSED_AT and not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        """Answer, unless it floods, or does not read the answers."""
        if self._pings.take("") and self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def handle_parser_exception(self) -> None:
        """It broke the rules of WebSocket. Of a message that is too long it is told in words."""
        if isinstance(self.conn.parser_exc, PayloadTooBig) and self.handshake_complete:
            self._refuse(TOO_LONG)
        else:
            super().handle_parser_exception()
            self._linger()

    def _refuse(self, code: int) -> None:
        """Read no more; the application hears of the code, may say why, and closes."""
        self._is_refused = True
        # What came before does not count any more: its answers would not be read.
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Send what the application says; also to who is refused, once more."""
        kind = message["type"]
        if self._is_refused and not self.close_sent and kind == "websocket.send":
            content = cast(bytes, message["bytes"])
            self.transport.write(Frame(Opcode.BINARY, content).serialize(mask=False))
            return
        if kind == "websocket.close":
            self._linger()
            if self._is_refused and not self.close_sent:
                self._close_refused(message)
                return
        await super().send(message)  # type: ignore[arg-type]

    def _close_refused(self, message: Message) -> None:
        if self.conn.close_sent is None:
            self.conn.send_close(message["code"], message["reason"])
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        # What it still sends is read and thrown away: a connection that is closed before loses,
        # on some systems, what the peer was told. It sees the end nevertheless.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.close_timer = self.loop.call_later(CLOSE_S, self.transport.close)
        else:
            self.close_timer = self.loop.call_later(TLS_CLOSE_S, self.transport.close)

    def handle_close(self, event: Frame) -> None:
        """The peer closes, or answers that it is closed."""
        super().handle_close(event)
        self._linger()

    def _linger(self) -> None:
        """End the connection after a while, whether its peer has read everything or not."""
        if self._lingering is None:
            self._lingering = self.loop.call_later(2 * CLOSE_S, self.transport.abort)

    def send_keepalive_ping(self) -> None:
        """Ask whether the peer is there."""
        self._is_heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """End the connection, unless its answer may stand behind a message that is on its way."""
        if self._is_heard or self.read_paused:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self._linger()


@dataclass(frozen=True)
class WebSockets:
    """Answers the WebSockets of a server."""

    app: ASGIApp
    limits: SocketLimits


def socket_options(sockets: WebSockets | None) -> dict[str, Any]:
    """Options of uvicorn for these WebSockets; None: it has none."""
    if sockets is None:
        return {"ws": "none"}
    return {
        "ws": partial(BoundedSocket, limits=sockets.limits),
        "ws_max_size": sockets.limits.most_bytes,
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_S,
        "ws_ping_timeout": PING_S,
    }


class WithSockets:
    """An application that hands WebSockets to one, and all else to another."""

    def __init__(self, app: ASGIApp, sockets: ASGIApp) -> None:
        """`app` answers requests, `sockets` answers WebSockets."""
        self._app = app
        self._sockets = sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand one on."""
        chosen = self._sockets if scope["type"] == "websocket" else self._app
        await chosen(scope, receive, send)


async def answer_plainly(send: Send, status: int, words: str, *, kind: str = "websocket") -> None:
    """Answer the request for a WebSocket, or a request of another `kind`, with words."""
    prefix = "websocket.http" if kind == "websocket" else "http"
    body = f"{words}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    start = {"type": f"{prefix}.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": f"{prefix}.response.body", "body": body})
