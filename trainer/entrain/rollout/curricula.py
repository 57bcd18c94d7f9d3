"""Curricula of environment parameters: which lesson each is in, and when the next one begins.

    mean return of the last episodes, or share of the total steps  >  threshold  ->  next lesson

Whenever any lesson is over, all episodes before are forgotten. Nothing here knows of simulators:
callers pass new values on to them.
"""

import logging
import math
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from entrain.config.environment_parameters import (
    CompletionConfig,
    CurriculumConfig,
    EnvironmentParameter,
    LessonConfig,
    Value,
    curricula,
    in_words,
)
from entrain.metrics import LESSONS_COMPLETED
from entrain.rollout.episodes import ClosedEpisodes
from entrain.state import State
from entrain_envs.timestep import StepType

logger = logging.getLogger(__name__)

NEVER = sys.maxsize

_ANNOUNCE_BATCHES = 1
"""An Act may be on its way when a lesson ends; with the one after, simulators know."""


class Follower(Protocol):
    """The behaviour's part in the run, as curricula see it."""

    total_steps: int
    """Of its policy."""

    due: int
    """Curricula set it: env steps at which they are to be asked by `Curricula.reach`."""

    @property
    def num_batches(self) -> int:
        """Batches of its rows until now."""
        ...


class Curriculum:
    """The lessons of one parameter. Owned by `Curricula`."""

    def __init__(self, config: CurriculumConfig) -> None:
        self.lessons: Sequence[LessonConfig] = config.lessons
        self.index = config.completed
        """Of the present lesson: how many are completed."""
        self.smoothed = 0.0
        """What was compared with a threshold last, if it is smoothed."""

    @property
    def lesson(self) -> LessonConfig:
        """The present one."""
        return self.lessons[self.index]

    @property
    def words(self) -> str:
        """`'hard' (2 of 3)`."""
        return f"'{self.lesson.name}' ({self.index + 1} of {len(self.lessons)})"

    def depends_on(self, behaviour: str) -> CompletionConfig | None:
        """When the present lesson is over, if that is up to `behaviour`."""
        completion = self.lesson.completion
        return None if completion is None or completion.behaviour != behaviour else completion

    def is_over(
        self, behaviour: str, returns: Sequence[float], progress: float, *, has_ended: bool
    ) -> bool:
        """Whether the next lesson is to begin.

        Args:
            behaviour: that is looked at.
            returns: of its episodes since a lesson last changed, the newest.
            progress: share of its total steps.
            has_ended: whether some of these episodes are new.
        """
        completion = self.depends_on(behaviour)
        if completion is None or len(returns) < completion.min_episodes:
            return False
        if completion.measure == "progress":
            return progress > completion.threshold
        if not has_ended or not returns:
            return False
        measured = math.fsum(returns) / len(returns)
        if math.isnan(measured):
            return False
        if completion.smoothing:
            measured = self.smoothed = 0.25 * self.smoothed + 0.75 * measured
        return measured > completion.threshold


