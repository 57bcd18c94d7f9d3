"""What a person at the terminal sees of a run, as facts; how it is shown is the display's affair.

`LiveDisplay` redraws a few lines in place, `LogDisplay` logs a line per update. Neither has a
thread: they show what they are told when they are told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self


@dataclass(frozen=True, kw_only=True)
class DisplayRow:
    """One policy after an update. A number that is not known is NaN."""

    update: int
    """Updates done."""

    env_steps: int
    """Outcomes received so far."""

    total_steps: int
    """Outcomes after which the policy is done."""

    episodes: int
    """That ended since the update before."""

    return_mean: float
    return_std: float
    """Over those episodes."""

    env_steps_per_second: float

    entropy: float
    """Nats."""

    sigma: float
    """Mean of the standard deviations over action dimensions."""

    @classmethod
    def from_metrics(
        cls, metrics: Mapping[str, float], *, update: int, env_steps: int, total_steps: int
    ) -> Self:
        """The row of one update, from its metrics by their standard names."""
        sigmas = [value for name, value in metrics.items() if name.startswith("policy/sigma/")]
        episodes = metrics.get("rollout/episodes", 0.0)
        return cls(
            update=update,
            env_steps=env_steps,
            total_steps=total_steps,
            episodes=int(episodes) if math.isfinite(episodes) else 0,
            return_mean=metrics.get("rollout/episode_return_mean", math.nan),
            return_std=metrics.get("rollout/episode_return_std", math.nan),
            env_steps_per_second=metrics.get("time/env_steps_per_second", math.nan),
            entropy=metrics.get("policy/entropy", math.nan),
            sigma=sum(sigmas) / len(sigmas) if sigmas else math.nan,
        )


@dataclass(frozen=True, kw_only=True)
class SimulatorsRow:
    """Who is connected, and where to."""

    address: str
    """Where the trainer listens."""

    connected: int
    """Simulators now."""

    expected: int
    """Simulators that must have joined before training begins."""

    agents: int
    """Over all simulators."""


class Display(Protocol):
    """Shows how a run goes. Owned by the event loop."""

    def start(self) -> None:
        """Begin to show."""
        ...

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """A policy has learned."""
        ...

    def serving(self, simulators: SimulatorsRow, env_steps: Mapping[str, int]) -> None:
        """Between updates: who is there, and how far each behaviour has come. Call at leisure."""
        ...

    def message(self, text: str) -> None:
        """One line that stays."""
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
