"""A port that games dial: whether it is free, who has it if it is not, and who dials it.

Nothing here knows gRPC.
"""

import errno
import socket
import sys

from entrain_envs.port_owner import port_owner
from entrain_envs.unity.errors import PortError


def hosts_of(host: str) -> tuple[str, ...]:
    """The addresses to listen on: for localhost both loopback addresses, if there is IPv6."""
    if host != "localhost":
        return (host,)
    return ("127.0.0.1", "::1") if _has_ipv6_loopback() else ("127.0.0.1",)


def at(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def claim(host: str, port: int) -> int:
    """The port to listen on, free on every address of `host`; PortError if there is none.

    It is free again when this returns; who binds it must still be ready to fail.
    """
    bound: list[socket.socket] = []
    try:
        for address in hosts_of(host):
            bound.append(_bound(address, port))
            port = bound[-1].getsockname()[1]
    finally:
        for each in bound:
            each.close()
    return port


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise PortError(
            f"'{host}' is no host that this machine can find ({error.strerror}); listen on "
            "localhost, which games dial"
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
        raise refused(host, port, error) from None
    return bound


def refused(host: str, port: int, error: OSError) -> PortError:
    """Why a port cannot be listened on, and what to do about it."""
    where = at(host, port)
    if error.errno != errno.EADDRINUSE:
        return PortError(
            f"{where} cannot be listened on for games ({error.strerror}); choose another port or "
            "host"
        )
    owner = port_owner(port)
    by = f"by {owner}" if owner else "by another program, perhaps another trainer or mlagents-learn"
    return PortError(
        f"{where}, which games dial, is in use {by}; stop it, or choose another port (the Unity "
        "Editor dials the one in its project settings, 5004 if none is given)"
    )


def host_of(peer: str) -> str:
    """The host in what gRPC calls a peer: `ipv4:127.0.0.1:41234` -> `127.0.0.1`."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return kind or "unknown"
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
