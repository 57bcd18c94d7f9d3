"""One policy's training: its loop with a learner, and how far it has come.

A policy whose update diverges acts on with the weights before it, and learns no more, if others
still learn. Collaborators are Protocols: nothing here knows of gRPC, files or networks' insides.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from entrain.algorithms.algorithm import KEPT, Algorithm, Metrics, UpdateCancelled
from entrain.algorithms.findings import Diagnostics, Findings
from entrain.errors import TrainingDivergedError
from entrain.learner import E, Learner, Lesson
from entrain.policy_divergence import PolicyDivergence
from entrain.policy_loop import ActorPart, PolicyLoop
from entrain.requests import Batches, SlotTimesteps
from entrain.rollout.collector import Collector, E_co
from entrain.rollout.episodes import EpisodeWatcher
from entrain.rollout.ledger import Ledger
from entrain.rollout.return_statistics import ReturnStatistics
from entrain.round_metrics import TIME_CHECKPOINT, TIME_REPORT
from entrain.run.progress import Progress
from entrain.run.summary import PolicySummary
from entrain.state import State, Stateful
from entrain.stopwatch import Lasted
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)

_RARE: Metrics = {TIME_REPORT.name: 0.0, TIME_CHECKPOINT.name: 0.0}
"""What a round need not have had."""


class EpisodeSource(Protocol):
    """The episodes of a policy's agents. See `EpisodeLog`."""

    @property
    def num_closed(self) -> int: ...
    @property
    def num_batches(self) -> int: ...
    @property
    def statistics(self) -> ReturnStatistics: ...
    @property
    def num_running(self) -> int: ...
    @property
    def longest_running(self) -> int: ...
    def measure(self) -> Metrics: ...
    def watch(self, watcher: EpisodeWatcher) -> None: ...


class CollectorPart(Collector[E_co], Stateful, Protocol[E_co]):
    """Collects experience. See `StepCollector`."""

    @property
    def episodes(self) -> EpisodeSource: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def env_steps(self) -> int: ...
    def multiply_rewards(self, factor: float) -> None: ...


