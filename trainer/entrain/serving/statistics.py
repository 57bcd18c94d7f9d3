"""Aggregates what simulators report beside their rows, until the next metrics of each policy.

A simulator's values count for each behaviour that it has. A bad report never ends a session: values
that are too many, too large or not numbers are left out and logged once. Names, and so all memory,
are bounded: in a run, and for each simulator, so that one that reports ever new names leaves room
for the others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

import numpy as np

from entrain.quoting import shortened
from entrain.serving.aggregates import Aggregate, Summary
from entrain.serving.batcher import CallLater
from entrain.serving.repeated_lines import RepeatedLines
from entrain.state import State
from entrain_envs.statistics import (
    AGGREGATIONS,
    LONGEST_NAME,
    MOST_VALUES,
    Float64Array,
    StatisticValues,
)

LARGEST = 1e100
"""Larger values are left out, as are those that are not finite."""

MOST_LINES = 20
"""Most lines about left-out values that are logged one by one in a minute."""


class Statistics:
    """See the module. Owned by the event loop."""

    def __init__(
        self, *, most_names: int, clock: Callable[[], float], call_later: CallLater
    ) -> None:
        """Start without reports.

        Args:
            most_names: in the run; one simulator may bring half of them.
            clock: seconds.
            call_later: calls a function after some seconds.
        """
        self.most_names = most_names
        self._names: dict[str, None] = {}
        self._by_behaviour: dict[str, dict[str, Aggregate]] = {}
        self._lines = RepeatedLines(most=MOST_LINES, clock=clock, call_later=call_later)

    def __repr__(self) -> str:
        return f"<Statistics: {len(self._names)} names of {self.most_names}>"

    @property
    def are_reported(self) -> bool:
        """Whether any name was ever reported."""
        return bool(self._names)

    @property
    def most_of_one(self) -> int:
        """Names that one simulator may bring."""
        return max(1, self.most_names // 2)

    def take(self, behaviour: str) -> Mapping[str, Summary]:
        """{name: summary} of the values that a behaviour's simulators reported since the last call.

        Names without values are left out.
        """
        aggregates = self._by_behaviour.pop(behaviour, {})
        return {name: aggregate.summary for name, aggregate in aggregates.items()}

    def has_room_for(self, name: str) -> bool:
        """Register a name if there is room for it; returns whether it may be reported."""
        if name in self._names or len(self._names) < self.most_names:
            self._names[name] = None
            return True
        return False

    def add(self, behaviours: Iterable[str], reported: StatisticValues) -> None:
        """Add finite values of a known name, at least one, for each of these behaviours."""
        for behaviour in behaviours:
            aggregates = self._by_behaviour.setdefault(behaviour, {})
            aggregate = aggregates.get(reported.name)
            if aggregate is None:
                aggregate = aggregates[reported.name] = Aggregate()
            aggregate.add(reported.aggregation, reported.values)

    def say(self, line: str) -> None:
        """Log that values are left out."""
        self._lines.warn(line)

    def flush(self) -> None:
        """Log what was only counted so far."""
        self._lines.flush()

    def state(self) -> State:
        """The names, and the values that no metrics have shown yet."""
        return {
            "names": list(self._names),
            "behaviours": {
                str(index): {
                    "behaviour": behaviour,
                    "names": list(aggregates),
                    "aggregates": {
                        str(number): each.state() for number, each in enumerate(aggregates.values())
                    },
                }
                for index, (behaviour, aggregates) in enumerate(self._by_behaviour.items())
            },
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._names = dict.fromkeys(state["names"])
        self._by_behaviour = {
            part["behaviour"]: {
                name: Aggregate.from_state(part["aggregates"][str(number)])
                for number, name in enumerate(part["names"])
            }
            for part in state["behaviours"].values()
        }


class Reports:
    """The reports of one simulator. Owned by its participant."""

    def __init__(self, statistics: Statistics) -> None:
        """Nothing yet.

        Args:
            statistics: of the run.
        """
        self._statistics = statistics
        self._latest: Mapping[str, float] = {}
        self._before: Mapping[str, float] = {}
        self._step_number = 0
        self._told: set[str] = set()

    def note(
        self,
        reported: Iterable[StatisticValues],
        *,
        who: str,
        behaviours: Sequence[str],
        step_number: int,
    ) -> None:
        """Take what came with a step; never raises.

        Args:
            reported: by name.
            who: the simulator, for the log.
            behaviours: that it has.
            step_number: of the step.
        """
        latest = dict(self._latest)
        room = MOST_VALUES
        for each in islice(reported, 2 * self._statistics.most_of_one):
            if room <= 0:
                words = f"more than {MOST_VALUES:,} values of statistics in one Step"
                self._say_once("many", words, who)
                break
            values = each.values[:room]
            room -= max(1, len(values))
            values = self._finite(each.name, values, who)
            if len(values) and self._may_report(each, latest, who):
                kept = StatisticValues(each.name, each.aggregation, values)
                self._statistics.add(behaviours, kept)
                latest[each.name] = float(values[-1])
        if step_number != self._step_number:
            self._before = self._latest
        self._latest, self._step_number = latest, step_number

    def _finite(self, name: str, values: Float64Array, who: str) -> Float64Array:
        is_usual = np.abs(values) <= LARGEST
        if is_usual.all():
            return values
        words = f"a value of the statistic '{shortened(name)}' that is no finite number"
        self._say_once("value", words, who)
        return values[is_usual]

    def _may_report(self, reported: StatisticValues, latest: Mapping[str, float], who: str) -> bool:
        name, most = reported.name, self._statistics.most_of_one
        if reported.aggregation not in AGGREGATIONS:
            words = f"the statistic '{shortened(name)}' with an unknown aggregation"
            self._say_once("aggregation", words, who)
            return False
        if name in latest:
            return True
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            words = f"a statistic called {shortened(name)!r}"
            remedy = f"; expected 1 to {LONGEST_NAME} printable characters"
            self._say_once("name", words, who, remedy)
            return False
        if len(latest) < most and self._statistics.has_room_for(name):
            return True
        remedy = (
            f"; this trainer takes {self._statistics.most_names:,} names, {most:,} of them from "
            "one simulator: report fewer, or raise server.max_statistics of the trainer"
        )
        self._say_once("names", f"a further statistic, '{shortened(name)}'", who, remedy)
        return False

    def _say_once(self, kind: str, words: str, who: str, remedy: str = "") -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._statistics.say(f"{who} reported {words}: left out, like others{remedy}")

    def latest(self, *, until: int) -> Mapping[str, float]:
        """{name: the value reported last}, up to a step: the newest or the one before."""
        return MappingProxyType(self._latest if until >= self._step_number else self._before)

    def state(self) -> State:
        """The values reported last."""
        return {"names": list(self._latest), "values": list(self._latest.values())}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._latest = dict(zip(state["names"], state["values"], strict=True))
