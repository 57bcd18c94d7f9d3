"""One gRPC stream to a trainer: open, send, receive, end. The only module here that uses gRPC.

Every failure is raised as one of two kinds: BrokenStreamError, where dialling again may help, or
RefusedError, where it would not. The client decides whether to dial again, and for how long.
"""

import collections
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from entrain_envs import silence
from entrain_envs.errors import (
    BrokenStreamError,
    MisfitError,
    NoRoomError,
    OptionError,
    RefusedError,
    SilentStreamError,
)
from entrain_envs.wire import trainer_pb2 as pb
from entrain_envs.wire import trainer_pb2_grpc

MEBIBYTE = 1024 * 1024

CLOSE_S = 2.0
"""Longest wait for gRPC to close a channel. Normally it takes milliseconds."""

_RETRYABLE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)


class Connection(silence.Stream, Protocol):
    """One stream. Owned by the thread that made it, but for what `silence.Stream` asks of it."""

    def send(self, request: pb.ConnectRequest) -> None:
        """Queue one message. Failures are raised by `receive`."""
        ...

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        """Wait for the trainer's next message. A timeout of 0 waits as long as the stream lives.

        Raises:
            BrokenStreamError: the stream ended, or no message arrived in time.
            RefusedError: the trainer ended the stream and gave a reason.
        """
        ...

    def end(self, *, timeout_s: float) -> None:
        """Stop sending, wait up to `timeout_s` for the trainer to end the stream, and close it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Address of a trainer, and how to connect to it."""

    address: str
    """HOST:PORT, [IPV6]:PORT or unix:PATH."""

    token: str | Path = ""
    """Bearer token, or a file whose first line it is, read each time; empty sends none."""

    tls_ca: Path | None = None
    """PEM file of the authority that signed the trainer's certificate. Switches TLS on."""

    tls_certificate: Path | None = None
    """PEM file of this simulator's own certificate, if the trainer wants one."""

    tls_key: Path | None = None
    """PEM file of the private key of `tls_certificate`."""

    max_message_mib: float = 256.0
    """Largest message in either direction. gRPC's default of 4 is too small for camera images."""

    def __post_init__(self) -> None:
        if self.address.startswith("unix:"):
            if sys.platform == "win32":
                raise OptionError(
                    f"{self.address}: gRPC has no unix sockets on Windows; use HOST:PORT"
                )
        elif not self.address.rpartition(":")[2].isdigit() or self.address.startswith(":"):
            raise OptionError(
                f"'{self.address}' is no address; expected HOST:PORT, [IPV6]:PORT or unix:PATH, "
                "such as localhost:50051"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise OptionError("a client certificate needs both its certificate and its key file")
        if self.tls_certificate is not None and self.tls_ca is None:
            raise OptionError(
                "a client certificate is given without the authority that signed the trainer's "
                "own; give that as tls_ca"
            )
        for path in (self.tls_ca, self.tls_certificate, self.tls_key):
            if path is not None:
                _content(path)
        self._shown()

    def open(self) -> Connection:
        """Start a stream, with what the files hold now.

        If no trainer is there, the first `receive` raises.

        Raises:
            BrokenStreamError: a file cannot be read, as while it is being renewed.
        """
        try:
            token = self._shown()
            metadata = [("authorization", f"Bearer {token}")] if token else []
            return _GrpcConnection(self._channel, metadata)
        except OptionError as error:
            raise BrokenStreamError(str(error)) from None

    def _shown(self) -> str:
        return first_line(self.token) if isinstance(self.token, Path) else self.token

    def _channel(self) -> grpc.Channel:
        limit = int(self.max_message_mib * MEBIBYTE)
        options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            # Pings notice a trainer whose machine has gone, even while nothing is being sent.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.enable_http_proxy", 0),
            # The client dials again by itself. gRPC must not keep copies of messages for a retry,
            # and a new channel must not wait for the back-off of the previous one.
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self.tls_ca is None:
            return grpc.insecure_channel(self.address, options)
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_content(self.tls_ca),
            private_key=_content(self.tls_key) if self.tls_key else None,
            certificate_chain=_content(self.tls_certificate) if self.tls_certificate else None,
        )
        return grpc.secure_channel(self.address, credentials, options)