class Curricula:
    """Those of all parameters of a run. Owned by the event loop."""

    def __init__(
        self,
        parameters: Mapping[str, EnvironmentParameter],
        changed: Callable[[Mapping[str, Value], bool], None],
    ) -> None:
        """Every parameter is in the lesson that a run begins with.

        Args:
            parameters: of the configuration.
            changed: told {parameter: its value} of lessons that begin, and whether running
                episodes are to be given up where they can be.
        """
        self._by_name = {name: Curriculum(it) for name, it in curricula(parameters).items()}
        self._changed = changed
        # As in ML-Agents all lessons of a behaviour look at as many episodes.
        self._returns: dict[str, deque[float]] = {
            behaviour: deque(maxlen=most) for behaviour, most in self._most_episodes().items()
        }
        self._after_batch = dict.fromkeys(self._returns, -1)
        """{behaviour: episodes count that began after this batch}."""
        self._followers: dict[str, Follower] = {}

    def __repr__(self) -> str:
        return f"<Curricula: {', '.join(f'{k} {it.words}' for k, it in self._by_name.items())}>"

    def _most_episodes(self) -> Mapping[str, int]:
        most: dict[str, int] = {}
        for curriculum in self._by_name.values():
            for lesson in curriculum.lessons:
                if lesson.completion is not None:
                    name = lesson.completion.behaviour
                    most[name] = max(most.get(name, 1), lesson.completion.min_episodes)
        return most

    @property
    def lessons(self) -> Mapping[str, str]:
        """{parameter: name and number of its lesson, in words}."""
        return {name: it.words for name, it in self._by_name.items()}

    @property
    def metrics(self) -> Mapping[str, float]:
        """{metric: how many lessons are completed} for each parameter."""
        return {LESSONS_COMPLETED.of(name): float(it) for name, it in self.completed.items()}

    @property
    def unfinished(self) -> Mapping[str, str]:
        """{parameter: its lesson in words} of those that have lessons left after it."""
        return {
            name: it.words for name, it in self._by_name.items() if it.lesson.completion is not None
        }

    @property
    def completed(self) -> Mapping[str, int]:
        """{parameter: how many of its lessons are completed}."""
        return {name: it.index for name, it in self._by_name.items()}

    def awaited(self) -> Mapping[str, str]:
        """{parameter: behaviour} of lessons that end by a behaviour that no simulator has."""
        completions = {name: it.lesson.completion for name, it in self._by_name.items()}
        return {
            name: it.behaviour
            for name, it in completions.items()
            if it is not None and it.behaviour not in self._followers
        }

    def follow(self, behaviour: str, follower: Follower) -> None:
        """A behaviour takes part, whose episodes are noted from now on."""
        self._followers[behaviour] = follower
        self._set_due()

    def note(self, behaviour: str, episodes: ClosedEpisodes) -> None:
        """Some episodes of a behaviour that is followed are over."""
        returns = self._returns.get(behaviour)
        if returns is None:
            return
        counted = self._counted(behaviour, episodes)
        if counted:
            returns.extend(counted)
            self._advance(behaviour, episodes.env_steps, has_ended=True)

    def _counted(self, behaviour: str, episodes: ClosedEpisodes) -> Sequence[float]:
        """Returns of those episodes that ended, and began after the order to begin anew."""
        ended = episodes.endings != int(StepType.MID)
        found: Sequence[float] = episodes.returns[
            ended & (episodes.began > self._after_batch[behaviour])
        ].tolist()
        return found

    def reach(self, behaviour: str, env_steps: int) -> None:
        """A behaviour that is followed has had so many env steps."""
        self._advance(behaviour, env_steps, has_ended=False)

    def _advance(self, behaviour: str, env_steps: int, *, has_ended: bool) -> None:
        """Begin the next lesson of each parameter whose lesson is over."""
        progress = env_steps / self._followers[behaviour].total_steps
        returns = tuple(self._returns[behaviour])
        over = {
            name: it
            for name, it in self._by_name.items()
            if it.is_over(behaviour, returns, progress, has_ended=has_ended)
        }
        if not over:
            return
        completions = [it.lesson.completion for it in over.values()]
        must_reset = any(it is not None and it.require_reset for it in completions)
        if must_reset:
            for name, follower in self._followers.items():
                if name in self._after_batch:
                    self._after_batch[name] = follower.num_batches + _ANNOUNCE_BATCHES
        for each in self._returns.values():
            each.clear()
        for name, curriculum in over.items():
            before, curriculum.index = curriculum.lesson.name, curriculum.index + 1
            logger.info(
                "environment parameter '%s': lesson '%s' is over, now %s: %s",
                name,
                before,
                curriculum.words,
                in_words(curriculum.lesson.value),
            )
        self._changed({name: it.lesson.value for name, it in over.items()}, must_reset)
        self._set_due()

    def _set_due(self) -> None:
        """Tell each behaviour by how many steps it is to ask, for lessons that go by progress."""
        for behaviour, follower in self._followers.items():
            completions = [it.depends_on(behaviour) for it in self._by_name.values()]
            follower.due = min(
                (
                    math.ceil(it.threshold * follower.total_steps)
                    for it in completions
                    if it is not None and it.measure == "progress"
                ),
                default=NEVER,
            )

    def state(self) -> State:
        """Lessons, and what decides when the next ones begin."""
        return {
            "parameters": list(self._by_name),
            "lessons": [it.index for it in self._by_name.values()],
            "smoothed": [it.smoothed for it in self._by_name.values()],
            "behaviours": list(self._returns),
            "after_batch": list(self._after_batch.values()),
            "returns": {
                str(index): np.array(each, np.float64)
                for index, each in enumerate(self._returns.values())
            },
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken, as far as the configuration still has the same lessons."""
        reached = dict(zip(state["parameters"], state["lessons"], strict=True))
        smoothed = dict(zip(state["parameters"], state["smoothed"], strict=True))
        for name, curriculum in self._by_name.items():
            if name in reached:
                curriculum.index = min(int(reached[name]), len(curriculum.lessons) - 1)
                curriculum.smoothed = float(smoothed[name])
        for index, behaviour in enumerate(state["behaviours"]):
            if behaviour in self._returns:
                self._returns[behaviour].extend(state["returns"][str(index)].tolist())
                self._after_batch[behaviour] = int(state["after_batch"][index])
        if self._by_name:
            self._changed({name: it.lesson.value for name, it in self._by_name.items()}, False)
        self._set_due()


def reached_lessons(state: State) -> Mapping[str, int]:
    """{parameter: index of its lesson, from 0} in the state of curricula."""
    return dict(zip(state["parameters"], state["lessons"], strict=True)) if state else {}
