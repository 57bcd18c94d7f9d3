"""Options of evaluating and of playing. Quick to import: no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Which: TypeAlias = Literal["newest", "best"]
"""A checkpoint of a run: the newest, or that of its best evaluation while it trained."""

STEPS_PER_EPISODE = 108_000
"""Steps allowed for each requested episode, unless a limit is given. Atari games end after as many
frames, so no usual task is cut."""

ENDLESS = 10**9
"""Episodes of a play without a limit, which goes on until it is stopped."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How policies act, and when to end."""

    episodes: int = 20
    """To count, for each behaviour."""

    deterministic: bool = True
    """Whether the most likely action is taken, or one is sampled."""

    max_steps: int | None = None
    """Of all agents of a behaviour together; None: `STEPS_PER_EPISODE` for each episode."""

    max_seconds: float | None = None
    """From the beginning; None: as long as episodes end."""

    behaviour: str | None = None
    """Whose episodes count; None: those of all."""

    lessons: tuple[str, ...] = ()
    """PARAMETER=LESSON, by name or number from 1; empty: those that the run has reached."""

    checkpoint: Which = "newest"
    """Whose weights act."""

    @property
    def steps_allowed(self) -> int:
        """Of all agents of a behaviour together."""
        return self.max_steps or self.episodes * STEPS_PER_EPISODE


@dataclass(frozen=True, kw_only=True)
class PlayOptions:
    """Which policy and simulators play, and where the recording goes."""

    record: Path | None = None
    """The animation that simulators are asked to write."""

    speed: float | None = None
    """Steps that it shows in a second; None leaves it to the simulator."""

    untrained: bool = False
    """Whether the policy acts as it was before it had learned anything."""

    launch: str | None = None
    """A command to launch instead of the simulators in the configuration."""
