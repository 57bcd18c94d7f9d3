"""The interface of a learning algorithm.

An algorithm owns the weights of its policy, the optimizer and the observation normalizer.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from entrain.experience import Rollout
from entrain.policy.weights import PolicyWeights
from entrain.state import Stateful

Metrics: TypeAlias = Mapping[str, float]
"""{standard name: value}, every value finite."""


class UpdateCancelled(Exception):  # noqa: N818 - it is a decision, not an error
    """The update was cancelled as asked; everything is as it was before it."""


def never() -> bool:
    """Never cancels an update."""
    return False


class Algorithm(Stateful, Protocol):
    """Learns from rollouts."""

    @property
    def version(self) -> int:
        """Updates done. Every action carries the version of the policy that chose it."""
        ...

    @property
    def weights(self) -> PolicyWeights:
        """The trained weights. Actors copy them, only between updates."""
        ...

    def update(
        self, rollout: Rollout, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        """Learn from `rollout`, which the algorithm does not keep.

        It either succeeds or changes nothing: neither weights nor optimizer nor generators.

        Args:
            rollout: at least one valid step.
            progress: in [0, 1], the part of the run's env steps done before this rollout; drives
                schedules.
            cancelled: called before every gradient step; once it returns true, the update is
                cancelled. It may be called from another thread than the loop's.

        Raises:
            UpdateCancelled: `cancelled` returned true.
            TrainingDivergedError: a loss or gradient is not finite.
        """
        ...
