"""One connection to the page's HTTP server, bounded in time and in what it may send."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_CONNECTIONS = 256
"""Open at once; further ones are closed unanswered."""

MOST_REQUEST_BYTES = 16_384
"""Of a whole request: first line, headers, body."""

MOST_WAITING = 16
"""Requests that were sent before the one that is being answered is done."""

HEAD_S = 10.0
"""How long a peer may take to send first line and headers."""


class HeadWithBody:
    """A transport that sends an answer's head together with what follows: one call instead of two.

    Sending is the most costly part of a short answer.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Everything else is done by `transport`."""
        self._transport = transport
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send `data`; an answer's head waits for its body."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1."):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close once everything is sent."""
        self.flush()
        self._transport.close()

    @property
    def plain(self) -> asyncio.Transport:
        """The one that does everything else: for a WebSocket, whose answer has no body."""
        return self._transport


def plain(transport: asyncio.BaseTransport) -> asyncio.BaseTransport:
    """Returns the transport itself, of one that joins heads and bodies."""
    return transport.plain if isinstance(transport, HeadWithBody) else transport


class BoundedConnection(HttpToolsProtocol):
    """See the module. Made by uvicorn, which calls it."""

    _deadline: asyncio.TimerHandle | None = None
    _received = 0
    """Bytes since the last request was complete."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is open."""
        # WebSockets, which have limits of their own, are among them.
        if (
            sum(isinstance(each, BoundedConnection) for each in self.connections)
            >= MOST_CONNECTIONS
        ):
            self.transport = transport
            transport.abort()
            return
        self._out = HeadWithBody(transport)
        super().connection_made(cast(asyncio.Transport, self._out))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """It sends something."""
        for begin in range(0, len(data), MOST_REQUEST_BYTES):
            if self.transport.is_closing():
                return
            part = data[begin : begin + MOST_REQUEST_BYTES]
            self._received += len(part)
            super().data_received(part)
            if self._received > MOST_REQUEST_BYTES:
                self.send_400_response("The request is too long.")

    def on_message_begin(self) -> None:
        """A request begins. What answers it may end the connection at once."""
        if len(self.pipeline) >= MOST_WAITING:
            # The parser makes of it that the connection is refused.
            raise ValueError("too many requests wait")
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._cancel_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._received = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered."""
        self._out.flush()
        super().on_response_complete()

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
