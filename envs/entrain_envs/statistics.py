"""Numbers that a simulator reports beside its rows, for people: how many coins, which level.

They change nothing in what is learned. This module does not know protobuf or gRPC.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import SpecError

Float64Array: TypeAlias = npt.NDArray[np.float64]

Aggregation: TypeAlias = Literal["mean", "last", "sum", "histogram"]
"""What becomes of the values that are reported between two updates."""

AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)

LONGEST_NAME = 200
"""Characters."""

MOST_VALUES = 10_000
"""Values in one Step; the trainer leaves out what is beyond."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One value of one number that a simulator reports."""

    name: str
    """Such as `coins` or `player/speed`; at most LONGEST_NAME printable characters."""

    value: float
    """Finite; any other value is left out."""

    aggregation: Aggregation = "mean"
    """mean and sum of all values since the update before, the last of them, or how they are
    distributed. The newest value's aggregation is that of the name."""


def check_statistic(name: str, aggregation: str) -> None:
    """Raise SpecError unless a statistic may be called and aggregated like this."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise SpecError(
            f"a statistic is called {name[:LONGEST_NAME]!r}; expected 1 to {LONGEST_NAME} "
            "printable characters"
        )
    if aggregation not in AGGREGATIONS:
        raise SpecError(
            f"statistic '{name}' has the aggregation '{aggregation}'; "
            f"it must be one of {', '.join(AGGREGATIONS)}"
        )


@dataclass(frozen=True, slots=True)
class StatisticValues:
    """All values of one name, in the order in which they were reported."""

    name: str
    aggregation: Aggregation

    values: Float64Array
    """[N]."""


def grouped(statistics: Iterable[Statistic]) -> Sequence[StatisticValues]:
    """The same values, by name and aggregation."""
    found: dict[tuple[str, Aggregation], list[float]] = {}
    for each in statistics:
        found.setdefault((each.name, each.aggregation), []).append(each.value)
    return [
        StatisticValues(name, aggregation, np.array(values, np.float64))
        for (name, aggregation), values in found.items()
    ]
