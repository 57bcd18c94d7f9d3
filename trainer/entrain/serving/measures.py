"""How long simulators wait for their answers, and how large batches are: counts by size.

Measured only for a run that shows its page; a count costs well under a microsecond.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence

LATENCY_BOUNDS_S = tuple(50e-6 * 2 ** (step / 2) for step in range(37))
"""From 50 microseconds to 13 seconds, two to each doubling."""

ROWS_BOUNDS = tuple(float(2**power) for power in range(17))
"""From 1 to 65,536."""


class Distribution:
    """Counts of values by size. Owned by the event loop."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """No values yet; `bounds` are the largest of each count, and one more has the rest."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        """Sum of all values."""

    def note(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def quantile(self, share: float) -> float:
        """The bound below which at least that share of the values lies; NaN if there are none."""
        wanted = share * sum(self.counts)
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            if count and below >= wanted:
                return bound
        return float("nan")


class ExchangeTimer:
    """Times one simulator's exchanges, from a step to its answer. Owned by the event loop."""

    __slots__ = ("_asked_s", "_clock", "_of_all", "latency")

    def __init__(self, of_all: Distribution, clock: Callable[[], float]) -> None:
        """Start without an open step; its measurements count in `of_all` as well."""
        self.latency = Distribution(LATENCY_BOUNDS_S)
        """Of this simulator, in seconds."""
        self._of_all = of_all
        self._clock = clock
        self._asked_s = 0.0

    def begin(self) -> None:
        """A step has come."""
        self._asked_s = self._clock()

    def end(self) -> None:
        """The step is answered. A step from before a resume is not counted."""
        if self._asked_s:
            seconds = self._clock() - self._asked_s
            self.latency.note(seconds)
            self._of_all.note(seconds)


class Measures:
    """Latencies and batch sizes of all exchanges of a run. Owned by the event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Nothing yet; `clock` gives seconds."""
        self.latency = Distribution(LATENCY_BOUNDS_S)
        """In seconds."""
        self.batch_rows = Distribution(ROWS_BOUNDS)
        """Agents of each batch."""
        self._clock = clock

    def timer(self) -> ExchangeTimer:
        """Makes the timer of one simulator."""
        return ExchangeTimer(self.latency, self._clock)
