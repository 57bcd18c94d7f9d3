"""On which of its addresses rank 0 listens for the other ranks."""

import socket

ANY = "0.0.0.0"


def family_of(host: str) -> socket.AddressFamily:
    """Returns the family of an address in numbers."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def own_hosts(address: str) -> list[str]:
    """The numbers of this machine that `address` names; all of them if it is another's name."""
    try:
        found = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)
    except OSError:
        return [ANY]
    hosts = sorted({str(each[4][0]) for each in found})
    own = []
    for host in hosts:
        with socket.socket(family_of(host), socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, 0))
            except OSError:
                continue
            own.append(host)
    # One only: with port 0 each would have another port.
    return own[:1] or [ANY]
