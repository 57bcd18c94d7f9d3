"""The ports that runs are given: the one that a run had before, else the first that is free."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from entrain.errors import ConfigError, ServeError
from entrain.native.address import TcpAddress, claim_port

_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")


@dataclass(frozen=True)
class Ports:
    """FIRST to LAST, both included. 0 to 0: any, of the system's choosing."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1

    def free_one(self, host: str, *, taken: Collection[int], before: int) -> int | None:
        """Returns a port on which nobody listens; None if there is none.

        Args:
            host: to listen on.
            taken: by runs that live, whether they listen yet or not.
            before: the one that is wanted most.
        """
        if self == ANY:
            return 0
        wanted: list[int] = list(range(self.first, self.last + 1))
        if before in wanted:
            wanted.insert(0, before)
        for port in wanted:
            if port not in taken and _is_free(host, port):
                return port
        return None


ANY = Ports(0, 0)
"""Ports that nobody but a run's own simulators must know."""


def parse_ports(text: str, *, option: str) -> Ports:
    """Read `50100-50199`, or one port; ConfigError naming the option if it is something else."""
    found = _RANGE.fullmatch(text if "-" in text else f"{text}-{text}")
    if found is not None:
        first, last = int(found[1]), int(found[2])
        if 1 <= first <= last <= 65535:
            return Ports(first, last)
    raise ConfigError(
        f"{option} is '{text}'; expected FIRST-LAST, two ports from 1 to 65535 of which the second "
        "is no less than the first, such as 50100-50199"
    )


def _is_free(host: str, port: int) -> bool:
    try:
        claim_port(TcpAddress(host, port))
    except ServeError:
        return False
    return True
