"""Remembers that a policy has diverged, and whether it is to act on without learning."""

from collections.abc import Callable

from entrain.errors import TrainingDivergedError


class PolicyDivergence:
    """Of one policy, which has not diverged at first. Owned by its trainer."""

    def __init__(self, goes_on: Callable[[], bool]) -> None:
        """Nothing has gone wrong.

        Args:
            goes_on: asked when it has diverged: whether others still learn, so that it is to act.
        """
        self._goes_on = goes_on
        self.error: TrainingDivergedError | None = None
        """Why it learns no more, if it does not."""

    def __repr__(self) -> str:
        return f"<PolicyDivergence: {self.error or 'none'}>"

    def note(self, error: TrainingDivergedError) -> bool:
        """It has diverged; returns whether it is to act on."""
        # Without its traceback, which would hold the rollout.
        self.error = error.with_traceback(None)
        return self._goes_on()
