"""One training run, from its first listening to its last file.

    listen -> simulators join -> a trainer for each behaviour they bring -> ... -> save and report

A run ends in one of five ways:

    completed   every policy has its total steps, or is good enough (`stop_at`): simulators are told
                to end
    stopped     SIGTERM or Ctrl+C: simulators are told that the trainer may come back
    deserted    no simulator is left: saved like a stopped run, and ends with an error
    diverged    an update gave numbers that are not finite, and no other policy learns any more:
                likewise; a resumed run repeats the update, or leaves out what none can learn from
    failed      any other error: simulators are told, and the checkpoint before stands

The algorithm's updates and the writing of checkpoints run in threads, all else on one event loop.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from entrain.app.apart import Apart
from entrain.app.begun import begun_if_whole
from entrain.app.best_checkpoint import BestCheckpoint
from entrain.app.build import (
    environment_parameters,
    listened_on,
    make_front,
    make_participants,
    web_sockets_of,
)
from entrain.app.checkpointing import make_checkpointing
from entrain.app.control import RunControl
from entrain.app.evaluation_report import EvaluationReport
from entrain.app.evaluation_side import EvaluationSide, side_of
from entrain.app.evaluations import Evaluations, NoEvaluations
from entrain.app.game_watch import GameWatcher, watch_over_games
from entrain.app.goal import Goal
from entrain.app.launcher import Launcher
from entrain.app.processors import available_processors
from entrain.app.reporting import Reporting
from entrain.app.run_clock import RunClock
from entrain.app.run_end import RunEnd
from entrain.app.run_hooks import RunHooks
from entrain.app.run_saving import RunSaving
from entrain.app.run_side import RunSide
from entrain.app.serving_tasks import ServingTasks
from entrain.app.socket_address import tell_where_sockets_are
from entrain.app.trainers import Trainers
from entrain.app.watchdog import any_of, watch_simulators
from entrain.config.run import RunConfig
from entrain.errors import ungrouped
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.checkpoint import Loaded
from entrain.run.display import Display
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome, RunSummary
from entrain.serving.behaviours import Behaviour
from entrain.serving.front import Ending
from entrain.serving.participants import Participants
from entrain.trainer import Trainer, Update

if TYPE_CHECKING:
    from entrain.native.websocket_transport import Simulators

logger = logging.getLogger(__name__)

LOOK_AROUND_S = 0.5
"""How often the display is told who is connected, and a due checkpoint is looked for."""


class TrainingRun:
    """The parts of one run and the order in which they begin and end. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        display: Display,
        *,
        launcher: Callable[[str], Launcher],
        restored: Loaded | None = None,
        hooks: RunHooks | None = None,
        together: Apart | None = None,
    ) -> None:
        """Build what can be built before a simulator says what it is.

        Args:
            config: every option.
            folder: where files go.
            display: shows how the run goes.
            launcher: makes the launcher of simulators, given the address that they dial.
            restored: the checkpoint to go on from.
            hooks: of the command that makes the run.
            together: with which other ranks it learns; None for none.

        Raises:
            ConfigError, CheckpointError: an option or `restored` does not fit; no file was changed.
        """
        self._config, self._folder, self._make_launcher = config, folder, launcher
        self._hooks = hooks = hooks or RunHooks()
        self._together = together or Apart()
        self.address = ""
        """Where simulators dial in; "" before it listens."""
        self.clock = RunClock()
        self._learners = self._together.make_learners(config, processors=available_processors())
        self._trainers = self._make_trainers(begun_if_whole(config, restored))
        self.participants = self._make_participants()
        rank = self._together.place.rank
        side = side_of(config, folder, rank=rank, environments=hooks.environments)
        self._front = make_front(
            config,
            self.participants,
            run_id=folder.name,
            evaluation=None if side is None else side.participants,
        )
        self._run_end = RunEnd(
            self._trainers, pause=self._front.pause, is_done_by_all=self._together.note_done
        )
        self._tasks = ServingTasks(
            self._trainers, guard=self._run_end.until_failure, announced=self._show
        )
        self.checkpointing = self._together.checkpointing(
            make_checkpointing(config.checkpoints, folder, hooks.keeper, restored)
        )
        self._curricula = self._together.make_curricula(
            environment_parameters(config), self.participants.parameters.update
        )
        self.reporting = self._make_reporting(display)
        """Holds files open until the run ends; who does not start it closes them."""
        self.goal = self._make_goal(side)
        self.evaluations = self._make_evaluations(side)
        self.control = self._make_control()
        self._saving = self._make_saving(restored)

    def _make_trainers(self, begun: Set[str]) -> Trainers:
        return Trainers(
            self._config,
            learners=self._learners,
            recorder=self,
            begun=begun,
            # Made later than the trainers.
            before_update=lambda *which: self.control.changes.before_update(*which),  # noqa: PLW0108
            clock=lambda: self.seconds,
            together=self._together,
        )

    def _make_participants(self) -> Participants:
        return make_participants(
            self._config,
            self._open,
            prepare=self._trainers.prepared,
            another_policy=self._hooks.another_policy,
            seed=self._together.seed(self._config.seed),
        )

    def _make_reporting(self, display: Display) -> Reporting:
        shown = self._config, self._folder, display, self.participants, self._curricula
        return Reporting(*shown, observer=self._hooks.observer)

    def _make_goal(self, side: EvaluationSide | None) -> Goal:
        return Goal(
            self._config.stop_at,
            self._trainers,
            parameters=self.participants.parameters,
            unfinished=lambda: self._curricula.unfinished,
            judged=None if side is None else lambda: side.behaviours,
            reach=self._run_end.reach,
        )

    def _make_evaluations(self, side: EvaluationSide | None) -> NoEvaluations:
        if side is None:
            return NoEvaluations()
        return Evaluations(
            side,
            BestCheckpoint(self._folder.best, check=self._hooks.keeper.check),
            training=self.participants,
            trainers=self._trainers,
            report=self._report_evaluation,
            note_returns=self.goal.note_evaluation,
            others=lambda: {"curricula": self._curricula.state()},
            seconds=lambda: self.seconds,
        )

    def _report_evaluation(self, report: EvaluationReport) -> None:
        progress = self.trainers[report.behaviour].progress
        self.reporting.record_evaluation(report, env_steps=progress.env_steps)

    def _make_control(self) -> RunControl:
        return RunControl(
            self._config,
            self._folder,
            trainers=self._trainers,
            participants=self.participants,
            checkpointing=self.checkpointing,
            clock=self.clock,
            keeper=self._hooks.keeper,
            leave_out=self.reporting.leave_out,
            num_ranks=self._together.place.size,
        )

    def _make_saving(self, restored: Loaded | None) -> RunSaving:
        saving = RunSaving(
            self.checkpointing,
            trainers=self._trainers,
            participants=self.participants,
            front=self._front,
            curricula=self._curricula,
            reporting=self.reporting,
            control=self.control,
            clock=self.clock,
            together=self._together,
            evaluations=self.evaluations,
            goal=self.goal,
        )
        saving.begin_at(restored)
        return saving

    @property
    def web_sockets(self) -> "Simulators | None":
        """The application that answers simulators' WebSockets, if there is to be one."""
        return web_sockets_of(self._front)

    @property
    def seconds(self) -> float:
        """Wall-clock time of this run, over all sittings."""
        return self.clock.seconds

    @property
    def env_steps(self) -> int:
        """Outcomes received, over all policies."""
        return self._trainers.env_steps

    @property
    def policies(self) -> Mapping[str, ActorNetwork]:
        """{behaviour: its policy} of those that simulators have brought."""
        return self._trainers.policies

    @property
    def trainers(self) -> Mapping[str, Trainer[Any]]:
        """{behaviour: its trainer}."""
        return self._trainers.by_name

    @property
    def returns(self) -> Mapping[str, float]:
        """{behaviour: mean return of its last episodes}; NaN where none has ended."""
        return {name: it.episodes.statistics.last_mean for name, it in self.trainers.items()}

    @property
    def is_finished(self) -> bool:
        """Whether the checkpoint is of a run whose policies are done, or good enough."""
        if not self.trainers:
            return False
        is_complete = self.goal.is_reached or self._trainers.are_all_complete()
        return is_complete and self._together.is_over

    async def run(self, stop: asyncio.Event) -> Outcome:
        """Train until every policy is done, or `stop` is set; then save what was learned.

        Raises:
            NoSimulatorError, TrainingDivergedError: what was learned before is saved.
            ServeError, ConfigError, CheckpointError: see `errors`.
        """
        with self.reporting, self._learners:
            try:
                parts = self._trainers, self.participants, self._run_end, self._tasks
                side = RunSide(*parts, self._saving.state)
                async with self._together.connected(side, stop):
                    with ungrouped():
                        outcome = await self._serve(stop, await self._front.start())
            except BaseException as error:
                # An update whose result nobody wants must not hold up the end.
                self._trainers.interrupt()
                await self._front.stop(Ending.STOPPED, f"the trainer failed: {error}")
                raise
        episodes = {name: trainer.episodes for name, trainer in self.trainers.items()}
        self.reporting.conclude(
            outcome,
            episodes,
            env_steps=self.env_steps,
            seconds=self.seconds,
            reached=self.goal.words,
        )
        if outcome == "completed":
            self.goal.warn_if_missed()
        if outcome == "failed":
            self._run_end.raise_failure()
        return outcome

    async def _serve(self, stop: asyncio.Event, to_dial: str) -> Outcome:
        """Do everything between listening and the last checkpoint."""
        self.address = listened_on(self._config, to_dial)
        logger.info("listening on %s (Ctrl+C saves and stops)", self.address)
        launcher = self._make_launcher(to_dial)
        tell_where_sockets_are(launcher, self._config, self._front)
        games = watch_over_games(self._config, self._front, launcher, logs=self._folder.simulators)
        grace_s = 0.0
        try:
            await self.evaluations.start(launcher)
            await launcher.start()
            outcome = await self._train(stop, launcher, games)
            if outcome == "completed" and not self._run_end.is_reached:
                await self._evaluate_last(stop)
            if len(self.participants) + len(self.evaluations.participants or ()):
                grace_s = self._config.simulators.close_s
            await launcher.start_no_more()
            await self._end(outcome)
        finally:
            await self.evaluations.stop(Ending.STOPPED, "the trainer stops")
            await launcher.stop(grace_s=grace_s)
        return outcome

    async def _evaluate_last(self, stop: asyncio.Event) -> None:
        """Evaluate the weights that training ended with, once they are saved."""
        if self.evaluations.participants is not None:
            self.checkpointing.want()
            self._saving.look()
            await self.evaluations.finish(stop)

    async def _train(
        self, stop: asyncio.Event, launcher: Launcher, games: GameWatcher | None
    ) -> Outcome:
        """Run a trainer for each behaviour until all are done or the run is to stop."""
        async with asyncio.TaskGroup() as trainers, asyncio.TaskGroup() as watchers:
            with self._tasks.within(trainers):
                seen, config = self.participants, self._config
                patience = watch_simulators(
                    seen, config, launcher, self.address, games=games, is_held=lambda: seen.is_held
                )
                tasks = [self._look_around(), self._run_end.until_failure(patience)]
                tasks += [*self._together.tasks(), *([games.run()] if games else [])]
                watching = [watchers.create_task(task) for task in tasks]
                await any_of(stop, self._run_end.over)
                self._together.note_end(failure=self._run_end.failure)
            for task in watching:
                task.cancel()
            self._front.pause()
            await self.control.end()
            await self._tasks.drain(timeout_s=self._config.stop_timeout_s)
        self._show()
        return self._run_end.outcome(is_asked=stop.is_set())

    def _open(self, behaviours: Sequence[Behaviour]) -> None:
        """Make trainers for new behaviours, and run them if the run has begun; see `Opener`."""
        self._trainers.make_all([behaviour.spec for behaviour in behaviours])
        for behaviour in behaviours:
            self.reporting.watch(self.trainers[behaviour.name], behaviour.spec)
        self._tasks.add(behaviours)

    def note_completion(self) -> None:
        """End the run if all of its policies are done."""
        self._run_end.note_completion()

    async def _look_around(self) -> None:
        """Show who is connected, and save when it is time, again and again."""
        had_begun = False
        while True:
            await asyncio.sleep(LOOK_AROUND_S)
            if self.participants.has_begun and not had_begun:
                had_begun = True
                self._trainers.warn_of_missing()
                self.reporting.warn_of_awaited()
            self._show()
            self._saving.look()
            if self._trainers.have_idle_guests():
                self.note_completion()

    def _show(self) -> None:
        self.reporting.show(self.address, self._trainers.env_steps_by_name)

    async def _end(self, outcome: Outcome) -> None:
        """Tell the simulators, then save: those that said Goodbye are no longer in the state."""
        told = Ending.STOPPED, "the trainer stops and may come back"
        if outcome == "completed":
            told = Ending.COMPLETED, "training is complete"
        await asyncio.gather(self._front.stop(*told), self.evaluations.stop(*told))
        self._tasks.release()
        await self._saving.save_last(outcome, has_diverged=self._run_end.has_diverged)

    def summary(self, outcome: Outcome) -> RunSummary:
        """Returns what the run has come to, for its report."""
        return self.reporting.summary(
            outcome, self.clock, self._trainers.summaries(), reached=self.goal.words
        )

    def record(self, update: Update) -> None:
        """Report one update, and evaluate and save if it is time."""
        self.reporting.record(update, seconds=self.seconds)
        self.evaluations.look()
        self.goal.look()
        self._saving.note_update()
