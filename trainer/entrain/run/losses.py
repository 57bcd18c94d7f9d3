"""Counts what a run lost when it was resumed from a checkpoint older than its last step."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from entrain.run.quantities import counted
from entrain.state import State


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Losses over all resumes of a run. Steps after the last update before a crash are not known.

    A run that was stopped and resumed loses nothing.
    """

    resumes: int = 0
    """Number of resumes from less than the run had reached."""

    env_steps: int = 0
    """At least: up to the last update that metrics.csv knew of."""

    updates: int = 0

    rows: int = 0
    """Rows removed from metrics.csv."""

    def __bool__(self) -> bool:
        return bool(self.resumes)

    def __add__(self, other: "Losses") -> "Losses":
        return Losses(
            resumes=self.resumes + other.resumes,
            env_steps=self.env_steps + other.env_steps,
            updates=self.updates + other.updates,
            rows=self.rows + other.rows,
        )

    def __str__(self) -> str:
        return (
            f"at least {counted(self.env_steps, 'env step')} and "
            f"{counted(self.updates, 'update')} ({counted(self.rows, 'row')} of metrics.csv)"
        )

    @classmethod
    def of_rows(cls, removed: Mapping[str, tuple[int, int]], known: Mapping[str, int]) -> Self:
        """Returns the losses that removed rows of metrics.csv show.

        Args:
            removed: {behaviour: (number of its rows, env steps of the last of them)}.
            known: {behaviour: env steps} of the checkpoint.
        """
        if not removed:
            return cls()
        rows = sum(number for number, _ in removed.values())
        steps = sum(last - known.get(name, 0) for name, (_, last) in removed.items())
        return cls(resumes=1, env_steps=steps, updates=rows, rows=rows)

    def state(self) -> State:
        """For a checkpoint; `Losses(**state)` are these again."""
        return asdict(self)
