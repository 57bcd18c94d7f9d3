"""The native wire over WebSocket: says who may, and hands each socket over as a `Transport`.

    /simulate    the stream of a simulator      /inquire    a question about a Step

An ASGI application. Who may not have a socket gets an answer of HTTP: 400 without the subprotocol,
401 a wrong token, 403 a strange page of a browser, 404 another path, 503 not now. Later a refusal
is a last message, because a WebSocket has no place for a status, and then a close frame with code
4000 + gRPC's number. See "Over WebSocket" in proto/README.md.
"""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from entrain.config.run import ServerConfig
from entrain.errors import LimitError, SimulatorError, UnauthenticatedError, UnexpectedMessageError
from entrain.native.connection import LAST_WORDS_S, Connections, Transport
from entrain.native.credentials import TokenCheck
from entrain.native.hello import MAX_HELLO_BYTES
from entrain.native.inquiry import Inquiries
from entrain.native.stream import EndCode, StreamEnd
from entrain.page.rates import Rates
from entrain.page.sockets import FLOOD, MOST_WAITING, TEXT, TOO_LONG, answer_plainly
from entrain.quoting import shortened
from entrain.serving.limits import max_message_bytes
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

SIMULATE = "/simulate"
INQUIRE = "/inquire"
HEALTH = "/healthz"

SUBPROTOCOL = "entrain.v1"
TOKEN_PREFIX = "entrain.token."
"""Prefix of a subprotocol that carries the token, for browsers, which cannot set headers."""

NUMBERS: Mapping[EndCode, int] = {
    EndCode.INVALID: 3,
    EndCode.LATE: 4,
    EndCode.LIMIT: 8,
    EndCode.REFUSED: 9,
    EndCode.REPLACED: 10,
    EndCode.STOPPING: 14,
    EndCode.UNAUTHENTICATED: 16,
}
"""gRPC's numbers of its status codes. An end that is none of these is a normal one."""

REFUSED_FROM = 4000
"""A close frame's code of a refusal is this and gRPC's number."""

MOST_REASON_BYTES = 123
"""Of a close frame's words."""

INTERNAL = 1011
"""A close frame's code where the trainer itself failed."""

SPARE_SOCKETS = 64
"""Sockets beyond two for each simulator. (One that comes back has two for a moment.)"""


class Simulators:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        connections: Connections,
        inquiries: Inquiries,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Answer 503 until `open`.

        Args:
            config: origins, longest message, most sessions.
            connections: carries the streams.
            inquiries: answers questions about a Step.
            clock: seconds.
        """
        self.url = ""
        """What simulators on this machine dial; "" before it is known."""
        self._connections = connections
        self._inquiries = inquiries
        self._origins = frozenset(origin.lower() for origin in config.origins)
        self._max_message_bytes = max_message_bytes(config)
        self._most_open = 2 * config.max_sessions + SPARE_SOCKETS
        self._num_open = 0
        self._token: TokenCheck | None = None
        self._is_open = False
        self._failures = Rates(per_s=1 / 6, burst=10.0, clock=clock)

    def __repr__(self) -> str:
        return f"<Simulators over WebSocket: {self._num_open} sockets>"

    def open(self, token: TokenCheck | None) -> None:
        """Let simulators in who show this token; None: all."""
        self._token = token
        self._is_open = True

    def close(self) -> None:
        """Let no more in."""
        self._is_open = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for a WebSocket, or another one, until it has ended."""
        if scope["type"] == "http":
            await _answer_request(scope, send)
            return
        if scope["type"] != "websocket":
            return
        await receive()
        peer = str((scope.get("client") or ("unknown", 0))[0])
        status, words = self._refusal(scope, peer)
        if status:
            await answer_plainly(send, status, words)
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        self._num_open += 1
        try:
            await self._carry(scope, _Socket(receive, send, peer, self._max_message_bytes))
        except OSError as error:
            logger.debug("%s is gone: %s", peer, error)
        finally:
            self._num_open -= 1

    def _refusal(self, scope: Scope, peer: str) -> tuple[int, str]:
        """Status and words for a request that is not taken; 0 if it is."""
        if scope["path"] not in {SIMULATE, INQUIRE}:
            return 404, f"there is nothing here; simulators dial {SIMULATE}"
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if origins and (len(origins) > 1 or origins[0].lower() not in self._origins):
            found = shortened(", ".join(origins))
            remedy = (
                "serve the page, with `python -m http.server` for example, and add its origin there"
                if found in {"null", "file://"}
                else "add it there if its script is a simulator of yours"
            )
            return 403, self._refuse(
                f"a page of origin {found} at {peer} is none of server.origins; {remedy}"
            )
        offered: Sequence[str] = scope["subprotocols"]
        if SUBPROTOCOL not in offered:
            return 400, f"offer the subprotocol {SUBPROTOCOL} (Sec-WebSocket-Protocol)"
        return self._refusal_of_token(headers, offered, peer) or self._refusal_for_now()

    def _refusal_of_token(
        self, headers: Headers, offered: Sequence[str], peer: str
    ) -> tuple[int, str] | None:
        if self._token is None:
            return None
        try:
            self._token.check(shown_token(headers, offered), who=f"a simulator@{peer}")
        except UnauthenticatedError as error:
            self._connections.refuse(error)
            if not self._failures.take(peer):
                return 429, "too many wrong tokens; wait a minute"
            return 401, str(error)
        return None

    def _refuse(self, words: str) -> str:
        self._connections.refuse(UnauthenticatedError(words))
        return words

    def _refusal_for_now(self) -> tuple[int, str]:
        if not self._is_open:
            return 503, "the trainer does not listen yet, or is stopping; dial again later"
        if self._num_open >= self._most_open:
            return 503, (
                f"{self._num_open:,} sockets are open; raise server.max_sessions of the trainer, "
                "or dial again later"
            )
        return 0, ""

    async def _carry(self, scope: Scope, socket: "_Socket") -> None:
        is_stream = scope["path"] == SIMULATE
        carry = self._connections.carry if is_stream else self._inquiries.carry
        try:
            how = await carry(Transport(socket.peer, socket.receive, socket.send, OSError))
        except Exception:
            logger.exception("a WebSocket of %s could not be carried", socket.peer)
            await socket.close(INTERNAL, "the trainer failed; dial again")
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await socket.end(how)
        except TimeoutError:
            logger.debug("%s reads nothing: its connection is ended", socket.peer)
            scope["state"]["abort"]()


