"""One training run, from its first listening to its last file.

    listen -> simulators join -> a trainer for each behaviour they bring -> ... -> save and report

A run ends in one of five ways:

    completed   every policy has its total steps: simulators are told to end
    stopped     SIGTERM or Ctrl+C: simulators are told that the trainer may come back
    deserted    nobody is left to learn from: saved like a stopped one, and an error all the same
    diverged    an update came to no finite number: likewise; resumed, the run does it again
    failed      any other error: simulators are told, and the checkpoint before stands

Everything but the algorithm's updates and the writing of checkpoints runs on one event loop.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence

from entrain.algorithms.alarms import Alarms
from entrain.app.build import (
    checked,
    device,
    expected_simulators,
    listened_on,
    make_actor,
    make_algorithm,
    make_server,
    policy_options,
    policy_states,
    require_networks,
    require_priors,
    warn_of_too_few_steps,
    within_memory,
)
from entrain.app.launcher import Launcher
from entrain.app.threads import available_processors, make_learners
from entrain.app.watchdog import any_of, watch_simulators
from entrain.config.run import RunConfig
from entrain.errors import (
    CheckpointError,
    ConfigError,
    NoSimulatorError,
    TrainingDivergedError,
    describe,
    ungrouped,
)
from entrain.policy.actor_critic import ActorCritic
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.display import Display, DisplayRow, SimulatorsRow
from entrain.run.folder import RunFolder
from entrain.run.metrics import MetricsWriter
from entrain.run.summary import Outcome, RunSummary, describe_sessions, software
from entrain.serving.behaviours import Behaviour
from entrain.state import State
from entrain.stopwatch import Shares
from entrain.trainer import Trainer, Update
from entrain_envs.codec import encode_spec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

LOOK_AROUND_S = 0.5
"""How often the display learns who is there, and a due checkpoint is looked for."""


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build what can be built before a simulator says what it is.

        Args:
            config: every option.
            folder: where files go.
            display: what a person sees.
            launcher: given the address, what starts simulators.
            restored: the checkpoint to go on from.
            clock: seconds.

        Raises:
            ConfigError: the address is wrong or too exposed; a prior, network or device is missing.
            CheckpointError: `restored` does not fit the configuration; nothing was changed.
        """
        require_networks(config)
        require_priors(config)
        self._config = config
        self._folder = folder
        self._display = display
        self._make_launcher = launcher
        self._clock = clock
        self._began_s = clock()
        self._trainers: dict[str, Trainer] = {}
        self._policies: dict[str, ActorCritic] = {}
        self._behaviours: dict[str, Behaviour] = {}
        self._store = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep)
        self._metrics = MetricsWriter(folder)
        self._codec = Shares()
        self._learners = make_learners(config.update_threads, processors=available_processors())
        self._serving: list[asyncio.Task[None]] = []
        self._saving: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._is_complete = False
        self._asked_for: list[str] = []
        self._failure: NoSimulatorError | TrainingDivergedError | None = None
        self._server = make_server(config, run_id=folder.name, prepare=self._prepare)
        self._saved_at = 0
        self._earlier_s = 0.0
        self._started_at = time.time()
        if restored is not None:
            with checked(restored.path):
                self._restore(restored)

    @property
    def seconds(self) -> float:
        """Wall-clock time of this run, over all sittings."""
        return self._earlier_s + self._clock() - self._began_s

    @property
    def env_steps(self) -> int:
        """Outcomes received, over all policies."""
        return sum(trainer.progress.env_steps for trainer in self._trainers.values())

    @property
    def policies(self) -> Mapping[str, ActorCritic]:
        """{behaviour: its policy} of those that simulators have brought."""
        return self._policies

    @property
    def trainers(self) -> Mapping[str, Trainer]:
        """{behaviour: its trainer}."""
        return self._trainers

    async def run(self, stop: asyncio.Event) -> Outcome:
        """Train until every policy is done, or `stop` is set; then save what was learned.

        Raises:
            NoSimulatorError, TrainingDivergedError: what was learned before is saved.
            ServeError, ConfigError, CheckpointError: see `errors`.
        """
        with self._metrics, self._learners:
            try:
                with ungrouped():
                    outcome = await self._serve(stop, await self._server.start())
            except BaseException as error:
                await self._server.stop(pb.CLOSE_REASON_STOPPED, f"the trainer failed: {error}")
                raise
        logger.info("%s after %s env steps", outcome, f"{self.env_steps:,}")
        if self._failure is not None and outcome == "failed":
            raise self._failure
        return outcome

    async def _serve(self, stop: asyncio.Event, to_dial: str) -> Outcome:
        """Everything between listening and the last checkpoint."""
        address = listened_on(self._config, to_dial)
        logger.info("listening on %s (Ctrl+C saves and stops)", address)
        launcher = self._make_launcher(to_dial)
        try:
            await launcher.start()
            outcome = await self._train(stop, launcher, address)
            await self._end(outcome)
        finally:
            await launcher.stop()
        return outcome

    async def _train(self, stop: asyncio.Event, launcher: Launcher, address: str) -> Outcome:
        """Run a trainer for each behaviour until all are done or the run is to stop."""
        async with asyncio.TaskGroup() as trainers, asyncio.TaskGroup() as watchers:
            patience = watch_simulators(self._server, self._config, launcher, address)
            watching = [
                watchers.create_task(self._open_trainers(trainers, address)),
                watchers.create_task(self._look_around(address)),
                watchers.create_task(self._until_failure(patience)),
            ]
            await any_of(stop, self._over)
            for task in watching:
                task.cancel()
            self._server.pause()
            await self._drain()
        self._show(address)
        if self._is_complete:
            return "completed"
        return "stopped" if stop.is_set() and not self._has_diverged else "failed"

    @property
    def _has_diverged(self) -> bool:
        return isinstance(self._failure, TrainingDivergedError)

    async def _open_trainers(self, group: asyncio.TaskGroup, address: str) -> None:
        """A trainer for each behaviour as it is first seen."""
        async for behaviour in self._server.opened():
            trainer = self._trainers[behaviour.name]
            logger.info("policy '%s': %s", behaviour.name, behaviour.spec)
            self._behaviours[behaviour.name] = behaviour
            self._show(address)
            running = self._until_failure(trainer.run(behaviour.batcher))
            self._serving.append(group.create_task(running))

    async def _until_failure(self, work: Coroutine[None, None, None]) -> None:
        """Nobody left, or an update that diverged, ends the run; what was learned is not lost."""
        try:
            await work
        except (NoSimulatorError, TrainingDivergedError) as error:
            self._failure = self._failure or error
            self._over.set()

    def _prepare(self, specs: Sequence[BehaviourSpec]) -> None:
        """A trainer for each of these behaviours; ConfigError, and for none, if one cannot be made.

        Before their simulator is welcomed, so that what does not fit costs it and nobody else.
        """
        new = [spec for spec in specs if spec.name not in self._trainers]
        for index, spec in enumerate(new):
            try:
                with within_memory(policy_options(self._config, spec.name)):
                    self._make_trainer(spec)
            except Exception as error:
                # Any: what a network of the user's raises is its own affair.
                for made in new[:index]:
                    del self._trainers[made.name], self._policies[made.name]
                raise ConfigError(f"behaviour '{spec.name}': {describe(error)}") from error

    def _make_trainer(self, spec: BehaviourSpec) -> Trainer:
        config = policy_options(self._config, spec.name)
        warn_of_too_few_steps(config, spec.name)
        seed = self._config.seed + 1_000_003 * len(self._trainers)
        policy = ActorCritic(spec, config, seed=seed).to(device(self._config))
        trainer = Trainer(
            spec.name,
            actor=make_actor(policy, seed=seed),
            algorithm=make_algorithm(policy, seed=seed),
            alarms=Alarms(config, spec.action),
            recorder=self,
            learners=self._learners,
            total_steps=config.total_steps,
        )
        self._policies[spec.name] = policy
        self._trainers[spec.name] = trainer
        return trainer

    def note_completion(self) -> None:
        """A policy has its total steps; the run is complete once every policy has."""
        missing = [name for name in self._config.named_behaviours if name not in self._trainers]
        if not all(trainer.is_complete for trainer in self._trainers.values()):
            return
        if missing and missing != self._asked_for:
            self._asked_for = missing
            logger.warning(
                "every policy that simulators brought is done; '%s' is not there yet: the run "
                "waits for a simulator with that behaviour",
                ", ".join(missing),
            )
        elif not missing:
            self._is_complete = True
            # At once: how often agents act after the end must not depend on who is faster.
            self._server.pause()
            self._over.set()

    async def _look_around(self, address: str) -> None:
        """Show who is there, and save when it is time."""
        while True:
            await asyncio.sleep(LOOK_AROUND_S)
            self._show(address)
            self._save_if_due()

    def _show(self, address: str) -> None:
        row = SimulatorsRow(
            address=address,
            connected=self._server.num_running,
            expected=expected_simulators(self._config),
            agents=self._server.num_agents,
        )
        steps = {name: trainer.progress.env_steps for name, trainer in self._trainers.items()}
        self._display.serving(row, dict.fromkeys(self._config.named_behaviours, 0) | steps)

    def _save_if_due(self) -> None:
        """Begin a checkpoint, if one is due and now is a moment that it can hold."""
        is_due = self.env_steps - self._saved_at >= self._config.checkpoints.every_steps
        is_writing = self._saving is not None and not self._saving.done()
        is_learning = any(trainer.is_learning for trainer in self._trainers.values())
        if is_due and not is_writing and not is_learning:
            self._saved_at = self.env_steps
            self._saving = asyncio.create_task(
                self._save_on_the_way(self.state(), step=self.env_steps)
            )

    async def _save_on_the_way(self, state: State, *, step: int) -> None:
        try:
            await asyncio.to_thread(self._store.save, state, step=step)
        except CheckpointError as error:
            # A full disk now is no reason to throw away what is being learned.
            logger.error("%s; training goes on", error)

    async def _drain(self) -> None:
        """Wait for running updates, but not longer than the configuration allows."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=self._config.stop_timeout_s)
        if not all(task.done() for task in self._serving):
            logger.warning(
                "the update takes longer than stop_timeout_s %g: it is given up, and done "
                "again when the run is resumed",
                self._config.stop_timeout_s,
            )
            for trainer in self._trainers.values():
                trainer.interrupt()

    async def _end(self, outcome: Outcome) -> None:
        """Tell the simulators, then save: those that said Goodbye are no longer in the state."""
        if outcome == "completed":
            await self._server.stop(pb.CLOSE_REASON_COMPLETED, "training is complete")
        else:
            await self._server.stop(pb.CLOSE_REASON_STOPPED, "the trainer stops and may come back")
        for name, behaviour in self._behaviours.items():
            # No batch will tell of those that left last, so the ledger would not balance.
            self._trainers[name].release(behaviour.slots.take_released)
        if self._saving is not None:
            # Two at once would want the same name.
            await self._saving
        # What diverges at once when it is resumed must not push older checkpoints out.
        is_new = self.env_steps > self._saved_at or not self._has_diverged
        if outcome != "failed" or (self._trainers and is_new):
            path = await asyncio.to_thread(self._store.save, self.state(), step=self.env_steps)
            logger.info("saved %s", path)

    def summary(self, outcome: Outcome) -> RunSummary:
        """What the run has come to."""
        return RunSummary(
            name=self._folder.name,
            outcome=outcome,
            started_at=self._started_at,
            ended_at=time.time(),
            seconds=self.seconds,
            simulators=(describe_sessions(self._server.counters),),
            software=software(),
            policies={name: trainer.summary() for name, trainer in self._trainers.items()},
            counters=dict(self._server.counters),
        )

    def record(self, update: Update) -> None:
        """Keep and show what one update came to."""
        codec = self._codec.since_last(self._server.seconds, now_s=self.seconds)
        metrics = {**update.metrics, **codec, "time/seconds": self.seconds}
        progress = update.progress
        self._metrics.write(update.behaviour, progress.env_steps, metrics)
        row = DisplayRow.from_metrics(
            metrics,
            update=progress.updates,
            env_steps=progress.env_steps,
            total_steps=update.total_steps,
        )
        self._display.update(update.behaviour, row)
        for warning in update.warnings:
            logger.warning("policy '%s', %s", update.behaviour, warning)
        # Where updates take nearly all of the time, no other moment may be found.
        self._save_if_due()

    def state(self) -> State:
        """Everything that decides how the run goes on."""
        return {
            "started_at": self._started_at,
            "seconds": self.seconds,
            "server": self._server.state(),
            "policies": {
                str(index): {
                    "spec": encode_spec(self._policies[name].spec).SerializeToString(
                        deterministic=True
                    ),
                    "trainer": trainer.state(),
                }
                for index, (name, trainer) in enumerate(self._trainers.items())
            },
        }

    def _restore(self, restored: Loaded) -> None:
        env_steps = {}
        for spec, state in policy_states(restored.state):
            self._make_trainer(spec).load_state(state)
            env_steps[spec.name] = state["progress"]["env_steps"]
        self._server.load_state(restored.state["server"])
        self._saved_at = restored.step
        self._earlier_s = float(restored.state["seconds"])
        self._started_at = float(restored.state["started_at"])
        # Last, for it changes a file: nothing may turn out not to fit any more.
        self._metrics.resume_at(env_steps)
