"""Finds out, before gRPC is asked, whether an address can be listened on, and says why if not."""

import errno
import socket
import sys

from entrain.errors import ServeError
from entrain.server.address import TcpAddress


def claim_port(address: TcpAddress) -> int:
    """The port to listen on, free on every host of `address`; ServeError if there is none.

    It is free again when this returns; who binds it must still be ready to fail.
    """
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for host in address.hosts:
            sockets.append(_bound(address, host, port))
            port = sockets[-1].getsockname()[1]
    finally:
        for bound in sockets:
            bound.close()
    return port


def _bound(address: TcpAddress, host: str, port: int) -> socket.socket:
    where = address.at(host, port)
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ServeError(
            f"server.address is '{address}', and '{host}' is no host that this machine can find "
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
        raise cannot_listen(address, where, error) from None
    return bound


def cannot_listen(address: TcpAddress, where: str, error: OSError) -> ServeError:
    """Why, and what to do about it."""
    if error.errno == errno.EADDRINUSE:
        return ServeError(
            f"{where} is in use by another program (a trainer that still runs?); stop it, or "
            f"choose another port: --set server.address={address.at(address.host, 0)} takes any "
            "free one"
        )
    if error.errno == errno.EACCES:
        return ServeError(
            f"{where} may not be listened on by this user; choose a port above 1023 with "
            "server.address"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return ServeError(
            f"{where} is no address of this machine; listen on localhost:{address.port}, or on "
            f"0.0.0.0:{address.port} for all its addresses, with server.address"
        )
    return ServeError(
        f"{where} cannot be listened on ({error.strerror}); choose another server.address"
    )
