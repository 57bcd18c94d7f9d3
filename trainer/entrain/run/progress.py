"""How far a policy's training has come, as plain numbers."""

from dataclasses import asdict, dataclass
from typing import Self

from entrain.errors import CheckpointError
from entrain.state import State


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Work done so far, over all sittings of a run."""

    env_steps: int = 0
    """Outcomes received from all agents."""

    updates: int = 0
    """Times the policy learned from a rollout."""

    episodes: int = 0
    """Episodes that ended."""

    seconds: float = 0.0
    """Wall-clock time spent; time between a stop and its resume does not count."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value >= 0:
                raise ValueError(f"{name} is {value}; progress is never negative")

    def fraction(self, total_steps: int) -> float:
        """Returns the part of `total_steps` that is done, in [0, 1]; schedules follow it."""
        return min(1.0, self.env_steps / max(1, total_steps))

    def state(self) -> State:
        """Returns the numbers, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Returns the progress that `state` was taken of."""
        try:
            return cls(**state)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's progress cannot be read: {error}") from error
