"""Evaluates the newest weights of a run while it trains: when, what becomes of it, and the best.

    look: is one due? -> a round -> report, best checkpoint, is the goal reached? -> look ...

Training never waits for it. A run that is complete waits for one last evaluation.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from entrain.app.best_checkpoint import BestCheckpoint, Evaluated
from entrain.app.evaluation_report import EvaluationReport
from entrain.app.evaluation_rounds import EvaluationRounds, Round
from entrain.app.evaluation_side import EvaluationSide
from entrain.app.launcher import Launcher
from entrain.app.trainers import Trainers
from entrain.config.environment_parameters import Value, as_plain
from entrain.serving.front import Ending
from entrain.serving.participants import Participants
from entrain.state import State

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.25
"""Time between two looks at whether the last evaluation is over."""

JOIN_S: Final = 30.0
"""How long a run that is complete waits for launched simulators that have not joined yet."""


class NoEvaluations:
    """Of a run that makes none."""

    participants: Participants | None = None
    """The simulators of evaluations."""

    def look(self) -> None:
        """Begin one if it is due; to be called after each update, and now and then."""

    async def start(self, launcher: Launcher) -> None:
        """Listen, and let `launcher` start simulators of evaluations, too."""

    async def finish(self, stop: asyncio.Event) -> None:
        """Training is complete: make the last one, unless `stop` is set."""

    async def stop(self, ending: Ending, message: str) -> None:
        """Give up the one that goes on, and tell its simulators that the run ends."""

    @property
    def number(self) -> int:
        """How many are over."""
        return 0

    def state(self) -> State:
        """When the next is due, and how the newest went."""
        return {}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""


class Evaluations(NoEvaluations):
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        side: EvaluationSide,
        best: BestCheckpoint,
        *,
        training: Participants,
        trainers: Trainers,
        report: Callable[[EvaluationReport], None],
        note_returns: Callable[[Mapping[str, float]], None],
        others: Callable[[], State],
        seconds: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Have made none.

        Args:
            side: its simulators.
            best: keeps the best weights.
            training: who takes part in training; its environment parameters are taken over.
            trainers: of the run.
            report: tells people of one policy's evaluation.
            note_returns: given {policy: mean return} of each evaluation whose environment
                parameters are still those of training.
            others: further parts of the run's state that acting by its weights needs, at the
                beginning of an evaluation.
            seconds: of the run.
            clock: seconds.
        """
        self._side, self._options, self._best = side, side.options, best
        self.participants = side.participants
        self._training, self._trainers = training, trainers
        self._report, self._note_returns = report, note_returns
        self._others, self._seconds, self._clock = others, seconds, clock
        self._rounds = EvaluationRounds(
            side.participants, trainers.acting, side.options, seed=side.seed, clock=clock
        )
        self._number = 0
        self._begun_at: Mapping[str, int] = {}
        self._begun_with: State = {}
        """Further parts of the run's state when it began: its lessons among them."""
        self._evaluated_at = 0
        """Env steps, over all policies, when the newest that is over began."""
        self._evaluated: Mapping[str, int] = {}
        """{policy: updates that its weights had seen} of the newest that is over."""
        self._evaluating: asyncio.Task[None] | None = None
        self._has_stopped = self._has_warned = self._are_missed = False

    def __repr__(self) -> str:
        return f"<Evaluations: {self._number}, the newest at {self._evaluated_at:,} env steps>"

    @property
    def number(self) -> int:
        """See `NoEvaluations`."""
        return self._number

    @property
    def _goes_on(self) -> bool:
        return self._evaluating is not None and not self._evaluating.done()

    @property
    def _specification(self) -> Mapping[str, Value]:
        """{environment parameter: its number or sampler} in training now."""
        return self._training.parameters.specification

    def look(self) -> None:
        """See `NoEvaluations`."""
        every = self._options.every_steps
        if self._trainers.env_steps // every > self._evaluated_at // every:
            self._begin()
            self._warn_of_nobody()

    def _warn_of_nobody(self) -> None:
        """Say once that an evaluation is due, and that somebody must start its simulators."""
        participants = self._side.participants
        are_missed = participants.has_begun and not participants.num_running
        if are_missed and not self._are_missed:
            logger.warning(
                "an evaluation is due, and all simulators of evaluations have left; it is made as "
                "soon as one joins"
            )
        self._are_missed = are_missed
        if self._has_warned or self._side.are_launched or self._side.participants.has_begun:
            return
        self._has_warned = True
        logger.warning(
            "an evaluation is due, and no simulator has joined for evaluations; this run launches "
            "none (evaluation.launch, simulators.launch): start one at the run's address with "
            "--role evaluation, as in: entrain-env gymnasium ENV_ID --role evaluation --connect "
            "ADDRESS"
        )

    def _begin(self) -> None:
        """Begin a round, if none goes on and there is somebody to play it."""
        there = self._side.participants
        if self._goes_on or self._has_stopped or not (there.has_begun and there.num_running):
            return
        parameters = self._side.participants.parameters
        if parameters.specification != self._specification:
            parameters.update(self._specification)
        if self._rounds.begin():
            self._begun_at = self._trainers.env_steps_by_name
            self._begun_with = self._others()
            self._evaluating = asyncio.create_task(self._evaluate())
            self._evaluating.add_done_callback(_log_failure)

    async def _evaluate(self) -> None:
        """See a round to its end, and deal with what came of it."""
        it = await self._rounds.over()
        self._number += 1
        self._evaluated_at = sum(self._begun_at.values())
        self._evaluated = {name: each.version for name, each in it.policies.items()}
        for behaviour, each in it.policies.items():
            if len(each.scores):
                self._report(self._report_of(behaviour, it))
        self._warn_of_cut(it)
        # A mean over those that ended first would be one over the shortest.
        returns = {
            name: float(each.scores.returns.mean())
            for name, each in it.policies.items()
            if len(each.scores) and each.is_whole
        }
        if returns.keys() == it.policies.keys():
            await self._offer(it, returns)
        if self._side.participants.parameters.specification == self._specification:
            self._note_returns(returns)

    def _report_of(self, behaviour: str, it: Round) -> EvaluationReport:
        return EvaluationReport.of(
            behaviour,
            it.policies[behaviour],
            number=self._number,
            env_steps=self._begun_at[behaviour],
            seconds=it.seconds,
            run_seconds=self._seconds(),
        )

    def _warn_of_cut(self, it: Round) -> None:
        if it.is_cut:
            ended = sum(len(each.scores) for each in it.policies.values())
            logger.warning(
                "evaluation %d was ended after %g s (evaluation.max_seconds) with %d episodes "
                "ended, so it counts neither for the best checkpoint nor for stop_at; if episodes "
                "are long, raise it or launch more simulators for evaluations",
                self._number,
                self._options.max_seconds,
                ended,
            )

    async def _offer(self, it: Round, returns: Mapping[str, float]) -> None:
        """Keep the weights if they are the best."""
        evaluated = Evaluated(
            number=self._number,
            env_steps=self._evaluated_at,
            returns=returns,
            versions={name: each.version for name, each in it.policies.items()},
            parameters=as_plain(self._side.participants.parameters.specification),
        )
        path = await self._best.offer(evaluated, self._acting_state(), self._begun_with)
        if path is not None:
            logger.info("the best weights so far: %s", path)

    def _acting_state(self) -> State:
        """The weights of the round, in the form of the policies in a checkpoint of the run."""
        policies = self._trainers.policies
        return {
            str(index): {
                "spec": policies[name].spec.state(),
                "trainer": {"algorithm": {"policy": weights.named(policies[name])}},
            }
            for index, (name, weights) in enumerate(self._rounds.weights.items())
        }

    async def start(self, launcher: Launcher) -> None:
        """See `NoEvaluations`."""
        await self._side.start(launcher)

    async def finish(self, stop: asyncio.Event) -> None:
        """See `NoEvaluations`."""
        await self._until(lambda: not self._goes_on, stop)
        # By versions: with `policy_lag` the last two updates are of the same env steps.
        if self._number and self._evaluated == self._rounds.versions:
            return
        if self._side.are_launched:
            await self._until(lambda: self._side.participants.has_begun, stop, within_s=JOIN_S)
        if not stop.is_set():
            self._begin()
        await self._until(lambda: not self._goes_on, stop)
        if not self._number and not stop.is_set():
            logger.warning("the run ends without a single evaluation: %s", self._why_none())

    def _why_none(self) -> str:
        if self._side.participants.has_begun:
            return "no episode of its simulators was counted to its end"
        if self._side.are_launched:
            return "its simulators did not join; see simulators/evaluation-simulator-0.log"
        return "no simulator joined for evaluations (--role evaluation)"

    async def _until(
        self, is_over: Callable[[], bool], stop: asyncio.Event, *, within_s: float | None = None
    ) -> None:
        """Wait until it is over: as long as a simulator is connected, or for so many seconds."""
        began_s = self._clock()
        while not is_over() and not stop.is_set():
            if within_s is None and not self._side.participants.num_running:
                return
            if within_s is not None and self._clock() - began_s >= within_s:
                return
            await asyncio.sleep(LOOK_S)

    async def stop(self, ending: Ending, message: str) -> None:
        """See `NoEvaluations`; once is enough."""
        if self._has_stopped:
            return
        self._has_stopped = True
        evaluating = self._evaluating
        if evaluating is not None:
            if self._rounds.goes_on:
                evaluating.cancel()
            await asyncio.wait({evaluating})
        await self._rounds.stop()
        await self._side.stop(ending, message)

    def state(self) -> State:
        """See `NoEvaluations`."""
        return {
            "number": self._number,
            "evaluated_at": self._evaluated_at,
            "evaluated": dict(self._evaluated),
        }

    def load_state(self, state: State) -> None:
        """See `NoEvaluations`."""
        self._number, self._evaluated_at = state["number"], state["evaluated_at"]
        # Checkpoints from before this was kept: the last evaluation is made, at worst again.
        self._evaluated = state.get("evaluated", {})


def _log_failure(evaluating: asyncio.Task[None]) -> None:
    """Training goes on without what an evaluation was to come to."""
    if not evaluating.cancelled() and (error := evaluating.exception()) is not None:
        logger.error("an evaluation failed: %r", error, exc_info=error)
