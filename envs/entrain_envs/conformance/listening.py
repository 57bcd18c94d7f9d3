"""Where the kit listens, and who may reach it: the rules are those of a trainer, and stricter.

Nothing here knows gRPC or WebSocket.
"""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from entrain_envs.connection import first_line
from entrain_envs.errors import OptionError


@dataclass(frozen=True)
class Place:
    """HOST:PORT, [IPV6]:PORT or unix:PATH of gRPC; or ws://HOST:PORT."""

    text: str
    host: str
    port: int
    is_websocket: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.text.startswith("unix:") or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_place(text: str, *, option: str) -> Place:
    """The place that an option names; OptionError if it is none."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Place(text, "", 0)
    scheme, is_websocket, rest = text.partition("://")
    if is_websocket and scheme not in {"ws", "wss"}:
        raise OptionError(f"{option} is '{text}'; expected HOST:PORT or ws://HOST:PORT")
    host, _, port = (rest if is_websocket else text).rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    is_port = port.isascii() and port.isdigit() and int(port) <= 65535
    if not host or not is_port or (":" in host and not is_bracketed):
        raise OptionError(
            f"{option} is '{text}'; expected HOST:PORT such as localhost:50051, [IPV6]:PORT, "
            "unix:PATH or ws://HOST:PORT"
        )
    return Place(text, host, int(port), is_websocket=bool(is_websocket))


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may dial: certificates and token."""

    token: str = ""
    certificate: bytes = b""
    """PEM; empty: no TLS."""

    key: bytes = b""
    client_ca: bytes = b""
    """PEM of the authority whose certificates simulators must show; empty: none need to."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None

    @classmethod
    def read(
        cls,
        *,
        token_file: Path | None,
        certificate: Path | None,
        key: Path | None,
        client_ca: Path | None,
    ) -> "Access":
        """From files; OptionError if one cannot be read, or is given without the other."""
        if (certificate is None) != (key is None):
            raise OptionError("TLS needs both --tls-certificate and --tls-key")
        if client_ca is not None and certificate is None:
            raise OptionError("--tls-client-ca needs --tls-certificate and --tls-key, too")
        return cls(
            token=first_line(token_file) if token_file is not None else "",
            certificate=_content(certificate),
            key=_content(key),
            client_ca=_content(client_ca),
            certificate_file=certificate,
            key_file=key,
            client_ca_file=client_ca,
        )

    def check_exposure(self, place: Place, *, insecure: bool) -> None:
        """OptionError if other machines reach the place without TLS and token."""
        if place.is_local or insecure or (self.certificate and self.token):
            return
        missing = [
            name
            for name, is_there in (
                ("TLS (--tls-certificate and --tls-key)", self.certificate),
                ("token (--token-file)", self.token),
            )
            if not is_there
        ]
        raise OptionError(
            f"'{place.text}' is reached by other machines, and there is no "
            f"{' and no '.join(missing)}; give both, or listen on localhost, or accept that "
            "anyone who reaches the port can dial and read along: --insecure"
        )


def _content(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise OptionError(f"cannot read {path}: {error.strerror}") from error
