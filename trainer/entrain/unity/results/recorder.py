"""Writes the results tree of mlagents-learn while a run goes on; `tree` describes it."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from entrain.run.event_files import EventFiles
from entrain.run.json_lines import fields
from entrain.serving.aggregates import Summary
from entrain.state import State
from entrain.unity.results.checkpoints import Checkpoints, Policy, PolicyWriter
from entrain.unity.results.configuration import configuration_text, trainer_text
from entrain.unity.results.intervals import Interval
from entrain.unity.results.status import TrainingStatus
from entrain.unity.results.summaries import Gathering, console_line, histograms, scalars
from entrain.unity.results.timers import Timers
from entrain.unity.results.tree import ResultsTree
from entrain.unity.stock_run import StockRun
from entrain.unity.stock_trainer import StockPPOTrainer, StockRewardSignal, StockTrainer
from entrain.unity.translation import checkpoint_interval
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)


class Outputs:
    """The files and clocks that all behaviours of a run share. Owned by the event loop."""

    def __init__(
        self,
        tree: ResultsTree,
        writer: PolicyWriter,
        status: TrainingStatus,
        *,
        about: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Write nothing yet.

        Args:
            tree: says where files go.
            writer: writes policies.
            status: of the run's checkpoints.
            about: versions, for timers.json.
            clock: seconds.
            wall_clock: seconds since 1970.
        """
        self.tree = tree
        self.status = status
        """As an earlier sitting left it; the thread of the checkpoints changes it."""
        self.checkpoints = Checkpoints(tree, writer, status, clock=wall_clock)
        self.events = EventFiles(tree.folder)
        self._clock, self.wall_clock = clock, wall_clock
        self._began_s = clock()
        self.timers = Timers(began_s=self._began_s, started_at=wall_clock(), about=about)

    @property
    def now_s(self) -> float:
        """By the clock of the timers."""
        return self._clock()

    @property
    def elapsed_s(self) -> float:
        """Since the command began."""
        return self._clock() - self._began_s


