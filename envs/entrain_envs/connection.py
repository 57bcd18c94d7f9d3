"""One stream to a trainer, over gRPC or WebSocket: open, send, receive, end.

Every failure is raised as one of two kinds: BrokenStreamError, where dialling again may help, or
RefusedError, where it would not. The client decides whether to dial again, and for how long. The
address says which transport it is; nothing else of the SDK knows.
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from entrain_envs import silence
from entrain_envs.errors import (
    BrokenStreamError,
    MissingExtraError,
    NoRoomError,
    OptionError,
    RefusedError,
)
from entrain_envs.wire import trainer_pb2 as pb

MEBIBYTE = 1024 * 1024

WEBSOCKET_SCHEMES = ("ws://", "wss://")

_RETRYABLE = frozenset(
    {"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"}
)
"""gRPC's names of its codes after which dialling again may help."""


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
    """HOST:PORT, [IPV6]:PORT or unix:PATH of gRPC; or ws://HOST:PORT or wss://HOST:PORT."""

    token: str | Path = ""
    """Bearer token, or a file whose first line it is, read each time; empty sends none."""

    tls_ca: Path | None = None
    """PEM file of the authority that signed the trainer's certificate. Switches TLS on. Without
    it, wss:// trusts the authorities that this system trusts."""

    tls_certificate: Path | None = None
    """PEM file of this simulator's own certificate, if the trainer wants one."""

    tls_key: Path | None = None
    """PEM file of the private key of `tls_certificate`."""

    max_message_mib: float = 256.0
    """Largest message in either direction. The usual default of 4 is too small for images."""

    def __post_init__(self) -> None:
        if self.is_websocket:
            self._check_url()
        elif self.address.startswith("unix:"):
            if sys.platform == "win32":
                raise OptionError(
                    f"{self.address}: gRPC has no unix sockets on Windows; use HOST:PORT"
                )
        elif not self.address.rpartition(":")[2].isdigit() or self.address.startswith(":"):
            raise OptionError(
                f"'{self.address}' is no address; expected HOST:PORT, [IPV6]:PORT or unix:PATH, "
                "such as localhost:50051, or ws://HOST:PORT"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise OptionError("a client certificate needs both its certificate and its key file")
        if self.tls_certificate is not None and self.tls_ca is None and not self.is_websocket:
            raise OptionError(
                "a client certificate is given without the authority that signed the trainer's "
                "own; give that as tls_ca"
            )
        for path in (self.tls_ca, self.tls_certificate, self.tls_key):
            if path is not None:
                file_content(path)
        self._shown()

    def _check_url(self) -> None:
        try:
            has_host = bool(self.url.hostname) and self.url.port != 0
        except ValueError:
            has_host = False
        if not has_host or self.url.query or self.url.fragment or "@" in self.url.netloc:
            raise OptionError(
                f"'{self.address}' is no address of a WebSocket; expected ws://HOST:PORT or "
                "wss://HOST:PORT, such as ws://localhost:50052"
            )
        if self.tls_ca is not None and self.url.scheme == "ws":
            raise OptionError(
                f"{self.address} is dialled without TLS, and an authority for TLS is given; dial "
                f"wss://{self.url.netloc}, or leave out tls_ca (--tls-ca, ENTRAIN_TLS_CA)"
            )
        if find_spec("websockets") is None:
            raise MissingExtraError(
                f"{self.address} is dialled over WebSocket, which needs a package more; install it "
                "with: pip install 'entrain-envs[websocket]'"
            )

    @property
    def is_websocket(self) -> bool:
        """Whether it is dialled over WebSocket."""
        return self.address.startswith(WEBSOCKET_SCHEMES)

    @property
    def url(self) -> SplitResult:
        """The address of a WebSocket, in its parts."""
        return urlsplit(self.address)

    @property
    def max_message_bytes(self) -> int:
        """Of one message."""
        return int(self.max_message_mib * MEBIBYTE)

    def open(self) -> Connection:
        """Start a stream, with what the files hold now.

        If no trainer is there, the first `receive` raises.

        Raises:
            OptionError: a file cannot be used. Where it was right before, it is being renewed.
        """
        # Each transport is imported only where it is used: that takes a while.
        if self.is_websocket:
            from entrain_envs.websocket_connection import WebSocketConnection  # noqa: PLC0415

            return WebSocketConnection(self, self._shown())
        from entrain_envs.grpc_connection import GrpcConnection  # noqa: PLC0415

        return GrpcConnection(self, self._shown())

    def _shown(self) -> str:
        return first_line(self.token) if isinstance(self.token, Path) else self.token


def failure_of(code: str, words: str) -> BrokenStreamError | RefusedError:
    """The error for a stream that ended with this status.

    Args:
        code: gRPC's name of it.
        words: what the other end said.
    """
    if code in _RETRYABLE:
        return BrokenStreamError(f"{code}: {words}")
    if code == "UNIMPLEMENTED":
        return RefusedError(
            f"what answers there is no entrain trainer ({words}); check address and port"
        )
    return (NoRoomError if code == "RESOURCE_EXHAUSTED" else RefusedError)(f"{words} ({code})")


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


def file_content(path: Path) -> bytes:
    """The content of a file; OptionError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