class _Socket:
    """One socket, message by message. A broken bound of `page.sockets` is raised in words."""

    def __init__(self, receive: Receive, send: Send, peer: str, max_message_bytes: int) -> None:
        self.peer = peer
        self._receive, self._send = receive, send
        self._max_message_bytes = max_message_bytes
        self._has_heard = False
        self._code = 0
        """Code of the close frame if a limit was exceeded; else 0."""

    async def receive(self) -> bytes | None:
        """The next message; None if there is no more. See `Transport`."""
        event = await self._receive()
        content: bytes | None = event.get("bytes")
        if content is None:
            error = self._broken_bound(event.get("code", 0))
            if error is not None:
                self._code = event["code"]
                raise error
        self._has_heard = True
        return content

    async def send(self, message: bytes) -> None:
        """See `Transport`."""
        await self._send({"type": "websocket.send", "bytes": message})

    async def end(self, how: StreamEnd) -> None:
        """Say how the stream ends, and close."""
        number = NUMBERS.get(how.code)
        if number is None:
            await self.close(1000, "")
            return
        refusal = pb.Refusal(code=number, message=how.words)
        await self.send(pb.ConnectResponse(refusal=refusal).SerializeToString())
        await self.close(self._code or REFUSED_FROM + number, how.words)

    async def close(self, code: int, words: str) -> None:
        """Send a close frame."""
        await self._send({"type": "websocket.close", "code": code, "reason": fitting(words)})

    def _broken_bound(self, code: int) -> SimulatorError | None:
        who = f"a simulator@{self.peer}"
        if code == TOO_LONG and not self._has_heard:
            most = min(MAX_HELLO_BYTES, self._max_message_bytes)
            return LimitError(
                f"{who} sent a first message of more than {most:,} bytes; expected a Hello of at "
                "most that: declare fewer behaviours, observations and actions"
            )
        if code == TOO_LONG:
            return LimitError(
                f"{who} sent a message of more than {self._max_message_bytes:,} bytes, which is "
                "what this trainer takes; raise server.max_message_mib of the trainer, or send "
                "fewer agents in a message"
            )
        if code == FLOOD:
            return LimitError(
                f"{who} sent {MOST_WAITING} messages before the first of them was looked at, or "
                "one in tiny parts; read the Act of each Step before sending the next, and send "
                "a message as one frame"
            )
        if code == TEXT:
            return UnexpectedMessageError(
                f"{who} sent a message as text; send each ConnectRequest as one binary message"
            )
        return None


async def _answer_request(scope: Scope, send: Send) -> None:
    """Answer a request that is none for a WebSocket, where no page does."""
    path = scope["path"]
    if path == HEALTH:
        await answer_plainly(send, 200, "ok", kind="http")
    elif path in {SIMULATE, INQUIRE}:
        await answer_plainly(send, 426, "only a WebSocket is answered here", kind="http")
    else:
        await answer_plainly(send, 404, "there is nothing here", kind="http")


def shown_token(headers: Headers, offered: Sequence[str]) -> list[tuple[str, str | bytes]]:
    """The token of a request as metadata has it: from the header, or else a subprotocol."""
    if "authorization" in headers:
        return [("authorization", headers["authorization"])]
    for each in offered:
        if each.startswith(TOKEN_PREFIX):
            encoded = each.removeprefix(TOKEN_PREFIX)
            try:
                padded = encoded + "=" * (-len(encoded) % 4)
                token = base64.b64decode(padded, altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                token = b""
            return [("authorization", b"Bearer " + token)]
    return []


def fitting(words: str) -> str:
    """The beginning of `words` that a close frame has room for."""
    return words.encode()[:MOST_REASON_BYTES].decode(errors="ignore")
