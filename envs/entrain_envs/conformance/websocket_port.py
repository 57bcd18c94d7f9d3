"""The kit's port over WebSocket: each connection to /simulate becomes a stream of bytes.

See "Over WebSocket" in proto/README.md. Streams wait in a short queue; those beyond it are refused.
"""

import base64
import binascii
import hmac
import http
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType

from google.protobuf.message import DecodeError
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from entrain_envs.conformance.arrivals import Arrivals
from entrain_envs.conformance.listening import Access, Place
from entrain_envs.conformance.port import (
    End,
    Question,
    Stream,
    WrongFormError,
)
from entrain_envs.errors import OptionError
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger("entrain_envs")

SUBPROTOCOL = Subprotocol("entrain.v1")
TOKEN_PREFIX = "entrain.token."
SIMULATE, INQUIRE = "/simulate", "/inquire"

MOST_BYTES = 64 * 2**20
"""Of one message."""

_MOST_WAITING = 8
"""Streams and questions that wait to be looked at."""

_REFUSED_FROM = 4000
_MOST_WORDS = 123
"""Bytes of a close frame's words."""


class WebSocketStream:
    """One connection. Its own thread reads; the kit's writes and ends it."""

    def __init__(self, connection: ServerConnection, opened_s: float) -> None:
        request = connection.request
        assert request is not None
        offered = _offered(request.headers)
        self.peer = str(connection.remote_address)
        self.token = shown_token(request.headers, offered)
        self.opened_s = opened_s
        self.offers_subprotocol: bool | None = SUBPROTOCOL in offered
        self._connection = connection
        self._arrived: Arrivals[bytes | str] = Arrivals()

    def receive(self, *, timeout_s: float) -> bytes:
        """See `Stream`."""
        message = self._arrived.get(timeout_s=timeout_s)
        if isinstance(message, str):
            raise WrongFormError(f"a text message of {len(message)} characters")
        return message

    def send(self, message: bytes) -> None:
        """See `Stream`."""
        try:
            self._connection.send(message)
        except ConnectionClosed:
            return

    def answers_ping(self, *, timeout_s: float) -> bool | None:
        """See `Stream`."""
        try:
            return self._connection.ping().wait(timeout_s)
        except ConnectionClosed:
            return None

    def end(self, how: End, words: str = "") -> None:
        """See `Stream`."""
        self._arrived.give_up()
        if how is End.BROKEN:
            try:
                self._connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
            return
        if how is End.NORMAL:
            self._connection.close(1000)
            return
        refusal = pb.Refusal(code=how.value, message=words)
        self.send(pb.ConnectResponse(refusal=refusal).SerializeToString())
        short = words.encode()[:_MOST_WORDS].decode(errors="ignore")
        self._connection.close(_REFUSED_FROM + how.value, short)

    def carry(self) -> None:
        """Read, in the connection's thread, until it is over."""
        try:
            while True:
                self._arrived.put(self._connection.recv())
        except ConnectionClosed as closed:
            self._arrived.end(str(closed))


class WebSocketPort:
    """See the module. Listens from the beginning, until it is left."""

    def __init__(
        self, place: Place, access: Access, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """OptionError if it cannot listen there."""
        self._clock = clock
        self._access = access
        self._streams: queue.Queue[Stream] = queue.Queue(_MOST_WAITING)
        self._questions: queue.Queue[Question] = queue.Queue(_MOST_WAITING)
        self._standing: pb.StepStanding = pb.STEP_STANDING_HELD
        try:
            self._server = serve(
                self._serve,
                place.host,
                place.port,
                ssl=_context(access),
                process_request=self._look_at,
                select_subprotocol=_select,
                compression=None,
                max_size=MOST_BYTES,
                close_timeout=0.5,
                ping_interval=None,
                server_header=None,
                logger=_library_logger(),
            )
        except OSError as error:
            raise OptionError(
                f"{place.text} cannot be listened on ({error.strerror}); is a trainer running "
                "there? Stop it, or choose another --listen"
            ) from None
        port = self._server.socket.getsockname()[1]
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(place.host, place.host)
        host = f"[{host}]" if ":" in host else host
        self.address = f"{'wss' if access.certificate else 'ws'}://{host}:{port}"
        """What simulators dial."""
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def __enter__(self) -> "WebSocketPort":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join(5)

    def next_stream(self, *, timeout_s: float) -> Stream | None:
        """See `Port`."""
        try:
            return self._streams.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def answer_with(self, standing: pb.StepStanding) -> None:
        """See `Port`."""
        self._standing = standing

    def next_question(self, *, timeout_s: float) -> Question | None:
        """See `Port`."""
        try:
            return self._questions.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def _look_at(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path in {SIMULATE, INQUIRE}:
            return None
        logger.warning("somebody asked for %.200r; simulators dial %s", request.path, SIMULATE)
        return connection.respond(http.HTTPStatus.NOT_FOUND, f"dial {SIMULATE} or {INQUIRE}\n")

    def _serve(self, connection: ServerConnection) -> None:
        """Run one connection, in its own thread."""
        assert connection.request is not None
        if connection.request.path == INQUIRE:
            self._answer(connection)
            return
        stream = WebSocketStream(connection, self._clock())
        try:
            self._streams.put_nowait(stream)
        except queue.Full:
            words = "the conformance kit looks at one simulator at a time; start only one"
            stream.end(End.RESOURCE_EXHAUSTED, words)
            return
        stream.carry()

    def _answer(self, connection: ServerConnection) -> None:
        """One Inquire."""
        assert connection.request is not None
        headers = connection.request.headers
        token = shown_token(headers, _offered(headers))
        if not hmac.compare_digest(token.encode(), self._access.token.encode()):
            connection.close(_REFUSED_FROM + End.UNAUTHENTICATED.value, "the token is wrong")
            return
        try:
            asked = pb.InquireRequest.FromString(connection.recv(timeout=5, decode=False))
            self._questions.put_nowait(
                Question(asked.session_id, asked.instance_id, asked.sequence)
            )
            answer = pb.InquireResponse(standing=self._standing)
            connection.send(answer.SerializeToString())
        except (ConnectionClosed, DecodeError, TimeoutError, queue.Full) as error:
            logger.warning("an Inquire could not be answered: %s", type(error).__name__)
        connection.close(1000)


def _library_logger() -> logging.Logger:
    """Says what went wrong, and not that a connection opened."""
    quiet = logging.getLogger(f"{__name__}.library")
    quiet.setLevel(logging.ERROR)
    return quiet


def shown_token(headers: Headers, offered: list[str]) -> str:
    """From the header Authorization, or else the subprotocol entrain.token.X; empty if none."""
    for value in headers.get_all("Authorization"):
        scheme, _, token = value.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    for name in offered:
        if name.startswith(TOKEN_PREFIX):
            text = name.removeprefix(TOKEN_PREFIX)
            try:
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                return ""
    return ""


def _offered(headers: Headers) -> list[str]:
    lines = headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _select(_connection: ServerConnection, offered: object) -> Subprotocol | None:
    """Also those that offer none are served, so that the report says more than that."""
    assert isinstance(offered, (list, tuple))
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _context(access: Access) -> ssl.SSLContext | None:
    if access.certificate_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(access.certificate_file, access.key_file)
        if access.client_ca_file is not None:
            context.load_verify_locations(access.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as error:
        raise OptionError(
            f"--tls-certificate {access.certificate_file} and --tls-key {access.key_file} do not "
            f"work together ({error}); give the chain and the unencrypted key it was made for"
        ) from None
    return context
