"""The interface of a learning algorithm.

An algorithm owns the weights of its policy, the optimizer and the observation normalizer.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, TypeVar

from entrain.config.policy import PolicyConfig
from entrain.policy.weights import PolicyWeights
from entrain.state import State, Stateful

E_contra = TypeVar("E_contra", contravariant=True)
"""What it learns from: rollouts or transitions."""

Metrics: TypeAlias = Mapping[str, float]
"""{standard name: value}, every value finite."""


KEPT = "replay"
"""Where an algorithm's state has the experience that it keeps; all else of it is learned."""


class UpdateCancelled(Exception):  # noqa: N818 - it is a decision, not an error
    """The update was cancelled as asked; everything is as it was before it."""


def never() -> bool:
    """Never cancels an update."""
    return False


class Algorithm(Stateful, Protocol[E_contra]):
    """Learns from experience."""

    @property
    def version(self) -> int:
        """Updates done. Every action carries the version of the policy that chose it."""
        ...

    @property
    def weights(self) -> PolicyWeights:
        """The trained weights. Actors copy them, only between updates."""
        ...

    @property
    def reward_ratio(self) -> float:
        """By what rewards from before `load_state` are multiplied to be in the present unit."""
        ...

    def update(
        self, experience: E_contra, /, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        """Learn from `experience`, which is never written to.

        It either succeeds or changes nothing: neither weights nor optimizer nor generators nor
        what is kept of experience.

        Args:
            experience: on one rank at least, with a step.
            progress: in [0, 1], the part of the run's env steps done before this experience;
                drives schedules.
            cancelled: called before every gradient step; once it returns true, the update is
                cancelled. It may be called from another thread than the loop's.

        Raises:
            UpdateCancelled: `cancelled` returned true.
            TrainingDivergedError: a loss or gradient is not finite.
        """
        ...

    def leave_out(self, experience: E_contra, /) -> None:
        """This experience is not learned from; what comes next does not continue it."""
        ...

    def kept_state(self) -> Callable[[], State]:
        """Called right before an update: a way to `state()` of now until that update is over.

        What is returned may be called from another thread while the update runs, and is not called
        once another one has begun.
        """
        ...


class AlgorithmOfRun(Algorithm[E_contra], Protocol[E_contra]):
    """An algorithm as the run that has made it sees it."""

    def change(self, options: PolicyConfig) -> None:
        """Learn with other rates and coefficients from the next update on; not while one runs."""
        ...

    def load_moments(self, state: State) -> None:
        """Let the optimizer of the acting weights go on from `state`, one of `Adam.state`."""
        ...

    def take_over(self, learned: State) -> None:
        """Begin with what a trained algorithm of the same kind has learned beside its policy.

        What does not fit begins anew, and the log says so.

        Args:
            learned: the `state()` of that algorithm; its policy is this one's already.
        """
        ...