class BehaviourRecorder:
    """Writes the summaries and checkpoints of one behaviour. Owned by the event loop."""

    def __init__(
        self,
        spec: BehaviourSpec,
        trainer: StockTrainer,
        outputs: Outputs,
        *,
        take: Callable[[], State | None],
        env_steps: Callable[[], int],
        lessons: Callable[[], Mapping[str, int]],
    ) -> None:
        """Start at step 0.

        Args:
            spec: of the behaviour.
            trainer: its settings.
            outputs: of the run.
            take: what its algorithm has learned; see `app.observing.RunObserver`.
            env_steps: done by now.
            lessons: {environment parameter: lessons completed} by now.
        """
        self._spec = spec
        self._trainer = trainer
        self._outputs = outputs
        self._take, self._env_steps, self._lessons = take, env_steps, lessons
        signal = trainer.reward_signals.extrinsic or StockRewardSignal()
        self._gathering = Gathering(strength=signal.strength)
        self._summary = Interval(trainer.summary_freq)
        self._checkpoint = Interval(checkpoint_interval(trainer))
        self._return_sum, self._returns = 0.0, 0
        self._is_return_old = False
        """Whether the returns that were added up are from before the newest update."""
        self.due = 0
        self._set_due()

    def __repr__(self) -> str:
        return f"<BehaviourRecorder of '{self._spec.name}': due at {self.due:,}>"

    def resume_at(self, env_steps: int) -> None:
        """Continue after `env_steps` steps."""
        self._summary.begin_at(env_steps)
        self._checkpoint.begin_at(env_steps)
        self._set_due()

    def _set_due(self) -> None:
        self.due = min(self._summary.due, self._checkpoint.due)

    def reach(self, env_steps: int) -> None:
        """See `app.observing.BehaviourObserver`."""
        if env_steps >= self._summary.due:
            self._write_summary(self._summary.pass_at(env_steps), env_steps)
        if env_steps >= self._checkpoint.due and not self._outputs.checkpoints.is_busy:
            policy = self._policy(env_steps)
            if policy is not None:
                self._checkpoint.pass_at(env_steps)
                self._outputs.checkpoints.write(policy)
        self._set_due()

    def note_episodes(self, returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> None:
        """See `app.observing.BehaviourObserver`."""
        self._gathering.add_episodes(returns, lengths)
        if self._is_return_old:
            self._return_sum, self._returns, self._is_return_old = 0.0, 0, False
        self._return_sum += float(returns.sum())
        self._returns += len(returns)

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """See `app.observing.BehaviourObserver`."""
        self._is_return_old = True
        self._gathering.add_update(metrics, statistics)
        outputs = self._outputs
        outputs.timers.note_update(self._spec.name, metrics, now_s=outputs.now_s)
        if env_steps >= self.due:
            # A checkpoint that could not be taken during the update.
            self.reach(env_steps)

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """Nothing: mlagents-learn makes none, so its files have no place for it."""

    def begin(self) -> None:
        """Show the settings in TensorBoard."""
        text, now_s = trainer_text(self._trainer), self._outputs.wall_clock()
        self._outputs.events.add_text(
            self._spec.name, "Hyperparameters", text, step=0, wall_time=now_s
        )
        self._outputs.events.flush()

    def finish(self) -> None:
        """Write the last updates' summary, if the run ends before the next one is due."""
        if self._gathering.has_update:
            env_steps = self._env_steps()
            self._write_summary(env_steps, env_steps)

    def last_policy(self) -> Policy | None:
        """Returns the policy as the run ends; None if no step was done, or an update was lost."""
        env_steps = self._env_steps()
        return self._policy(env_steps) if env_steps else None

    def _policy(self, env_steps: int) -> Policy | None:
        algorithm = self._take()
        if algorithm is None:
            return None
        return Policy(
            spec=self._spec,
            algorithm=algorithm,
            steps=env_steps,
            reward=self._return_sum / self._returns if self._returns else None,
            keep=self._trainer.keep_checkpoints,
            lessons=self._lessons(),
        )

    def _write_summary(self, step: int, env_steps: int) -> None:
        name, outputs = self._spec.name, self._outputs
        is_training = step <= self._trainer.max_steps
        values = self._gathering.take(self._lessons(), env_steps=env_steps, is_training=is_training)
        outputs.events.add(
            name, scalars(values), histograms(values), step=step, wall_time=outputs.wall_clock()
        )
        outputs.events.flush()
        outputs.timers.note_summary(name, values)
        line = console_line(name, values, step=step, seconds=outputs.elapsed_s)
        logger.info("%s", line, extra=fields(policy=name, step=step))


class ResultsRecorder:
    """See `app.observing.RunObserver`. Owned by the event loop."""

    def __init__(self, run: StockRun, outputs: Outputs, *, clears: bool, waits: bool) -> None:
        """Write nothing yet: the run may turn out not to fit its settings.

        Args:
            run: its settings.
            outputs: to write to.
            clears: remove what is there of behaviours that take part.
            waits: write nothing before `resume_at`.
        """
        self._run = run
        self._outputs = outputs
        self._clears = clears
        self._is_open = not waits
        self._has_begun = False
        self._by_name: dict[str, BehaviourRecorder] = {}
        self._trainers: dict[str, StockTrainer] = dict(run.behaviors)

    def __repr__(self) -> str:
        return f"<ResultsRecorder of {', '.join(self._by_name) or 'no behaviour'}>"

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],
        env_steps: Callable[[], int],
        lessons: Callable[[], Mapping[str, int]],
    ) -> BehaviourRecorder:
        """See `app.observing.RunObserver`."""
        trainer = self._trainers.get(spec.name, self._run.default_settings) or StockPPOTrainer()
        self._trainers[spec.name] = trainer
        recorder = BehaviourRecorder(
            spec, trainer, self._outputs, take=take, env_steps=env_steps, lessons=lessons
        )
        self._by_name[spec.name] = recorder
        # A run that goes on from what mlagents-learn has trained begins with its steps.
        recorder.resume_at(env_steps())
        if self._is_open:
            if self._clears:
                self._outputs.tree.clear(spec.name)
            self._begin([recorder])
        return recorder

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """See `app.observing.RunObserver`."""
        self._is_open = True
        self._outputs.events.resume_at(env_steps)
        for name, recorder in self._by_name.items():
            recorder.resume_at(env_steps.get(name, 0))
            self._warn_of_mlagents(name, env_steps.get(name, 0))
        self._begin(list(self._by_name.values()))

    def _warn_of_mlagents(self, behaviour: str, env_steps: int) -> None:
        """Warn that later training of mlagents-learn in this folder is not continued."""
        status = self._outputs.status
        theirs = status.newest_steps(behaviour)
        if status.is_of_mlagents and theirs > env_steps:
            logger.warning(
                "policy '%s': mlagents-learn has trained it here to %s steps, and entrain goes on "
                "from its own checkpoint, at %s; to take theirs, stop this, remove %s and give the "
                "command again",
                behaviour,
                f"{theirs:,}",
                f"{env_steps:,}",
                self._outputs.tree.path / "checkpoints",
            )

    def _begin(self, recorders: Sequence[BehaviourRecorder]) -> None:
        tree, self._has_begun = self._outputs.tree, True
        tree.write(tree.configuration, configuration_text(self._run, self._trainers))
        for recorder in recorders:
            recorder.begin()

    def close(self) -> None:
        """See `app.observing.RunObserver`."""
        outputs, words = self._outputs, "the last models for games are not written"
        for recorder in self._by_name.values() if self._has_begun else ():
            recorder.finish()
        if self._by_name:
            outputs.tree.try_to(words, self._write_last, at=outputs.tree.status)
        outputs.events.close()
        if self._has_begun:
            timers = outputs.timers.tree(now_s=outputs.now_s, ended_at=outputs.wall_clock())
            outputs.tree.write(outputs.tree.timers, json.dumps(timers, indent=4))

    def _write_last(self) -> None:
        last = [recorder.last_policy() for recorder in self._by_name.values()]
        self._outputs.checkpoints.finish([policy for policy in last if policy is not None])
