"""Aggregates the values of one statistic: their mean, sum, last one, or distribution.

An aggregate has one size, whatever the number of values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entrain.state import State
from entrain_envs.statistics import Aggregation, Float64Array

_POSITIVE = 1e-12 * 1.1 ** np.arange(775)
LIMITS = np.concatenate([-_POSITIVE[::-1], [0.0], _POSITIVE, [np.finfo(np.float64).max]])
"""Upper limits of a histogram's buckets, each ten percent wider than the one nearer to zero, as
TensorBoard's own writers have them."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How some values are distributed."""

    least: float
    most: float
    count: int
    total: float
    squares: float
    """Sum of the values' squares."""

    limits: Float64Array
    """[B] upper limit of each bucket, ascending; empty buckets at both ends are left out."""

    counts: NDArray[np.int64]
    """[B] values in each bucket."""

    def joined(self, other: "Histogram") -> "Histogram":
        """Returns how the values of both are distributed."""
        limits = np.union1d(self.limits, other.limits)
        counts = np.zeros(len(limits), np.int64)
        for each in (self, other):
            counts[np.searchsorted(limits, each.limits)] += each.counts
        return Histogram(
            least=min(self.least, other.least),
            most=max(self.most, other.most),
            count=self.count + other.count,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            limits=limits,
            counts=counts,
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The aggregated values of one statistic."""

    value: float
    """By their aggregation; the mean of a histogram's values."""

    aggregation: Aggregation = "mean"

    count: int = 1

    histogram: Histogram | None = None

    def followed_by(self, later: "Summary") -> "Summary":
        """Returns the summary of these values and later ones of the same name."""
        kind, count = later.aggregation, self.count + later.count
        if kind != self.aggregation:
            return later
        if kind == "sum":
            return Summary(value=self.value + later.value, aggregation=kind, count=count)
        if kind == "last":
            return Summary(value=later.value, aggregation=kind, count=count)
        mean = self.value + (later.value - self.value) * later.count / count
        histogram = later.histogram
        if histogram is not None and self.histogram is not None:
            histogram = self.histogram.joined(histogram)
        return Summary(value=mean, aggregation=kind, count=count, histogram=histogram)


class Aggregate:
    """The values of one name since the last summary. Owned by `Statistics`."""

    def __init__(self) -> None:
        self._aggregation: Aggregation = "mean"
        self._count = 0
        self._total = 0.0
        self._last = 0.0
        self._least = np.inf
        self._most = -np.inf
        self._squares = 0.0
        self._buckets: NDArray[np.int64] | None = None

    def add(self, aggregation: Aggregation, values: Float64Array) -> None:
        """Add [N] finite values, N at least 1. Their aggregation is that of all from here on."""
        if aggregation == "histogram":
            self._add_to_histogram(values, is_first=self._aggregation != "histogram")
        self._aggregation = aggregation
        self._count += len(values)
        self._total += float(values.sum())
        self._last = float(values[-1])

    def _add_to_histogram(self, values: Float64Array, *, is_first: bool) -> None:
        if self._buckets is None or is_first:
            self._least, self._most, self._squares = np.inf, -np.inf, 0.0
            self._count, self._total = 0, 0.0
            self._buckets = np.zeros(len(LIMITS), np.int64)
        self._least = min(self._least, float(values.min()))
        self._most = max(self._most, float(values.max()))
        self._squares += float(values.dot(values))
        position = np.searchsorted(LIMITS, values, side="right")
        np.add.at(self._buckets, position, 1)

    @property
    def summary(self) -> Summary:
        """The summary of the values added so far, of which there is at least one."""
        kind, count = self._aggregation, self._count
        if kind == "histogram":
            mean = self._total / count
            return Summary(value=mean, aggregation=kind, count=count, histogram=self._histogram())
        if kind == "sum":
            return Summary(value=self._total, aggregation=kind, count=count)
        if kind == "last":
            return Summary(value=self._last, aggregation=kind, count=count)
        return Summary(value=self._total / count, count=count)

    def _histogram(self) -> Histogram:
        assert self._buckets is not None
        filled = np.flatnonzero(self._buckets)
        shown = slice(filled[0], filled[-1] + 1)
        return Histogram(
            least=self._least,
            most=self._most,
            count=self._count,
            total=self._total,
            squares=self._squares,
            limits=LIMITS[shown],
            counts=self._buckets[shown].copy(),
        )

    def state(self) -> State:
        """All of it, for a checkpoint."""
        is_histogram = self._aggregation == "histogram"
        return {
            "aggregation": self._aggregation,
            "count": self._count,
            "total": self._total,
            "last": self._last,
            "range": [self._least, self._most] if is_histogram else [],
            "squares": self._squares,
            "buckets": (
                self._buckets.copy()
                if self._buckets is not None and is_histogram
                else np.zeros(0, np.int64)
            ),
        }

    @classmethod
    def from_state(cls, state: State) -> "Aggregate":
        """The aggregate that `state` was taken of."""
        made = cls()
        made._aggregation = state["aggregation"]
        made._count = int(state["count"])
        made._total = float(state["total"])
        made._last = float(state["last"])
        made._squares = float(state["squares"])
        if made._aggregation == "histogram":
            made._least, made._most = map(float, state["range"])
            made._buckets = state["buckets"].copy()
        return made
