"""Collects problems found in how a policy learns, over all sittings of a run."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from entrain.algorithms.algorithm import Metrics
from entrain.state import State, Stateful

logger = logging.getLogger(__name__)

MOST_WARNINGS = 100
"""Warnings kept for the report: the newest ones."""


@dataclass(frozen=True)
class Finding:
    """How bad one thing is after an update."""

    name: str
    """Identifies it in a state."""

    severity: float
    """At least 1 where it is to be reported."""

    message: str
    """What was measured, what it means and what to change."""


class Diagnostics(Stateful, Protocol):
    """Finds problems in how a policy learns. See `diagnostics`."""

    def findings(self, metrics: Metrics, *, progress: float) -> Sequence[str]: ...


class Findings:
    """The findings about one policy's updates, over all sittings."""

    def __init__(self, behaviour: str, diagnostics: Diagnostics) -> None:
        """Start without findings.

        Args:
            behaviour: whose policy it is.
            diagnostics: finds them.
        """
        self._behaviour = behaviour
        self._diagnostics = diagnostics
        self._lines: deque[str] = deque(maxlen=MOST_WARNINGS)

    @property
    def lines(self) -> Sequence[str]:
        """One line for each of the newest findings; it begins with the update's number."""
        return tuple(self._lines)

    def of(self, metrics: Metrics, *, update: int, progress: float) -> Sequence[str]:
        """Returns the findings that set in with this update."""
        found = self._diagnostics.findings(metrics, progress=progress)
        lines = [f"update {update}: {words}" for words in found]
        self._lines.extend(lines)
        return lines

    def note_left_out(self, num_steps: int, *, update: int) -> None:
        """Adds that a rollout of so many steps was left out at a resume, and logs it."""
        line = (
            f"update {update}: the rollout of {num_steps:,} env steps that no setting can learn "
            "from is left out; the steps stay counted"
        )
        self._lines.append(line)
        logger.warning("policy '%s', %s", self._behaviour, line)

    def state(self) -> State:
        """Everything that decides which findings come next."""
        return {"diagnostics": self._diagnostics.state(), "warnings": list(self._lines)}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._diagnostics.load_state(state["diagnostics"])
        self._lines.extend(state["warnings"])
