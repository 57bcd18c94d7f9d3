"""The seam for those who watch a run beside its own reporting, and write files of another form.

Nothing here knows which form. What an observer is told of is over; it can change nothing.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from entrain.rollout.episodes import Float64Array
from entrain.serving.aggregates import Summary
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array


class BehaviourObserver(Protocol):
    """Watches one behaviour. Called on the event loop; never raises, and never waits."""

    @property
    def due(self) -> int:
        """Env steps at which it wants to be told that they are reached."""
        ...

    def reach(self, env_steps: int) -> None:
        """The policy has had so many env steps, which are `due`."""
        ...

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """[N] episodes ended, with these sums of raw rewards and these steps."""
        ...

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """An update is done: its metrics, and what simulators reported since the one before."""
        ...

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """An evaluation is over: its metrics, and the env steps of the policy by now."""
        ...


class RunObserver(Protocol):
    """Watches a run. Called on the event loop; never raises."""

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],
        env_steps: Callable[[], int],
        lessons: Callable[[], Mapping[str, int]],
    ) -> BehaviourObserver:
        """A new behaviour takes part.

        Args:
            spec: of the behaviour.
            take: what its algorithm has learned after the newest update, its state but for the
                experience that it keeps; None while an update changes it.
            env_steps: of its policy by now.
            lessons: {environment parameter with a curriculum: lessons completed} by now.
        """
        ...

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """The run goes on from a checkpoint with these env steps of each behaviour."""
        ...

    def close(self) -> None:
        """The run ended; its policies do not change any more."""
        ...


class BehaviourObservers:
    """Several as one."""

    def __init__(self, observers: Sequence[BehaviourObserver]) -> None:
        """All of these, told in this order."""
        self._observers = observers

    @property
    def due(self) -> int:
        """When the first of them wants to be told."""
        return min(each.due for each in self._observers)

    def reach(self, env_steps: int) -> None:
        """Tell those that wait for it."""
        for each in self._observers:
            if env_steps >= each.due:
                each.reach(env_steps)

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """Tell all."""
        for each in self._observers:
            each.note_episodes(returns, lengths)

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """Tell all."""
        for each in self._observers:
            each.note_update(metrics, statistics, env_steps=env_steps)

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """Tell all."""
        for each in self._observers:
            each.note_evaluation(metrics, env_steps=env_steps)


class RunObservers:
    """Several observers as one."""

    def __init__(self, *observers: RunObserver) -> None:
        """All of these, told in this order."""
        self._observers = observers

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],
        env_steps: Callable[[], int],
        lessons: Callable[[], Mapping[str, int]],
    ) -> BehaviourObserver:
        """See `RunObserver`."""
        return BehaviourObservers(
            [each.follow(spec, take, env_steps, lessons) for each in self._observers]
        )

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """Tell all."""
        for each in self._observers:
            each.resume_at(env_steps)

    def close(self) -> None:
        """Tell all."""
        for each in self._observers:
            each.close()


class _NoBehaviourObserver:
    due = sys.maxsize

    def reach(self, env_steps: int) -> None:
        """Is never called."""

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """Forgets them."""

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """Forgets it."""

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """Forgets it."""


class NoObserver:
    """An observer that does nothing."""

    def follow(
        self,
        spec: BehaviourSpec,  # noqa: ARG002 - see RunObserver
        take: Callable[[], State | None],  # noqa: ARG002
        env_steps: Callable[[], int],  # noqa: ARG002
        lessons: Callable[[], Mapping[str, int]],  # noqa: ARG002
    ) -> BehaviourObserver:
        """Returns one that forgets everything."""
        return _NoBehaviourObserver()

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing was opened."""
