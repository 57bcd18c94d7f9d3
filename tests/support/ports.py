"""Ports of this machine that nobody listens on now.

They lie below those that the system gives to connections which programs open: such a port can be
taken again before the test listens on it.
"""

import secrets
import socket

FIRST, LAST = 20_000, 32_000


def free_port() -> int:
    """One of them."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of so many in a row."""
    while True:
        first = FIRST + secrets.randbelow(LAST - FIRST)
        try:
            for port in range(first, first + count):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
