"""The host names under which a page may be requested: none of other sites' scripts can use it.

A site may let its own name point to this machine (DNS rebinding); a browser then lets its scripts
read what is served here, and says that name in the header Host. A number cannot be rebound, so the
number that a connection came in by is always allowed.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache


def host_of(header: str) -> str:
    """Returns the host in `HOST`, `HOST:PORT` or `[IPV6]:PORT`, in lower case; "" for none."""
    text = header.strip().lower()
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        is_whole = bool(bracket) and (not port or (port[0] == ":" and _is_port(port[1:])))
        return host if is_whole else ""
    host, colon, port = text.partition(":")
    return (host if not colon or _is_port(port) else "").removesuffix(".")


class Hosts:
    """The names of one page."""

    def __init__(self, listening: str, further: Iterable[str] = ()) -> None:
        """Allow the host that is listened on, and `further` names."""
        self._names = {host_of(name) or name.lower() for name in further}
        # Of a wildcard, no browser asks by name.
        if not _is_wildcard(listening):
            self._names.add(listening.lower())

    def allow(self, header: str, *, came_in_by: str) -> bool:
        """Whether a request with this header Host, on a connection to that number, is answered."""
        host = host_of(header)
        if not host:
            return False
        if host in self._names or _same_number(host, came_in_by):
            return True
        return host == "localhost" and _is_loopback(came_in_by)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


@lru_cache(maxsize=256)
def _number(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = number.ipv4_mapped if isinstance(number, ipaddress.IPv6Address) else None
    return mapped or number


def _same_number(one: str, other: str) -> bool:
    number = _number(one)
    return number is not None and number == _number(other)


def _is_loopback(text: str) -> bool:
    number = _number(text)
    return number is not None and number.is_loopback


def _is_wildcard(text: str) -> bool:
    number = _number(text)
    return number is not None and number.is_unspecified
