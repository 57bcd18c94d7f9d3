"""Limits how often each peer may do something: one token bucket a peer, bounded in number."""

import time
from collections.abc import Callable

MOST_PEERS = 4096
"""Most peers that are remembered; the one that is quiet for longest is forgotten first."""


class Rates:
    """Grants `per_s` a second to each peer, and `burst` at once. Owned by the event loop."""

    def __init__(
        self, *, per_s: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Every peer may begin with `burst`; `clock` gives seconds."""
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._peers: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def take(self, peer: str) -> bool:
        """Take a token of `peer`, if it has one; returns whether it had."""
        now_s = self._clock()
        left, at_s = self._peers.pop(peer, (self._burst, now_s))
        left = min(self._burst, left + (now_s - at_s) * self._per_s)
        is_granted = left >= 1.0
        self._peers[peer] = (left - 1.0 if is_granted else left, now_s)
        if len(self._peers) > MOST_PEERS:
            del self._peers[next(iter(self._peers))]
        return is_granted
