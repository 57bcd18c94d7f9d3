"""One trial that runs: a run for each seed, looked at from its tables and its processes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entrain.supervise.served_run import ServedRun
from entrain.tune.values import RunValues

DIVERGED = 6
"""Exit code of a run whose policy diverged."""

MOST_FAILURES = 3
"""Of one run's process in a row; then its trial has failed."""


@dataclass(frozen=True)
class Judgement:
    """How a trial ended."""

    state: str
    """completed, pruned or failed."""

    value: float
    words: str


class Trial:
    """See the module. Owned by the event loop."""

    def __init__(self, number: int, values: Mapping[str, RunValues], *, looks: int) -> None:
        """A trial that begins or goes on.

        Args:
            number: of the trial.
            values: {name of the run: what it is worth}.
            looks: of LOOKS that were reported already.
        """
        self.number = number
        self.values = values
        self.looks = looks
        self.verdict: Judgement | None = None
        """Decided while its runs still live: they are asked to end."""

    def __repr__(self) -> str:
        return f"<Trial {self.number}: {self.looks} looks>"

    @property
    def names(self) -> Sequence[str]:
        """Of its runs."""
        return list(self.values)

    def read(self) -> None:
        """Read what is new in the tables of its runs."""
        for values in self.values.values():
            values.look()

    def new_looks(self) -> Iterator[tuple[int, float]]:
        """Yields each look that all its runs have passed and that was not reported, with the mean.

        A look without a value (no episode has ended by then) is passed over.
        """
        passed = min(values.looks for values in self.values.values())
        for look in range(self.looks + 1, passed + 1):
            self.looks = look
            value = _mean([values.value_at(look) for values in self.values.values()])
            if math.isfinite(value):
                yield look, value

    def judged(self, runs: Sequence[ServedRun]) -> Judgement | None:
        """Returns how it has ended by what became of its runs; None if it goes on."""
        for run in runs:
            if (judgement := _judged(run)) is not None:
                return judgement
        if any(run.record.rest != "completed" for run in runs):
            return None
        value = _mean([values.newest for values in self.values.values()])
        if math.isfinite(value):
            return Judgement("completed", value, "")
        return Judgement("failed", math.nan, "its metric was never measured: see search.metric")


def _judged(run: ServedRun) -> Judgement | None:
    """Returns how one run has ended its trial; None if it has not."""
    words = f"{run.name}: {run.record.words or run.problem}"
    if run.record.rest == "given up" and run.record.code == DIVERGED:
        return Judgement("pruned", math.nan, words)
    if run.record.rest == "given up" or run.record.failures >= MOST_FAILURES or run.problem:
        return Judgement("failed", math.nan, f"{words}; {run.output} has what it printed")
    if run.record.rest == "stopped":
        return Judgement("pruned", math.nan, f"{run.name} was stopped by hand")
    return None


def _mean(values: Sequence[float]) -> float:
    """The mean; NaN if one of them is."""
    return float(np.mean(values))
