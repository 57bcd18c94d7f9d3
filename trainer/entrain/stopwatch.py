"""Measures which parts of a loop take how much of its time."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


class Stopwatch:
    """Adds up the time of each part of a loop. Owned by that loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s = self._begin_s = clock()
        self._seconds: dict[str, float] = {}
        self._held_s: float | None = None

    def start(self) -> None:
        """Begin a lap; time before now belongs to no part."""
        self._last_s = self._clock()

    def lap(self, part: str) -> None:
        """End a lap that belongs to `part`, and begin the next."""
        now_s = self._clock()
        self._seconds[part] = self._seconds.get(part, 0.0) + now_s - self._last_s
        self._last_s = now_s

    def credit(self, part: str, seconds: float) -> None:
        """Let the last so many seconds belong to `part` instead of the lap that goes on."""
        self._seconds[part] = self._seconds.get(part, 0.0) + seconds
        self._last_s += seconds

    def hold(self) -> None:
        """The loop is held from now on."""
        self._held_s = self._clock()

    def go_on(self, *, counts: bool) -> None:
        """It is held no more. Unless that time `counts`, it belongs to no part and no rate."""
        if self._held_s is not None and not counts:
            held_s = self._clock() - max(self._held_s, self._last_s)
            self._last_s += held_s
            self._begin_s += held_s
        self._held_s = None

    def metrics(self, env_steps: int) -> Mapping[str, float]:
        """Returns steps per second and each part's share of the time, since the last call.

        The time is that up to the end of the last lap, so that the shares add up to 1.

        Args:
            env_steps: done since the last call.
        """
        elapsed_s = max(self._last_s - self._begin_s, 1e-9)
        shares = {f"time/{part}": seconds / elapsed_s for part, seconds in self._seconds.items()}
        self._begin_s = self._last_s
        self._seconds = {}
        return {"time/env_steps_per_second": env_steps / elapsed_s, **shares}


class Lasted:
    """How long something has lasted, over all sittings of a run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """It begins now; `clock` gives seconds."""
        self._clock = clock
        self._began_s = clock()
        self._held_s: float | None = None

    @property
    def seconds(self) -> float:
        """Until now, or until it was held."""
        now_s = self._clock() if self._held_s is None else self._held_s
        return now_s - self._began_s

    def hold(self) -> None:
        """From now on time does not count."""
        self._held_s = self._clock()

    def go_on(self) -> None:
        """It counts again."""
        if self._held_s is not None:
            self._began_s += self._clock() - self._held_s
        self._held_s = None

    def go_on_after(self, seconds: float) -> None:
        """It had lasted so long when its first moment here came; time between does not count."""
        self._began_s -= seconds


class Shares:
    """Turns running counts of seconds into shares of the time that passed. Owned by its caller."""

    def __init__(
        self, seconds: Mapping[str, float], *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Begin now.

        Args:
            seconds: {part: seconds spent on it so far}.
            clock: seconds.
        """
        self._clock = clock
        self._before, self._before_s = dict(seconds), clock()

    def leave_out(self, seconds: float) -> None:
        """So much of the time since the last call does not count."""
        self._before_s += seconds

    def since_last(self, seconds: Mapping[str, float]) -> Mapping[str, float]:
        """Returns {"time/part": share} since the last call, at first since the beginning.

        Args:
            seconds: {part: seconds spent on it so far}.
        """
        now_s = self._clock()
        before, elapsed_s = self._before, max(now_s - self._before_s, 1e-9)
        self._before, self._before_s = dict(seconds), now_s
        return {
            f"time/{part}": (count - before.get(part, 0.0)) / elapsed_s
            for part, count in seconds.items()
        }


@dataclass
class ServerTimings:
    """Seconds of the event loop's time since the start. Only grows."""

    decode: float = 0.0
    """Reading and checking what simulators send."""

    encode: float = 0.0
    """Writing what they are answered."""
