"""The facts of a run that are shown at the terminal. A display decides how.

`LiveDisplay` redraws a few lines in place, `LogDisplay` logs a line per update. Neither has a
thread: each shows what it is told when it is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from entrain.metric import number
from entrain.metrics import (
    ENTROPY,
    EPISODE_RETURN_LAST,
    EPISODES,
    LATE_STEPS,
    REWARD_PER_STEP,
    SIGMA,
    STEPS_PER_SECOND,
)
from entrain.quoting import shortened
from entrain.run.progress import Progress

NO_STATISTICS: Mapping[str, float] = MappingProxyType({})
NO_LESSONS: Mapping[str, str] = MappingProxyType({})

MOST_SHOWN = 5
"""Statistics of simulators that a line shows; metrics.csv has all."""


def statistics_text(statistics: Mapping[str, float], *, most: int = MOST_SHOWN) -> str:
    """`coins 3.2, level 2 and 5 more`; empty if nothing was reported.

    Args:
        statistics: {name: value}.
        most: that are shown.
    """
    shown = [
        f"{shortened(name, 40)} {number(value, '.4g')}"
        for name, value in list(statistics.items())[:most]
    ]
    more = len(statistics) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class RoundWords:
    """Where the time of a run's newest rounds went, over all policies; empty if it is not known."""

    shares: str = ""
    """`simulators 71%, acting 9%` and so on."""

    limit: str = ""
    """`simulators are the limit`."""

    remedy: str = ""
    """What to change; empty if there is nothing."""

    pace: str = ""
    """Where policies learn from a replay: which waits, collecting or learning; see `ReplayPace`."""

    @property
    def shares_line(self) -> str:
        """`time: simulators 71%, acting 9%` and so on."""
        return f"time: {self.shares}"

    @property
    def sentence(self) -> str:
        """`simulators are the limit: start more simulators`."""
        return f"{self.limit}: {self.remedy}" if self.remedy else self.limit


NO_ROUND = RoundWords()


@dataclass(frozen=True, kw_only=True)
class DisplayRow:
    """One policy after an update. A number that is not known is NaN."""

    update: int
    """Updates done."""

    env_steps: int
    """Outcomes received so far."""

    total_steps: int
    """Outcomes after which the policy is done."""

    new_episodes: int
    """Episodes that ended since the update before."""

    episodes: int
    """Episodes that ended so far."""

    return_last: float
    """Mean return of the last hundred of them."""

    reward_per_step: float
    """Mean over the steps of the update."""

    env_steps_per_second: float

    entropy: float
    """Nats."""

    sigma: float
    """Mean over action dimensions of their standard deviations."""

    statistics: Mapping[str, float] = field(default_factory=dict)
    """{name: what the values came to} that simulators reported."""

    lessons: Mapping[str, str] = field(default_factory=dict)
    """{environment parameter: its lesson, in words}."""

    late_steps: float = math.nan
    """Share of the steps that a simulator's fallback decided; NaN if there is no deadline."""

    round: RoundWords = NO_ROUND

    @property
    def lessons_text(self) -> str:
        """`gravity in lesson 'hard' (2 of 3)`; empty without curricula."""
        return ", ".join(f"{name} in lesson {words}" for name, words in self.lessons.items())

    @property
    def late_text(self) -> str:
        """`12.5 % of the steps late`; empty if none is."""
        return f"{100 * self.late_steps:.3g} % of the steps late" if self.late_steps > 0 else ""

    @property
    def statistics_text(self) -> str:
        """`coins 3.2, level 2 and 5 more`; empty if nothing was reported."""
        return statistics_text(self.statistics)

    @classmethod
    def from_metrics(
        cls,
        metrics: Mapping[str, float],
        *,
        progress: Progress,
        total_steps: int,
        statistics: Mapping[str, float] = NO_STATISTICS,
        lessons: Mapping[str, str] = NO_LESSONS,
        round_words: RoundWords = NO_ROUND,
    ) -> Self:
        """Makes the row of one update from its metrics."""
        sigmas = [value for name, value in metrics.items() if SIGMA.has_name(name)]
        new = metrics.get(EPISODES.name, 0.0)
        return cls(
            update=progress.updates,
            env_steps=progress.env_steps,
            total_steps=total_steps,
            new_episodes=int(new) if math.isfinite(new) else 0,
            episodes=progress.episodes,
            return_last=metrics.get(EPISODE_RETURN_LAST.name, math.nan),
            reward_per_step=metrics.get(REWARD_PER_STEP.name, math.nan),
            env_steps_per_second=metrics.get(STEPS_PER_SECOND.name, math.nan),
            entropy=metrics.get(ENTROPY.name, math.nan),
            sigma=sum(sigmas) / len(sigmas) if sigmas else math.nan,
            statistics=statistics,
            lessons=lessons,
            late_steps=metrics.get(LATE_STEPS.name, math.nan),
            round=round_words,
        )


@dataclass(frozen=True, kw_only=True)
class SimulatorsRow:
    """Who is connected, and to which address."""

    address: str
    """Where the trainer listens."""

    connected: int
    """Simulators now."""

    expected: int
    """Simulators that must have joined before training begins."""

    agents: int
    """Over all simulators."""

    is_paused: bool = False
    """Whether the run waits until somebody lets it go on."""


class Display(Protocol):
    """Shows how a run goes. Owned by the event loop."""

    def start(self) -> None:
        """Begin to show the run."""
        ...

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Show what an update came to."""
        ...

    def serving(self, simulators: SimulatorsRow, env_steps: Mapping[str, int]) -> None:
        """Show who is connected and how many steps each behaviour has done; called now and then."""
        ...

    def message(self, text: str) -> None:
        """Show one line that stays."""
        ...

    def stop(self) -> None:
        """Show the last state and leave the terminal as it was; may be called twice."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
