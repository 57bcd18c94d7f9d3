"""How an evaluation acts, and when it ends. Imports nothing, so that the command line is quick."""

from dataclasses import dataclass

STEPS_PER_EPISODE = 108_000
"""Steps allowed for each episode asked for, unless a limit is given. So many frames is the longest
that an Atari game may last, so no usual task is cut."""


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

    @property
    def steps_allowed(self) -> int:
        """Of all agents of a behaviour together."""
        return self.max_steps or self.episodes * STEPS_PER_EPISODE
