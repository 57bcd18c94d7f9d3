"""Curves of several runs in one chart: a line for each run, and for each group of runs that differ
only in their seed the mean of its lines with the standard deviation around it.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from entrain.config.run import RunConfig

Float64Array: TypeAlias = NDArray[np.float64]

POINTS = 100
"""At which a group's mean is reckoned."""


@dataclass(frozen=True)
class Line:
    """One run's metric over N points; x never falls."""

    run: str
    x: Float64Array
    """[N]."""

    y: Float64Array
    """[N], finite."""


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed."""

    label: str
    runs: Sequence[str]
    x: Float64Array
    """[P] where all runs of the group have values."""

    mean: Float64Array
    """[P]."""

    deviation: Float64Array
    """[P] sample standard deviation over the runs; zero for one run."""


def likeness(config: RunConfig) -> str:
    """Returns a text that is the same for runs which differ only in their seed, and in what does
    not matter to learning: name, folder and where they listen.
    """
    values = config.model_dump(mode="json")
    for name in ("seed", "name", "runs_directory", "http"):
        values.pop(name, None)
    values["server"].pop("address", None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def groups(lines: Sequence[Line], likenesses: Mapping[str, str]) -> Sequence[Group]:
    """Returns the groups in which there are at least two lines.

    Args:
        lines: of runs.
        likenesses: {run: its `likeness`}; runs without one are in no group.
    """
    members: dict[str, list[Line]] = {}
    for line in lines:
        if line.run in likenesses:
            members.setdefault(likenesses[line.run], []).append(line)
    return [_group(each) for each in members.values() if len(each) > 1]


def _group(lines: Sequence[Line]) -> Group:
    begin = max(float(line.x[0]) for line in lines)
    end = max(begin, min(float(line.x[-1]) for line in lines))
    x = np.linspace(begin, end, POINTS)
    values = np.array([np.interp(x, line.x, line.y) for line in lines])
    names = [line.run for line in lines]
    return Group(
        label=_label(names),
        runs=names,
        x=x,
        mean=values.mean(axis=0),
        deviation=values.std(axis=0, ddof=1),
    )


def _label(names: Sequence[str]) -> str:
    """Returns `walk (3 seeds)` for walk-1, walk-2 and walk-3."""
    first, last = min(names), max(names)
    same = sum(
        1 for _ in itertools.takewhile(lambda it: it[0] == it[1], zip(first, last, strict=False))
    )
    return f"{first[:same].rstrip('-_. ') or names[0]} ({len(names)} seeds)"
