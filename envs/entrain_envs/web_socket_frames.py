"""The WebSocket protocol without a network: received bytes become messages, messages become bytes.

The package `websockets` knows the rules; this decides what an end of the connection means.
"""

import logging
import ssl
from collections import deque
from dataclasses import dataclass, field

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from entrain_envs.errors import BrokenStreamError

SUBPROTOCOL = Subprotocol("entrain.v1")

_silent = logging.getLogger("entrain_envs.web_socket")
# At DEBUG the package writes the headers of a request, and so the token.
_silent.setLevel(logging.INFO)


class ClosedError(Exception):
    """The other end closed the WebSocket."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"closed with code {code}{': ' if words else ''}{words}")
        self.code = code
        self.words = words


class NotOpenedError(Exception):
    """The server's answer does not open a WebSocket."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"HTTP {status}: {words}")
        self.status = status
        self.words = words


class TooLongError(Exception):
    """A message is longer than this end takes."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a WebSocket is dialled, and how."""

    host: str
    port: int
    path: str
    max_bytes: int
    """Of one message."""

    tls: ssl.SSLContext | None = None
    token: str = field(default="", repr=False)

    @property
    def uri(self) -> WebSocketURI:
        """The address in the form that the package `websockets` takes."""
        return WebSocketURI(self.tls is not None, self.host, self.port, self.path, "")


class Frames:
    """See the module. One thread at a time may call it, but for `say`."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Nothing is said yet."""
        self.messages: deque[bytes] = deque()
        """Messages that arrived and were not taken yet."""
        self.outgoing: deque[bytes | memoryview] = deque()
        """To be sent, in order."""
        self.failure: Exception | None = None
        """Why no more messages come."""
        self._token = endpoint.token
        self._protocol = ClientProtocol(
            endpoint.uri, subprotocols=[SUBPROTOCOL], max_size=endpoint.max_bytes, logger=_silent
        )
        self._part = bytearray()
        self._early: list[bytes] = []
        """Frames to send once the WebSocket is open."""
        self._is_open = False

    def begin(self) -> None:
        """Ask for a WebSocket."""
        request = self._protocol.connect()
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        self._protocol.send_request(request)
        self.outgoing.extend(self._protocol.data_to_send())

    def say(self, content: bytes) -> None:
        """Send one message, after those before."""
        framed = Frame(Opcode.BINARY, content).serialize(mask=True)
        (self.outgoing if self._is_open else self._early).append(framed)

    def ping(self) -> None:
        """Ask the other end for any answer."""
        self.outgoing.append(Frame(Opcode.PING, b"").serialize(mask=True))

    def close(self) -> None:
        """Say that no more messages follow."""
        if self._is_open and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self.outgoing.extend(self._protocol.data_to_send())

    def take(self, content: bytes) -> None:
        """Take bytes that came."""
        self._protocol.receive_data(content)
        self._take_events()

    def end(self) -> None:
        """Nothing more comes."""
        self._fail(self._end())

    def fail(self, words: str) -> None:
        """The connection broke."""
        self._fail(BrokenStreamError(words))

    def _take_events(self) -> None:
        for event in self._protocol.events_received():
            if not isinstance(event, Frame):
                self._is_open = self._protocol.state is State.OPEN
                self.outgoing.extend(self._early)
                self._early.clear()
                continue
            if event.opcode is Opcode.BINARY and event.fin:
                self.messages.append(bytes(event.data))
            elif event.opcode in {Opcode.BINARY, Opcode.CONT}:
                self._part += event.data
                if event.fin:
                    self.messages.append(bytes(self._part))
                    self._part.clear()
            elif event.opcode is Opcode.TEXT:
                self._fail(BrokenStreamError("UNAVAILABLE: the trainer sent text"))
        # An empty one stands for the end of what this side sends.
        self.outgoing.extend(each for each in self._protocol.data_to_send() if each)
        refusal = self._refusal()
        if refusal is not None:
            self._fail(refusal)

    def _refusal(self) -> Exception | None:
        """Why the connection is over, if it is."""
        protocol = self._protocol
        if isinstance(protocol.handshake_exc, InvalidStatus):
            answer = protocol.handshake_exc.response
            words = bytes(answer.body or b"")[:2000].decode(errors="replace").strip()
            return NotOpenedError(answer.status_code, words or answer.reason_phrase)
        if protocol.handshake_exc is not None:
            return BrokenStreamError(
                f"UNAVAILABLE: what answers speaks no WebSocket ({protocol.handshake_exc})"
            )
        if protocol.close_rcvd is not None:
            return ClosedError(protocol.close_rcvd.code, protocol.close_rcvd.reason)
        if isinstance(protocol.parser_exc, PayloadTooBig):
            return TooLongError(str(protocol.parser_exc))
        if protocol.parser_exc is not None:
            return BrokenStreamError(f"UNAVAILABLE: damaged on the way ({protocol.parser_exc})")
        return None

    def _end(self) -> Exception:
        """Why nothing more comes, after the last byte came."""
        was_open = self._protocol.state is not State.CONNECTING
        self._protocol.receive_eof()
        self._protocol.events_received()
        if was_open:
            return BrokenStreamError("UNAVAILABLE: the connection ended without a close frame")
        return self._refusal() or BrokenStreamError("UNAVAILABLE: the connection ended")

    def _fail(self, failure: Exception) -> None:
        if self.failure is None:
            self.failure = failure
