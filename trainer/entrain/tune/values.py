"""The value of a run: one metric of its policies, as its table of metrics grows."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entrain.config.run import RunConfig
from entrain.config.search import SearchConfig
from entrain.config.source import Source
from entrain.errors import ConfigError
from entrain.evaluation_metrics import EVALUATION_RETURN_MEAN
from entrain.metric import NEITHER
from entrain.metrics import EPISODE_RETURN_LAST, STATISTICS, find_metric
from entrain.page.curves import Curves
from entrain.supervise.following import Followed
from entrain.tune.study import LOOKS, Direction

MOST_POINTS = 2**14
"""Rows of a table that are kept one by one; beyond, neighbours become one."""


def metric_of(config: RunConfig, search: SearchConfig) -> str:
    """Returns the name of the metric that trials are compared by."""
    if search.metric is not None:
        return search.metric
    return (EPISODE_RETURN_LAST if config.evaluation is None else EVALUATION_RETURN_MEAN).name


def direction_of(metric: str, search: SearchConfig, settings: Source) -> Direction:
    """Returns which values of it are better.

    Raises:
        ConfigError: there is no such metric, or nobody says which are.
    """
    place = settings.origin(("search", "metric")).place
    known = find_metric(metric)
    if known is None and not metric.startswith(STATISTICS):
        raise ConfigError(
            f"{place}: search.metric is '{metric}', which no run writes; `entrain metrics` lists "
            f"what there is, and what simulators report is {STATISTICS}NAME"
        )
    if search.direction is not None:
        return search.direction
    if known is None or known.better == NEITHER:
        raise ConfigError(
            f"{place}: of {metric} neither more nor less is better by itself; say which with "
            "search.direction: maximize or minimize"
        )
    return "maximize" if known.better == "more is better" else "minimize"


def require_policy(config: RunConfig, search: SearchConfig, settings: Source) -> None:
    """ConfigError if `search.policy` is none of the file's."""
    if search.policy is not None and not {search.policy, "*"} & set(config.policies):
        raise ConfigError(
            f"{settings.origin(('search', 'policy')).place}: search.policy is '{search.policy}', "
            f"which the file does not name (it has: {', '.join(config.policies)})"
        )


class RunValues:
    """The values of one run, read from its table as it grows. Used by one thread at a time."""

    def __init__(self, table: Path, config: RunConfig, metric: str, policy: str | None) -> None:
        """Nothing is read yet, and the table need not exist.

        Args:
            table: metrics.csv of the run.
            config: of the run.
            metric: that is wanted.
            policy: whose; None: the mean over all.
        """
        self._followed = Followed(table, (metric,), most_points=MOST_POINTS)
        self._config = config
        self._metric = metric
        self._policy = policy

    def look(self) -> None:
        """Read all that is new in the table."""
        while self._followed.look():
            pass

    @property
    def looks(self) -> int:
        """How many of LOOKS points every policy has passed."""
        policies = self._policies()
        if not policies:
            return 0
        return min(self._passed(name, curves) for name, curves in policies.items())

    def value_at(self, look: int) -> float:
        """Returns the value by that point: the newest then. NaN if there was none by then."""
        return _mean(
            _newest(curves, self._metric, self._row_at(name, curves, look))
            for name, curves in self._policies().items()
        )

    @property
    def newest(self) -> float:
        """The newest value; NaN if there is none."""
        policies = self._policies().values()
        return _mean(_newest(curves, self._metric, len(curves) - 1) for curves in policies)

    def _policies(self) -> Mapping[str, Curves]:
        return {
            name: curves
            for name, curves in self._followed.curves.items()
            if self._policy in {None, name}
        }

    def _total_steps(self, policy: str) -> int:
        named = self._config.policies
        return (named[policy] if policy in named else named["*"]).total_steps

    def _passed(self, policy: str, curves: Curves) -> int:
        return min(LOOKS, int(_env_steps(curves)[-1]) * LOOKS // self._total_steps(policy))

    def _row_at(self, policy: str, curves: Curves, look: int) -> int:
        """The first row at or beyond that point."""
        wanted = look * self._total_steps(policy)
        return int(np.searchsorted(_env_steps(curves) * LOOKS, wanted))


def _env_steps(curves: Curves) -> NDArray[np.int64]:
    """[N] of each row, never fewer than before: an evaluation's row may say when it began."""
    return np.maximum.accumulate(curves.env_steps(slice(0, len(curves))))


def _newest(curves: Curves, metric: str, row: int) -> float:
    """Returns the last value in the rows up to that one; NaN if there is none."""
    curve = curves.curve(metric, slice(0, row + 1))
    if curve is None:
        return math.nan
    finite = curve.mean[np.isfinite(curve.mean)]
    return float(finite[-1]) if len(finite) else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
