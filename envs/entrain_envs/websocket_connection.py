"""One stream to a trainer over WebSocket: each message a binary one, and refusals as errors.

See "Over WebSocket" in proto/README.md.
"""

import ssl
import time
from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.message import DecodeError

from entrain_envs.connection import Destination, failure_of
from entrain_envs.errors import (
    BrokenStreamError,
    MisfitError,
    OptionError,
    RefusedError,
    SilentStreamError,
)
from entrain_envs.web_socket import WebSocket
from entrain_envs.web_socket_frames import ClosedError, Endpoint, NotOpenedError, TooLongError
from entrain_envs.wire import trainer_pb2 as pb

M = TypeVar("M", pb.ConnectResponse, pb.InquireResponse)

SIMULATE = "/simulate"
INQUIRE = "/inquire"

CODES: Mapping[int, str] = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}
"""gRPC's names of its numbers."""

REFUSED_FROM, REFUSED_TO = 4000, 4099
"""A close frame's code of a refusal is the first of these and gRPC's number."""

_CLOSED: Mapping[int, str] = {
    1003: "INVALID_ARGUMENT",
    1007: "INVALID_ARGUMENT",
    1008: "RESOURCE_EXHAUSTED",
    1009: "RESOURCE_EXHAUSTED",
}
"""What further codes of close frames mean that are refusals."""

_ANSWERED: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    408: "UNAVAILABLE",
    429: "UNAUTHENTICATED",
}
"""What an answer of HTTP below 500 means; any other comes from what is no trainer."""

_FOR_EVER_S = 365 * 24 * 3600.0
"""Longer than any update."""


class WebSocketConnection:
    """See the module, and `Connection`."""

    def __init__(self, to: Destination, token: str) -> None:
        """Nothing is dialled before `receive`. OptionError if a file of certificates is wrong.

        Args:
            to: where, and with which certificates.
            token: that is shown; empty: none.
        """
        self._destination = to
        self._token = token
        self._why_given_up = ""
        self._misfit: MisfitError | None = None
        self._has_left = False
        self._socket = WebSocket(_endpoint(to, SIMULATE, token))

    def send(self, request: pb.ConnectRequest) -> None:
        """See `Connection`."""
        content = request.SerializeToString()
        self._has_left = request.HasField("goodbye")
        if len(content) > self._destination.max_message_bytes:
            self._misfit = _too_long(f"{len(content):,} bytes are to be sent")
        else:
            self._socket.send(content)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        """See `Connection`."""
        if self._misfit is not None:
            raise self._misfit
        until_s = time.monotonic() + (timeout_s if timeout_s > 0.0 else _FOR_EVER_S)
        try:
            content = _received(self._socket, until_s)
        except BrokenStreamError:
            if self._why_given_up:
                raise SilentStreamError(self._why_given_up) from None
            raise
        response = _read(pb.ConnectResponse(), content)
        if response.HasField("refusal"):
            refusal = response.refusal
            raise failure_of(_name_of(refusal.code), refusal.message)
        return response

    def give_up(self, words: str) -> None:
        """See `Stream`."""
        self._why_given_up = words
        self._socket.break_off()

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        """See `Stream`."""
        socket = WebSocket(_endpoint(self._destination, INQUIRE, self._token))
        try:
            socket.send(request.SerializeToString())
            content = _received(socket, time.monotonic() + timeout_s)
        finally:
            socket.close()
        return _read(pb.InquireResponse(), content)

    def end(self, *, timeout_s: float) -> None:
        """See `Connection`."""
        if timeout_s > 0.0:
            # After a Goodbye the trainer closes, once it has dealt with it.
            if not self._has_left:
                self._socket.say_end()
            self._socket.drain(until_s=time.monotonic() + timeout_s)
        self._socket.close()


def _endpoint(to: Destination, path: str, token: str) -> Endpoint:
    url = to.url
    assert url.hostname is not None
    is_secure = url.scheme == "wss"
    prefix = url.path.rstrip("/").removesuffix(SIMULATE)
    return Endpoint(
        host=url.hostname,
        port=url.port or (443 if is_secure else 80),
        path=prefix + path,
        max_bytes=to.max_message_bytes,
        tls=_tls(to) if is_secure else None,
        token=token,
    )


def _tls(to: Destination) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=to.tls_ca)
        if to.tls_certificate is not None:
            context.load_cert_chain(to.tls_certificate, to.tls_key)
    except (ssl.SSLError, OSError) as error:
        files = ", ".join(str(it) for it in (to.tls_ca, to.tls_certificate, to.tls_key) if it)
        raise OptionError(
            f"TLS cannot use {files} ({error}); give PEM files: the authority's certificate, and "
            "a certificate with the key it was made for"
        ) from None
    return context


def _received(socket: WebSocket, until_s: float) -> bytes:
    try:
        return socket.receive(until_s=until_s)
    except NotOpenedError as error:
        name = "UNAVAILABLE" if error.status >= 500 else _ANSWERED.get(error.status)
        if name is not None:
            raise failure_of(name, error.words) from None
        raise failure_of("UNIMPLEMENTED", f"{error}; see server.websocket") from None
    except TooLongError as error:
        raise _too_long(str(error)) from None
    except ClosedError as error:
        raise _of_close(error) from None


def _of_close(error: ClosedError) -> BrokenStreamError | RefusedError:
    name = _CLOSED.get(error.code)
    if name is None and REFUSED_FROM <= error.code <= REFUSED_TO:
        name = _name_of(error.code - REFUSED_FROM)
    if name is not None:
        return failure_of(name, error.words or str(error))
    if error.code == 1000:
        return BrokenStreamError("the trainer ended the stream without a Close")
    return BrokenStreamError(f"UNAVAILABLE: {error}")


def _name_of(number: int) -> str:
    """The name that gRPC gives it, if any. No dial is known to help after one without."""
    return CODES.get(number, f"code {number}")


def _too_long(words: str) -> MisfitError:
    return MisfitError(
        f"a message is too long ({words}); send fewer agents in a message or smaller images, or "
        "raise max_message_mib of this simulator's TrainerClient (--max-message-mib of entrain-env)"
    )


def _read(message: M, content: bytes) -> M:
    try:
        message.ParseFromString(content)
    except DecodeError:
        raise BrokenStreamError(
            f"INTERNAL: {len(content):,} bytes came that are no {message.DESCRIPTOR.name}"
        ) from None
    return message
