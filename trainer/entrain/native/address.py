"""Where to listen: HOST:PORT, [IPV6]:PORT or unix:PATH, and whether other machines can reach
it. Nothing here knows of gRPC.
"""

import errno
import ipaddress
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from entrain.config.run import ServerConfig
from entrain.errors import ConfigError, ServeError
from entrain_envs.port_owner import port_owner

MAX_UNIX_PATH = 103
"""Bytes of a socket's path that fit everywhere (macOS 104, Linux 108, with a closing zero)."""

WILDCARDS = ("0.0.0.0", "::")

SERVER_ADDRESS = "server.address"
"""The option that messages name, unless they are told of another."""


@dataclass(frozen=True)
class TcpAddress:
    """A host name or number, and a port; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts to bind: for localhost both loopback addresses, if there is IPv6."""
        if self.host != "localhost":
            return (self.host,)
        return ("127.0.0.1", "::1") if has_ipv6_loopback() else ("127.0.0.1",)

    def at(self, host: str, port: int) -> str:
        """HOST:PORT, with brackets around an IPv6 address."""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def to_dial(self, port: int) -> str:
        """The address that simulators on this machine dial."""
        return self.at("localhost" if self.host in WILDCARDS else self.host, port)

    def __str__(self) -> str:
        return self.at(self.host, self.port)


@dataclass(frozen=True)
class UnixAddress:
    """A socket in the file system; only programs of this machine reach it."""

    path: Path

    @property
    def is_local(self) -> bool:
        """Always."""
        return True

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


def parse_address(text: str, *, option: str = SERVER_ADDRESS) -> Address:
    """Read an address that `option` has; ConfigError naming it and what is expected."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise _not_an_address(text, option)
        return UnixAddress(Path(path))
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _not_an_address(text, option)
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise _not_an_address(text, option)
    return TcpAddress(host, int(port))


def _not_an_address(text: str, option: str) -> ConfigError:
    return ConfigError(
        f"{option} is '{text}'; expected HOST:PORT such as localhost:50051, "
        "[IPV6]:PORT such as [::1]:50051, or unix:PATH"
    )


def check_exposure(address: Address, config: ServerConfig, *, option: str = SERVER_ADDRESS) -> None:
    """Raise ConfigError if other machines can reach the address without TLS or `insecure`."""
    if isinstance(address, UnixAddress) or address.is_local:
        return
    if config.tls_certificate is not None or config.insecure:
        return
    raise ConfigError(
        f"{option} is '{address}', which other machines reach, and there is no TLS. Either "
        f"give server.tls_certificate and server.tls_key, or listen on localhost:{address.port} "
        "(and let others in through a tunnel), or accept that anyone who reaches the port can join "
        "and read along: server.insecure, or --insecure on the command line"
    )


def has_ipv6_loopback() -> bool:
    """Whether ::1 can be listened on."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def clear_unix_path(address: UnixAddress) -> None:
    """Remove the socket that a trainer left when it was killed; ServeError if it is in use."""
    path = address.path
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise ServeError(
            f"server.address is '{address}', and Python has no unix sockets on this system; "
            "use localhost:50051"
        )
    if len(str(path).encode()) > MAX_UNIX_PATH:
        raise ServeError(
            f"server.address is '{address}', longer than the {MAX_UNIX_PATH} bytes that the path "
            "of a unix socket may have; choose a shorter one, such as unix:/tmp/entrain.sock"
        )
    if not path.parent.is_dir():
        raise ServeError(
            f"server.address is '{address}', and the folder {path.parent} does not exist; make it, "
            "or choose another path"
        )
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise ServeError(
            f"server.address is '{address}', and {path} is a file that is no socket; "
            "choose another path, or remove it"
        )
    if _is_listening(path):
        raise ServeError(
            f"another program listens on {address}; stop it, or choose another path with "
            "server.address (--set server.address=unix:PATH)"
        )
    path.unlink()


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def peer_host(peer: str) -> str:
    """The host in what gRPC calls a peer: `ipv4:10.0.0.7:41234` -> `10.0.0.7`."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind or "unknown"
    host = rest.rpartition(":")[0]
    return host.replace("%5B", "").replace("%5D", "").strip("[]")


def claim_port(address: TcpAddress) -> int:
    """The port to listen on, free on every host of `address`; ServeError if there is none.

    It is free again when this returns; who binds it must still be ready to fail.
    """
    sockets = listening_sockets(address)
    port = int(sockets[0].getsockname()[1])
    for bound in sockets:
        bound.close()
    return port


def listening_sockets(address: TcpAddress, *, option: str = SERVER_ADDRESS) -> list[socket.socket]:
    """Listens on every host of `address`, which `option` has, at one port; ServeError if it cannot.
    The caller closes them.
    """
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for host in address.hosts:
            sockets.append(_bound(address, host, port, option))
            port = sockets[-1].getsockname()[1]
    except ServeError:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _bound(address: TcpAddress, host: str, port: int, option: str) -> socket.socket:
    where = address.at(host, port)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ServeError(
            f"{option} is '{address}', and '{host}' is no host that this machine can find "
            f"({error.strerror}); use localhost:{port}, or 0.0.0.0:{port} for all its addresses"
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        if sys.platform == "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        bound.bind(target)
        # On Linux two sockets may be bound to one port as long as neither listens.
        bound.listen(1)
    except OSError as error:
        bound.close()
        raise cannot_listen(address, where, error, option=option) from None
    return bound


def cannot_listen(address: TcpAddress, where: str, error: OSError, *, option: str) -> ServeError:
    """The reason of an error, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(address.port) or "a trainer that still runs?"
        return ServeError(
            f"{where} is in use by another program ({owner}); stop it, or "
            f"choose another port: --set {option}={address.at(address.host, 0)} takes any "
            "free one"
        )
    if error.errno == errno.EACCES:
        return ServeError(
            f"{where} may not be listened on by this user; choose a port above 1023 with {option}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ServeError(
            f"{where} is no address of this machine; listen on localhost:{address.port}, or on "
            f"0.0.0.0:{address.port} for all its addresses, with {option}"
        )
    return ServeError(f"{where} cannot be listened on ({error.strerror}); choose another {option}")
