"""How long a run has lasted, over all its sittings."""

import time
from collections.abc import Callable

from entrain.state import State


class RunClock:
    """Counts the seconds of a run; time between a stop and its resume does not count."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin now. `clock` gives seconds, `wall_clock` seconds since 1970."""
        self._clock = clock
        self._began_s = clock()
        self._earlier_s = 0.0
        self._held_s: float | None = None
        self.started_at = wall_clock()
        """Seconds since 1970, of the first sitting."""

    @property
    def seconds(self) -> float:
        """Wall-clock time of the run until now."""
        now_s = self._clock() if self._held_s is None else self._held_s
        return self._earlier_s + now_s - self._began_s

    def hold(self) -> None:
        """The run is paused: until it goes on, time does not count."""
        self._held_s = self._clock()

    def go_on(self) -> float:
        """It goes on. Returns for how many seconds it was paused."""
        held_s = 0.0 if self._held_s is None else self._clock() - self._held_s
        self._began_s += held_s
        self._held_s = None
        return held_s

    def state(self) -> State:
        """Returns when the run started and how long it has lasted."""
        return {"started_at": self.started_at, "seconds": self.seconds}

    def load_state(self, state: State) -> None:
        """Go on from there."""
        self._earlier_s = float(state["seconds"])
        self.started_at = float(state["started_at"])