class _GrpcConnection:
    """A stream whose requests come from a queue that gRPC's own thread empties.

    asyncio and a reader thread of our own were measured too. All three are within 5 % of each
    other, so this is the simplest one.
    """

    def __init__(
        self, open_channel: Callable[[], grpc.Channel], metadata: list[tuple[str, str]]
    ) -> None:
        self._open_channel = open_channel
        self._metadata = metadata
        self._why_given_up = ""
        channel = self._channel = open_channel()
        self._requests: queue.SimpleQueue[pb.ConnectRequest | None] = queue.SimpleQueue()
        outgoing: Iterator[pb.ConnectRequest] = iter(self._requests.get, None)
        stub = trainer_pb2_grpc.TrainerStub(channel)  # type: ignore[no-untyped-call]
        self._call = stub.Connect(outgoing, metadata=metadata)

    def send(self, request: pb.ConnectRequest) -> None:
        self._requests.put(request)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        if timeout_s > 0.0:
            return self._receive_within(timeout_s)
        try:
            response: pb.ConnectResponse = next(self._call)
        except StopIteration:
            raise BrokenStreamError("the trainer ended the stream without a Close") from None
        except grpc.RpcError as error:
            if self._why_given_up:
                raise SilentStreamError(self._why_given_up) from None
            raise _translated(error) from None
        return response

    def give_up(self, words: str) -> None:
        self._why_given_up = words
        self._call.cancel()

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        # A channel has a connection of its own, so this one is not held up by what holds up the
        # stream's.
        with self._open_channel() as channel:
            stub = trainer_pb2_grpc.TrainerStub(channel)  # type: ignore[no-untyped-call]
            try:
                answer: pb.InquireResponse = stub.Inquire(
                    request, metadata=self._metadata, timeout=timeout_s
                )
            except grpc.RpcError as error:
                raise _translated(error) from None
        return answer

    def _receive_within(self, timeout_s: float) -> pb.ConnectResponse:
        # A synchronous stream has no read with a timeout. Cancelling the call ends the read.
        timer = threading.Timer(timeout_s, self._call.cancel)
        timer.start()
        try:
            return self.receive()
        finally:
            timer.cancel()

    def end(self, *, timeout_s: float) -> None:
        self._requests.put(None)
        if timeout_s > 0.0:
            timer = threading.Timer(timeout_s, self._call.cancel)
            timer.start()
            self._drain()
            timer.cancel()
        self._call.cancel()
        # A signal can interrupt gRPC between registering a read and starting it. Closing then
        # waits for ever for that read, so it runs in a thread that nothing waits for.
        closing = threading.Thread(target=self._channel.close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _drain(self) -> None:
        """Read until the stream ends, because its final status arrives only after all messages."""
        while True:
            try:
                collections.deque(self._call, maxlen=0)
            except grpc.RpcError:
                return
            except ValueError:
                # A signal interrupted a read that still runs inside gRPC. It allows no second
                # read until the trainer answers or ends the stream.
                time.sleep(0.005)
            else:
                return


def _translated(error: grpc.RpcError) -> BrokenStreamError | RefusedError:
    code: grpc.StatusCode = error.code()
    words = str(error.details() or "no details")
    if code in _RETRYABLE:
        return BrokenStreamError(f"{code.name}: {words}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return RefusedError(
            f"what answers there is no entrain trainer ({words}); check address and port"
        )
    if code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return RefusedError(f"{words} ({code.name})")
    if "larger than max" in words:
        return _too_long(words)
    return NoRoomError(f"{words} ({code.name})")


def _too_long(words: str) -> MisfitError:
    """The error for a message that gRPC refused, on either side, with the remedy."""
    if "CLIENT" in words:
        remedy = (
            "raise max_message_mib of this simulator's TrainerClient (--max-message-mib of "
            "entrain-env)"
        )
    else:
        # A trainer sets gRPC's limit to twice its own, so the message names the wrong number.
        remedy = "raise server.max_message_mib of the trainer (gRPC's limit is twice that)"
    return MisfitError(
        f"a message is too long ({words}); send fewer agents in a message or smaller images, or "
        f"{remedy} (RESOURCE_EXHAUSTED)"
    )


def first_line(path: Path) -> str:
    """The token in a file; OptionError if it cannot be read or has none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise OptionError(f"cannot read token file {path}: {why}") from None
    if not lines or not lines[0].strip():
        raise OptionError(f"token file {path} is empty; its first line must be the token")
    return lines[0].strip()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
