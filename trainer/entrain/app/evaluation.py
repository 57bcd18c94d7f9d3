"""Lets trained policies act in simulators, and counts returns and lengths of their episodes.

Nothing is collected or learned. It ends when every agent has played its share of the episodes, or
at a limit, or when asked to; what was earned until then can be read in any case.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Never

from entrain.app.build import make_actor
from entrain.app.episode_quota import EpisodeQuota
from entrain.app.evaluation_options import ENDLESS, EvaluationOptions
from entrain.app.evaluation_results import (
    EvaluationResult,
    PolicyResult,
    Reason,
    unfinished_text,
)
from entrain.app.game_watch import GameWatcher
from entrain.app.launcher import Launcher
from entrain.app.watchdog import any_of, watch_simulators
from entrain.config.run import RunConfig
from entrain.errors import ungrouped
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy_loop import PolicyLoop
from entrain.run.quantities import counted, duration
from entrain.serving.behaviours import Behaviour
from entrain.serving.front import Ending, Front
from entrain.serving.participants import Participants

logger = logging.getLogger(__name__)

STALLED_S = 3600.0
"""Without a limit on time, how long an evaluation goes on in which no episode ends."""

TELL_S = 5.0
"""Time between two lines that say how the evaluation goes, in the first minutes."""

TELL_LATER_S = 30.0
"""The same after ten minutes."""

LOOK_S = 0.25
"""Time between two looks at clock and limits."""


class EvaluationRun:
    """Serves trained policies until each has its episodes. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        policies: Mapping[str, ActorNetwork],
        participants: Participants,
        front: Front,
        options: EvaluationOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._policies = policies
        self._participants = participants
        self._front = front
        self._options = options
        self._clock = clock
        self._quotas = {
            name: EpisodeQuota(
                options.episodes,
                max_steps=options.steps_allowed,
                simulators_of=partial(participants.simulators_of, name),
            )
            for name in policies
        }
        self._counted = {
            name: quota for name, quota in self._quotas.items() if options.behaviour in {None, name}
        }
        """The quotas of the policies whose episodes are waited for."""
        self._is_over = asyncio.Event()
        self._reason: Reason = "failed"
        self._began_s = clock()
        self._ended_s: float | None = None
        self._statistics: dict[str, Mapping[str, float]] = {}
        """{behaviour: what its simulators reported}, once it is over."""

    @property
    def result(self) -> EvaluationResult:
        """The results so far; statistics only once the evaluation is over."""
        now_s = self._clock() if self._ended_s is None else self._ended_s
        return EvaluationResult(
            reason=self._reason,
            seconds=now_s - self._began_s,
            policies={
                name: PolicyResult(
                    ended=quota.scores,
                    unfinished=quota.unfinished,
                    env_steps=quota.env_steps,
                    statistics=self._statistics.get(name, {}),
                )
                for name, quota in self._counted.items()
            },
        )

    async def run(
        self,
        stop: asyncio.Event,
        launcher: Launcher,
        address: str,
        games: GameWatcher | None = None,
    ) -> None:
        """Serve until every policy has its episodes, a limit is met or `stop` is set.

        Args:
            stop: ends it early.
            launcher: of simulators.
            address: that is listened on, for messages.
            games: watches games, if some take part.

        Raises:
            NoSimulatorError: none came, or all left; `result` has what was earned before.
        """
        self._began_s = self._clock()
        try:
            with ungrouped():
                await self._serve_until(stop, launcher, address, games)
        finally:
            self._ended_s = self._clock()
            for name in self._counted:
                reported = self._participants.statistics.take(name)
                self._statistics[name] = {key: each.value for key, each in reported.items()}
            await launcher.start_no_more()
            await self._front.stop(Ending.COMPLETED, "the evaluation is over")

    async def _serve_until(
        self, stop: asyncio.Event, launcher: Launcher, address: str, games: GameWatcher | None
    ) -> None:
        async with asyncio.TaskGroup() as group:
            for behaviour in self._participants.behaviours:
                group.create_task(self._serve(behaviour))
            watching = [
                watch_simulators(self._participants, self._config, launcher, address, games=games),
                self._watch(address),
                *([games.run()] if games else []),
            ]
            watchers = [group.create_task(each) for each in watching]
            try:
                await any_of(stop, self._is_over)
                if stop.is_set() and not self._is_over.is_set():
                    self._reason = "stopped"
            finally:
                for task in watchers:
                    task.cancel()
                self._front.pause()

    async def _serve(self, behaviour: Behaviour) -> None:
        actor = make_actor(
            self._policies[behaviour.name],
            seed=self._config.seed,
            deterministic=self._options.deterministic,
        )
        loop = PolicyLoop(actor, self._quotas[behaviour.name], self)
        await loop.run(behaviour.batcher)

    async def learn(self, experience: Never) -> None:
        """Does nothing, and is never called: the collectors return no experience."""

    async def finish(self) -> None:
        """Does nothing: there is nothing to learn from."""

    def note_completion(self) -> None:
        """End the evaluation once every policy has its episodes, or as many steps as it may."""
        if all(quota.is_complete for quota in self._counted.values()):
            is_cut = any(quota.is_at_limit for quota in self._counted.values())
            self._end("max_steps" if is_cut else "complete")

    def _end(self, reason: Reason) -> None:
        if not self._is_over.is_set():
            self._reason = reason
            self._is_over.set()

    async def _watch(self, address: str) -> None:
        """Say now and then how the evaluation goes, and end it when its time is over."""
        progress = EvaluationProgress(self._counted, now_s=self._began_s)
        told_s = self._began_s
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = self._clock()
            progress.look(now_s=now_s)
            limit_s = self._options.max_seconds
            if limit_s is not None and now_s - self._began_s >= limit_s:
                self._end("max_seconds")
            elif limit_s is None and self.has_begun and progress.idle_s(now_s) >= STALLED_S:
                self._end("stalled")
            is_early = now_s - self._began_s < 600.0
            if now_s - told_s >= (TELL_S if is_early else TELL_LATER_S):
                told_s = now_s
                for line in self._lines(progress, address, now_s):
                    logger.info("%s: %s", duration(now_s - self._began_s), line)

    @property
    def has_begun(self) -> bool:
        """Whether any step was received."""
        return any(quota.env_steps for quota in self._quotas.values())

    def _lines(self, progress: "EvaluationProgress", address: str, now_s: float) -> list[str]:
        if self._participants.has_begun and self._participants.num_running:
            return progress.lines(now_s)
        expected, here = self._config.expected_simulators, self._participants.num_running
        wait_s = self._config.simulators.wait_s
        return [
            f"waiting for simulators on {address}, {here} of {expected} are here "
            f"(simulators.wait_s {wait_s:g})"
        ]


