"""Which policies get no steps any more: their simulators are gone, or send nothing.

A guest, that is a policy which the configuration does not name, must not hold a finished run.
"""

import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """How far one policy is."""

    env_steps: int
    is_learning: bool


class IdlePolicies:
    """Remembers since when each policy has got no step. Owned by the event loop."""

    def __init__(self, *, after_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is known yet.

        Args:
            after_s: a policy is idle once it has got no step, and learned nothing, for so long.
            clock: seconds.
        """
        self._after_s = after_s
        self._clock = clock
        self._since: dict[str, tuple[int, float]] = {}

    def look(self, standings: Mapping[str, Standing]) -> Set[str]:
        """The names of idle policies; to be called again and again."""
        now_s = self._clock()
        for name, standing in standings.items():
            steps, _ = self._since.get(name, (-1, now_s))
            if standing.is_learning or standing.env_steps != steps:
                self._since[name] = (standing.env_steps, now_s)
        return {name for name in standings if now_s - self._since[name][1] >= self._after_s}
