"""The facts and answers of the page of several runs: plain values that JSON can say."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from entrain.metrics import find_metric
from entrain.page.answers import finite
from entrain.page.board import LogLines
from entrain.supervise.charts import Group, Line
from entrain.supervise.following import COMPARED
from entrain.supervise.standings import Axis, RunStanding

MOST_LISTED = 1000
"""Runs in one answer; those that live are among them."""

MOST_LINES = 200
"""Of one chart."""

MOST_NUMBERS = 20_000
"""Points of all lines of one chart together."""

DIGITS = 7


@dataclass(frozen=True, kw_only=True)
class ServiceFacts:
    """How the supervisor and its runs stand now."""

    directory: str
    is_ready: bool
    """Whether the directory is read and runs are started."""

    ports: str
    at_once: int
    runs: Sequence[RunStanding]
    """Those that live first, then by name."""

    @property
    def states(self) -> Mapping[str, int]:
        """{state: how many runs}."""
        return Counter(run.state for run in self.runs)

    @property
    def restarts(self) -> int:
        """Of all runs."""
        return sum(run.restarts for run in self.runs)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One metric of one policy of many runs."""

    metric: str
    policy: str
    policies: Sequence[str]
    lines: Sequence[Line]
    groups: Sequence[Group]


class Source(Protocol):
    """Where the page has its facts from."""

    def facts(self) -> ServiceFacts:
        """How all stands now. Called on the event loop."""
        ...

    def chart(self, metric: str, policy: str, axis: Axis) -> Chart:
        """The curves of all runs; policy "" is the first one. Called in a thread."""
        ...


def status(facts: ServiceFacts, log: LogLines) -> Mapping[str, Any]:
    """The body of `/api/runs`."""
    return {
        "directory": facts.directory,
        "is_ready": facts.is_ready,
        "ports": facts.ports,
        "at_once": facts.at_once,
        "states": dict(facts.states),
        "restarts": facts.restarts,
        "num_runs": len(facts.runs),
        "runs": [run_answer(run) for run in facts.runs[:MOST_LISTED]],
        "alarms": [asdict(each) for each in log.alarms],
        "log_number": log.number,
    }


def run_answer(run: RunStanding) -> Mapping[str, Any]:
    """One run, as JSON has it; null where there is no number."""
    return {
        "name": run.name,
        "state": run.state,
        "words": run.words or None,
        "dial": run.address or None,
        "page_port": run.page_port or None,
        "is_page_secure": run.is_page_secure,
        "process": run.process or None,
        "restarts": run.restarts,
        "again_in_s": None if math.isnan(run.again_in_s) else math.ceil(run.again_in_s),
        "seconds": finite(run.seconds),
        "policies": [
            {
                "name": each.name,
                "env_steps": each.env_steps,
                "total_steps": each.total_steps,
                "return_last_100": finite(each.return_last),
                "env_steps_per_second": finite(each.env_steps_per_second),
            }
            for each in run.policies
        ],
    }


def chart_answer(chart: Chart) -> Mapping[str, Any]:
    """The body of `/api/curves`."""
    metric = find_metric(chart.metric)
    lines = chart.lines[:MOST_LINES]
    points = max(10, MOST_NUMBERS // max(1, len(lines)))
    return {
        "metric": chart.metric,
        "metrics": list(COMPARED),
        "unit": "" if metric is None else metric.unit,
        "meaning": "" if metric is None else metric.meaning,
        "policy": chart.policy,
        "policies": list(chart.policies),
        "num_lines": len(chart.lines),
        "lines": [
            {"run": line.run, "x": _numbers(line.x, points), "y": _numbers(line.y, points)}
            for line in lines
        ],
        "groups": [
            {
                "label": group.label,
                "runs": list(group.runs),
                "x": _numbers(group.x, points),
                "mean": _numbers(group.mean, points),
                "deviation": _numbers(group.deviation, points),
            }
            for group in chart.groups
        ],
    }


def _numbers(values: Any, most: int) -> list[float]:
    step = -(-len(values) // most)
    # The newest is always among them.
    return [float(f"{value:.{DIGITS}g}") for value in values[::-1][::step][::-1]]