class EvaluationProgress:
    """Says how far an evaluation is, and what it waits for. Owned by the event loop."""

    def __init__(self, quotas: Mapping[str, EpisodeQuota], *, now_s: float) -> None:
        self._quotas = quotas
        self._ended = dict.fromkeys(quotas, 0)
        self._ended_s = dict.fromkeys(quotas, now_s)
        self._told = dict.fromkeys(quotas, 0)
        self._told_s = now_s

    def look(self, *, now_s: float) -> None:
        """Note whether an episode ended since the last look."""
        for name, quota in self._quotas.items():
            if quota.num_ended > self._ended[name]:
                self._ended[name] = quota.num_ended
                self._ended_s[name] = now_s

    def idle_s(self, now_s: float) -> float:
        """Returns for how long no episode has ended."""
        return now_s - max(self._ended_s.values())

    def lines(self, now_s: float) -> list[str]:
        """Returns a line for each policy whose episodes have not all ended, or all of them."""
        elapsed_s, self._told_s = now_s - self._told_s, now_s
        lines = []
        for name, quota in self._quotas.items():
            steps, self._told[name] = quota.env_steps - self._told[name], quota.env_steps
            if quota.is_complete:
                continue
            rate = steps / elapsed_s if elapsed_s > 0 else 0.0
            lines.append(self._line(name, quota, rate=rate, now_s=now_s))
        return lines

    def _line(self, name: str, quota: EpisodeQuota, *, rate: float, now_s: float) -> str:
        total = quota.num_ended + quota.num_owed
        ended = f"{quota.num_ended:,} of {counted(total, 'episode')} ended"
        if total >= ENDLESS:
            ended = f"{counted(quota.num_ended, 'episode')} ended"
        facts = [
            ended,
            f"{counted(quota.env_steps, 'step')}, {rate:,.0f} steps/s",
        ]
        if not quota.env_steps:
            facts.append("none of its agents has acted: no simulator that is connected has any")
        elif rate == 0:
            facts.append("simulators have sent no step since the line before")
        running = quota.unfinished
        if len(running):
            facts.append(unfinished_text(running))
        idle_s = now_s - self._ended_s[name]
        since = f"none has ended for {duration(idle_s)}" if idle_s >= TELL_S else ""
        return f"{name}: " + "; ".join([*facts, *([since] if since else [])])
