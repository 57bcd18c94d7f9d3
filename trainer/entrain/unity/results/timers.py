"""timers.json: where the time of a run went, in the form of mlagents-learn's timer tree.

root
  TrainerController.start_learning
    TrainerController.advance
      env_step              waiting for games, reading, evaluating, sampling, writing
      trainer_advance
        process_trajectory  storing steps
        _update_policy      updates that games waited for
"""

import math
import sys
from collections.abc import Mapping
from typing import Any, Final

from entrain import round_metrics as metrics
from entrain.metric import Metric
from entrain.unity.results.summaries import Tagged

FORM: Final = "0.1.0"

ENV_STEP: Final = (
    metrics.TIME_WAIT,
    metrics.TIME_DECODE,
    metrics.TIME_OBSERVE,
    metrics.TIME_ACT,
    metrics.TIME_ENCODE,
)


class Timers:
    """Adds up seconds, and keeps the newest value of each tag. Owned by the event loop."""

    def __init__(self, *, began_s: float, started_at: float, about: Mapping[str, str]) -> None:
        """Nothing is measured yet.

        Args:
            began_s: the time now, by the clock of `note_update`.
            started_at: seconds since 1970.
            about: versions and so on.
        """
        self._began_s = began_s
        self._about = {
            "timer_format_version": FORM,
            "start_time_seconds": str(int(started_at)),
            "python_version": sys.version,
            "command_line_arguments": " ".join(sys.argv),
            **about,
        }
        self._last_s: dict[str, float] = {}
        self._updates = 0
        self._seconds: dict[str, float] = {}
        self._gauges: dict[str, dict[str, float]] = {}

    def note_update(self, behaviour: str, values: Mapping[str, float], *, now_s: float) -> None:
        """Add the shares of time in an update's metrics, since the one before."""
        elapsed_s = now_s - self._last_s.get(behaviour, self._began_s)
        self._last_s[behaviour] = now_s
        self._updates += 1
        for metric in (*ENV_STEP, metrics.TIME_RECORD, metrics.TIME_LEARN):
            share = values.get(metric.name, 0.0)
            if math.isfinite(share):
                before = self._seconds.get(metric.name, 0.0)
                self._seconds[metric.name] = before + share * elapsed_s

    def note_summary(self, behaviour: str, values: Mapping[str, Tagged]) -> None:
        """Keep the values of a summary."""
        for tag, each in values.items():
            for name, value in (("mean", each.value), ("sum", each.total)):
                if math.isfinite(value):
                    self._set_gauge(f"{behaviour}.{tag}.{name}", value)

    def _set_gauge(self, name: str, value: float) -> None:
        name = name.replace("/", ".").replace(" ", "")
        gauge = self._gauges.get(name)
        if gauge is None:
            self._gauges[name] = {"value": value, "min": value, "max": value, "count": 1}
            return
        gauge["value"] = value
        gauge["min"], gauge["max"] = min(gauge["min"], value), max(gauge["max"], value)
        gauge["count"] += 1

    def tree(self, *, now_s: float, ended_at: float) -> Mapping[str, Any]:
        """Returns the content of the file.

        Args:
            now_s: by the clock of `note_update`.
            ended_at: seconds since 1970.
        """
        total_s = now_s - self._began_s
        parts = {metric.name.rpartition("/")[2]: self._leaf(metric) for metric in ENV_STEP}
        updating = {
            "process_trajectory": self._leaf(metrics.TIME_RECORD),
            "_update_policy": self._leaf(metrics.TIME_LEARN),
        }
        both = {
            "env_step": _parent(parts, self._updates),
            "trainer_advance": _parent(updating, self._updates),
        }
        advance = _parent(both, self._updates)
        learning = _parent({"TrainerController.advance": advance}, 1, total_s=total_s)
        if len(self._last_s) > 1:
            # Several behaviours share the time of one process.
            advance["is_parallel"] = True
        return {
            "name": "root",
            **({"gauges": self._gauges} if self._gauges else {}),
            "metadata": {**self._about, "end_time_seconds": str(int(ended_at))},
            **_parent({"TrainerController.start_learning": learning}, 1, total_s=total_s),
        }

    def _leaf(self, metric: Metric) -> Mapping[str, Any]:
        seconds = self._seconds.get(metric.name, 0.0)
        return {"total": seconds, "count": self._updates, "self": seconds}


def _parent(
    children: Mapping[str, Mapping[str, Any]], count: int, *, total_s: float = 0.0
) -> dict[str, Any]:
    """A node of these parts; what they do not account for is its own."""
    parts = sum(child["total"] for child in children.values())
    total_s = max(total_s, parts)
    return {"total": total_s, "count": count, "self": total_s - parts, "children": children}