class Recorder(Protocol):
    """Writes and shows what happened, for people."""

    def record(self, update: "Update") -> None: ...
    def note_completion(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Update:
    """The facts of one update, for people."""

    behaviour: str
    progress: Progress
    total_steps: int
    """Env steps after which this policy is done."""

    metrics: Metrics
    """By standard name."""

    longest_running: int
    """Steps of the longest episode that has not ended; 0 if none runs."""

    warnings: Sequence[str]
    """What set in with this update, each in a line that begins with the update's number."""


class _OfLearner:
    """Properties of the learner that a trainer passes on."""

    _learner: Learner[Any]

    @property
    def is_learning(self) -> bool:
        """Whether an update runs just now."""
        return self._learner.is_learning

    @property
    def is_busy(self) -> bool:
        """See `Learner.is_busy`."""
        return self._learner.is_busy

    @property
    def next_update(self) -> int:
        """The number, from 1, of the update that begins next."""
        return self._learner.next_update

    @property
    def has_state(self) -> bool:
        """True if `state` may be called now; else an update must end first, or be interrupted."""
        return self._learner.has_state

    def learned(self) -> State | None:
        """The algorithm's state after the newest update, without the experience that it keeps.

        None while an update changes it.
        """
        state = self._learner.learned()
        return None if state is None else {it: state[it] for it in state if it != KEPT}

    def interrupt(self) -> None:
        """Let a running update give up.

        Weights go back to what they were before it, and the experience is kept for `state`, so that
        a resumed run does the same update again.
        """
        self._learner.interrupt()


class Trainer(_OfLearner, Generic[E]):
    """Serves one policy's agents and learns from them until its total steps are reached.

    Owned by the event loop. Only the algorithm's updates run in a thread.
    """

    def __init__(
        self,
        behaviour: str,
        *,
        actor: ActorPart,
        collector: CollectorPart[E],
        algorithm: Algorithm[E],
        diagnostics: Diagnostics,
        recorder: Recorder,
        learners: Executor,
        total_steps: int,
        policy_lag: int = 0,
        goes_on: Callable[[], bool] = lambda: False,
        before_update: Callable[[int], None] = lambda _number: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin with nothing learned.

        Args:
            behaviour: its name.
            actor: acts by the policy's weights.
            collector: collects what the agents lived through.
            algorithm: learns from it.
            diagnostics: finds what is wrong with how it learns.
            recorder: is told of every update.
            learners: run them.
            total_steps: env steps after which it is done.
            policy_lag: see `Learner`.
            goes_on: see `PolicyDivergence`.
            before_update: see `Learner`.
            clock: seconds.
        """
        self.behaviour, self.total_steps = behaviour, total_steps
        self._divergence = PolicyDivergence(goes_on)
        self._actor = actor
        self._collector = collector
        self._learner = self._make_learner(
            algorithm,
            actor.policy,
            learners,
            total_steps=total_steps,
            policy_lag=policy_lag,
            note_update=self._note_update,
            before_update=before_update,
            clock=clock,
        )
        self._loop = PolicyLoop(actor, collector, self, clock=clock)
        self._findings = Findings(behaviour, diagnostics)
        self._recorder = recorder
        self._lasted = Lasted(clock)

    _make_learner: Callable[..., Learner[E]] = Learner

    def __repr__(self) -> str:
        return f"<Trainer {self.behaviour}: {self.progress} of {self.total_steps:,} env steps>"

    @property
    def progress(self) -> Progress:
        """How far training has come, over all sittings."""
        return Progress(
            env_steps=self._collector.env_steps,
            updates=self._learner.version,
            episodes=self.episodes.statistics.count,
            seconds=self._lasted.seconds,
        )

    @property
    def divergence(self) -> TrainingDivergedError | None:
        """Why it learns no more, if it does not."""
        return self._divergence.error

    @property
    def episodes(self) -> EpisodeSource:
        """Those of its agents, over all sittings."""
        return self._collector.episodes

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped."""
        self._loop.record()
        return self._collector.ledger

    @property
    def warnings(self) -> Sequence[str]:
        """Findings about updates, over all sittings."""
        return self._findings.lines

    @property
    def is_complete(self) -> bool:
        """Whether it learns no more: the total steps are learned from, or it has diverged."""
        if self.divergence is not None:
            return True
        return self._learner.is_idle and self._collector.is_complete

    async def run(self, batches: Batches) -> None:
        """Serve until the batches end, or until `interrupt` ends a running update.

        A policy whose total steps are reached goes on acting, for its simulators may hold agents
        of policies that still learn, but it neither collects nor learns any more. So does one that
        has diverged; what it did not learn from is kept for a resumed run.

        Raises:
            TrainingDivergedError: it has diverged, and no other policy learns.
        """
        try:
            with self._learning():
                await self._learner.resume(is_batch_unanswered=self._loop.evaluation is not None)
            await self._loop.run(batches)
            with self._learning():
                await self._learner.settle()
        except UpdateCancelled:
            # The experience stays with the learner and its batch unanswered; `state` holds both.
            return

    @contextmanager
    def _learning(self) -> Iterator[None]:
        """A part of learning; once that has diverged, act without collecting, if others learn."""
        try:
            yield
        except TrainingDivergedError as error:
            if not self._divergence.note(error):
                raise
            logger.error("%s. It acts on without learning; the other policies go on", error)
            # A complete one is still to record the batch that completed it; its loop ends it then.
            if not self._collector.is_complete:
                self._loop.collector = self._collector.ended()
        self._loop.stopwatch.lap("learn")

    def release(self, take_released: Callable[[], Int64Array]) -> None:
        """Drop the open steps of agents that left after the last batch.

        Not if a batch is unanswered: its own agents may be among them, and are given an action
        yet. The server keeps them then, until the next batch.
        """
        if self._loop.evaluation is None:
            self._loop.record()
            released = take_released()
            self._actor.release(released)
            self._loop.collector.release(released)

    async def learn(self, experience: E) -> None:
        """See `Learns.learn`."""
        lesson = Lesson(experience, self._collector.env_steps, self.episodes.measure())
        with self._learning():
            await self._learner.learn(lesson)

    async def finish(self) -> None:
        """See `Learns.finish`."""
        if self.divergence is None:
            with self._learning():
                await self._learner.finish()

    def note_completion(self) -> None:
        """See `Learns.note_completion`."""
        self._recorder.note_completion()

    def _note_update(self, lesson: Lesson[E], learned: Metrics) -> None:
        self._loop.stopwatch.lap("learn")
        times = self._loop.stopwatch.metrics(lesson.num_steps)
        metrics = {**lesson.episodes, **learned, **_RARE, **times}
        done = self._learner.progress_before(lesson)
        warnings = self._findings.of(metrics, update=self._learner.version, progress=done)
        self._recorder.record(
            Update(
                behaviour=self.behaviour,
                progress=self.progress,
                total_steps=self.total_steps,
                metrics=metrics,
                longest_running=self.episodes.longest_running,
                warnings=warnings,
            )
        )
        self._loop.stopwatch.lap("report")

    def hold(self) -> None:
        """The run is paused: from now on no batches come, and time does not count."""
        self._loop.stopwatch.hold()
        self._lasted.hold()

    def go_on(self) -> None:
        """It goes on; an update that is waited for has gone on all the time."""
        self._loop.stopwatch.go_on(counts=not self.has_state)
        self._lasted.go_on()

    def note_checkpoint(self, seconds: float) -> None:
        """All policies have just stood still for so long while a checkpoint's state was taken."""
        self._loop.stopwatch.credit("checkpoint", seconds)

    def summary(self) -> PolicySummary:
        """How far this policy came."""
        return _summary(self, left_out_steps=self._learner.left_out_steps)

    def state(self) -> State:
        """Everything that decides how this policy goes on, an interrupted update included."""
        self._loop.record()
        evaluation = self._loop.evaluation
        return {
            **self._learner.state(),
            "progress": self.progress.state(),
            "actor": self._actor.state(),
            "collector": self._collector.state(),
            "collects": self._loop.collector is self._collector,
            "unanswered": None if evaluation is None else evaluation.batch.state(),
            **self._findings.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; a batch that was not answered is evaluated again."""
        self._lasted.go_on_after(Progress.from_state(state["progress"]).seconds)
        self._actor.load_state(state["actor"])
        # First what learns: it says best what does not fit.
        self._learner.load_state(state)
        self._collector.load_state(state["collector"])
        if self._learner.reward_ratio != 1.0:
            self._collector.multiply_rewards(self._learner.reward_ratio)
        self._findings.load_state(state)
        left_out = self._learner.was_left_out
        if left_out:
            self._findings.note_left_out(left_out, update=self._learner.version + 1)
        if not state["collects"]:
            self._end_or_begin_again()
        unanswered = state["unanswered"]
        if unanswered is not None:
            self._loop.evaluation = self._actor.evaluate(SlotTimesteps.from_state(unanswered))

    def _end_or_begin_again(self) -> None:
        """The run had its total steps; it may have been resumed with more."""
        if self._collector.is_complete:
            self._loop.collector = self._collector.ended()
        else:
            # Episodes that nobody collected from their beginning begin with their next rows.
            self._actor.release_all()


def _summary(trainer: Trainer[Any], *, left_out_steps: int) -> PolicySummary:
    divergence = () if trainer.divergence is None else (str(trainer.divergence),)
    return PolicySummary(
        progress=trainer.progress,
        total_steps=trainer.total_steps,
        ledger=trainer.ledger.state(),
        warnings=(*trainer.warnings, *divergence),
        diverged="".join(divergence),
        left_out_steps=left_out_steps,
    )
