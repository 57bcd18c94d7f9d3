"""Learns from experience in a thread, and publishes the weights to the policy that acts.

With `policy_lag` 0 an update is waited for before the batch that completed its experience is
answered, so that the policy always acts with its newest weights. With 1 an update runs while the
next experience is collected: when that one is complete, the update is waited for, its weights are
published, and the next update begins. Weights are published only there, never when a thread ends,
so that a seeded run in lockstep repeats.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from threading import Event
from typing import Generic, Protocol, TypeVar, cast

from entrain.algorithms.algorithm import Algorithm, Metrics
from entrain.errors import UnlearnableRolloutError
from entrain.experience import Experience, rollout_of
from entrain.policy.weights import PolicyWeights
from entrain.round_metrics import UPDATE_SECONDS
from entrain.rounds import Share
from entrain.run.progress import Progress
from entrain.state import State
from entrain.transitions import Transitions

E = TypeVar("E", bound=Experience)


class PublishedPolicy(Protocol):
    """The weights that act. See `InferencePolicy`."""

    version: int

    @property
    def weights(self) -> PolicyWeights: ...
    def publish(self, weights: PolicyWeights, version: int) -> None: ...


@dataclass(frozen=True)
class Lesson(Generic[E]):
    """Experience that is to be learned from, and what was known when it was complete."""

    experience: E

    env_steps: int
    """Closed until then, its own included."""

    episodes: Metrics
    """Of the episodes since the lesson before."""

    share: Share | None = None
    """What this rank contributes to the round, in a run of several ranks."""

    others: int = 0
    """Env steps of other ranks that were known then."""

    others_learned: int = 0
    """Steps of other ranks in the update."""

    @property
    def num_steps(self) -> int:
        """Steps that the update learns from."""
        return self.experience.num_steps + self.others_learned

    def in_unit(self, factor: float) -> "Lesson[E]":
        """The same, had each reward been so many times as large."""
        if factor == 1.0:
            return self
        return replace(self, experience=self.experience.in_unit(factor))

    def state(self) -> State:
        """All of it, for a checkpoint."""
        return {
            "rollout": self.experience.state(),
            "experience": type(self.experience).__name__,
            "env_steps": self.env_steps,
            "episodes": dict(self.episodes),
            **({} if self.share is None else {"share": self.share.state(), "others": self.others}),
        }

    @classmethod
    def from_state(cls, state: State) -> "Lesson[E]":
        """The lesson that `state` was taken of."""
        experience = experience_of(state["rollout"], state.get("experience", ""))
        return cls(
            experience=cast("E", experience),
            env_steps=int(state["env_steps"]),
            episodes={name: float(value) for name, value in state["episodes"].items()},
            share=Share.from_state(state["share"]) if "share" in state else None,
            others=int(state.get("others", 0)),
        )


def experience_of(state: State, name: str) -> Experience:
    """The experience that `state` was taken of.

    Args:
        state: see `Experience.state`.
        name: of its type; checkpoints of before there were several have none.
    """
    return Transitions.from_state(state) if name == Transitions.__name__ else rollout_of(state)


class Learner(Generic[E]):
    """Runs an algorithm's updates, one at a time. Owned by the event loop.

    A lesson stays here until its update is done, so that one that is interrupted is done again.
    """

    def __init__(
        self,
        algorithm: Algorithm[E],
        policy: PublishedPolicy,
        executor: Executor,
        *,
        total_steps: int,
        policy_lag: int,
        note_update: Callable[[Lesson[E], Metrics], None],
        before_update: Callable[[int], None] = lambda _number: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin with nothing to learn from.

        Args:
            algorithm: learns.
            policy: acts; it starts with the algorithm's weights.
            executor: of the threads that updates run in.
            total_steps: of the run, for schedules.
            policy_lag: how many lessons may be left undone while the next one is collected.
            note_update: told of each update that is done.
            before_update: told the number of an update, from 1, right before it begins, while no
                other runs.
            clock: seconds; read by the threads, too.
        """
        self._algorithm = algorithm
        self._policy = policy
        self._executor = executor
        self._total_steps = total_steps
        self._policy_lag = policy_lag
        self._note_update = note_update
        self._before_update = before_update
        self._clock = clock
        self._version = algorithm.version
        self._lessons: deque[Lesson[E]] = deque()
        self._running: asyncio.Future[Metrics] | None = None
        self._before: Callable[[], State] | None = None
        """Gives the algorithm's state before the update that runs, if that runs beside the
        collecting."""
        self._gives_up = Event()
        self._is_unlearnable = False
        """Whether the oldest lesson can be learned from with no setting."""
        self.was_left_out = 0
        """Env steps of the lesson that `load_state` left out."""
        self.left_out_steps = 0
        """Env steps of all lessons that were left out, over all sittings."""

    @property
    def version(self) -> int:
        """Updates done and noted."""
        return self._version

    @property
    def next_update(self) -> int:
        """The number, from 1, of the update that begins next."""
        return self._version + 1 + self.is_learning

    @property
    def is_learning(self) -> bool:
        """Whether an update runs, or has ended and is not noted yet."""
        return self._running is not None

    @property
    def is_busy(self) -> bool:
        """Whether an update runs and has not ended."""
        return self._running is not None and not self._running.done()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to learn from."""
        return not self._lessons

    @property
    def has_state(self) -> bool:
        """True if `state` may be called now: an update that is waited for must end first."""
        return self._running is None or self._before is not None

    def progress_before(self, lesson: Lesson[E]) -> float:
        """In [0, 1]: the part of the total steps that was done before this lesson."""
        before = lesson.env_steps + lesson.others - lesson.experience.num_steps
        return Progress(env_steps=before).fraction(self._total_steps)

    async def learn(self, lesson: Lesson[E]) -> None:
        """Take a lesson; wait for the update `policy_lag` behind it, publish, begin the next.

        Raises:
            UpdateCancelled: an update was interrupted; its lesson is kept.
            TrainingDivergedError: see `Algorithm.update`.
        """
        self._lessons.append(lesson)
        await self._catch_up(self._policy_lag)

    async def finish(self) -> None:
        """Do every update that is left, and publish. Raises what `learn` raises."""
        await self._catch_up(0)

    async def resume(self, *, is_batch_unanswered: bool) -> None:
        """Go on after `load_state`; a batch without an answer waits for what `learn` did."""
        if is_batch_unanswered or len(self._lessons) > self._policy_lag:
            await self._catch_up(self._policy_lag)
        else:
            self._begin()

    async def settle(self) -> None:
        """Wait for an update that runs. Its weights are published when the next lesson comes."""
        if self._running is not None:
            await self._end(publishes=False)

    async def _catch_up(self, num_left: int) -> None:
        while len(self._lessons) > num_left:
            self._begin()
            await self._end(publishes=True)
        self._publish()
        self._begin()

    def _begin(self) -> None:
        """Begin the oldest lesson's update, if there is one and it does not run."""
        if self._running is not None or not self._lessons:
            return
        self._before_update(self.next_update)
        if self._policy_lag:
            self._before = self._algorithm.kept_state()
        self._running = self._start(self._lessons[0])

    def _start(self, lesson: Lesson[E]) -> "asyncio.Future[Metrics]":
        """Begin the update of a lesson in a thread."""
        return asyncio.get_running_loop().run_in_executor(
            self._executor,
            partial(self._update, lesson.experience, progress=self.progress_before(lesson)),
        )

    def _update(self, experience: E, *, progress: float) -> Metrics:
        """Learn, in the thread that calls this, and measure how long that takes."""
        began_s = self._clock()
        metrics = self._algorithm.update(
            experience, progress=progress, cancelled=self._gives_up.is_set
        )
        return {**metrics, UPDATE_SECONDS.name: self._clock() - began_s}

    async def _end(self, *, publishes: bool) -> None:
        """Wait for the update that runs, and note it."""
        assert self._running is not None, "no update runs"
        try:
            metrics = await self._running
        except UnlearnableRolloutError:
            self._is_unlearnable = True
            raise
        finally:
            self._running = self._before = None
        lesson = self._lessons.popleft()
        self._version = self._algorithm.version
        if publishes:
            self._publish()
        self._note_update(lesson, metrics)

    def _publish(self) -> None:
        if self._policy.version != self._version:
            self._policy.publish(self._algorithm.weights, self._version)

    def interrupt(self) -> None:
        """Let a running update give up: weights go back to what they were before it."""
        self._gives_up.set()

    @property
    def reward_ratio(self) -> float:
        """See `Algorithm.reward_ratio`."""
        return self._algorithm.reward_ratio

    def learned(self) -> State | None:
        """The algorithm's state after the newest update; None while an update changes it."""
        if not self.has_state:
            return None
        return self._algorithm.state() if self._before is None else self._before()

    def state(self) -> State:
        """The algorithm's state, what is still to be learned from, and the weights that act.

        An update that runs beside the collecting counts as not begun.
        """
        if not self.has_state:
            raise RuntimeError("state() was called during an update; wait for it or interrupt it")
        is_published = self._policy.version == self._version
        return {
            "algorithm": self.learned(),
            "acting": None
            if is_published
            else {"version": self._policy.version, "weights": self._policy.weights.state()},
            "is_unlearnable": self._is_unlearnable,
            "left_out_steps": self.left_out_steps,
            "lessons": {str(index): each.state() for index, each in enumerate(self._lessons)},
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken, acting by the weights of then.

        A lesson that turned out to be unlearnable is left out: it would end this run, too.
        """
        self._algorithm.load_state(state["algorithm"])
        self._version = self._algorithm.version
        lessons = state["lessons"]
        ratio = self.reward_ratio
        waiting = [Lesson[E].from_state(lessons[key]) for key in sorted(lessons, key=int)]
        self._lessons = deque(each.in_unit(ratio) for each in waiting)
        self.was_left_out = 0
        if state.get("is_unlearnable", False):
            left_out = self._lessons.popleft().experience
            self._algorithm.leave_out(left_out)
            self.was_left_out = left_out.num_steps
        self.left_out_steps = int(state.get("left_out_steps", 0)) + self.was_left_out
        weights, acting = self._algorithm.weights, state["acting"]
        # The values of weights from before are in another unit than what is collected now.
        if acting is None or self._policy_lag == 0 or ratio != 1.0:
            self._policy.publish(weights, self._version)
        else:
            then = PolicyWeights.from_state(acting["weights"], weights)
            self._policy.publish(then, int(acting["version"]))
