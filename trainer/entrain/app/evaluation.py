"""Lets trained policies act in simulators, and counts returns and lengths of their episodes.

Nothing is collected or learned. Every agent plays the same number of episodes: the first N episodes
to end would contain too many short ones.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never

import numpy as np
import numpy.typing as npt

from entrain.app.build import make_actor
from entrain.app.launcher import Launcher
from entrain.app.watchdog import watch_simulators
from entrain.config.run import RunConfig
from entrain.errors import ungrouped
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.rollout.slot_arrays import grow
from entrain.serving.behaviours import Behaviour
from entrain.serving.front import Ending, Front
from entrain.serving.participants import Participants
from entrain.trainer import PolicyLoop
from entrain_envs.timestep import Int64Array, StepType

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Returns and lengths of one policy's episodes."""

    returns: npt.NDArray[np.float64]
    """[N] undiscounted sums of rewards."""

    lengths: npt.NDArray[np.int64]
    """[N] steps."""

    def __str__(self) -> str:
        return (
            f"return {self.returns.mean():.2f} +- {self.returns.std():.2f} "
            f"(least {self.returns.min():.2f}, most {self.returns.max():.2f}), "
            f"length {self.lengths.mean():.1f}, over {len(self.returns)} episodes"
        )


class EpisodeQuota:
    """The collector of an evaluation: counts the same number of episodes for every agent.

    Each agent of the first batch owes a share of the episodes; agents that come later owe none.
    If an agent leaves, what it still owes goes to the first agent without a share that begins an
    episode, which is often the same agent after a reconnect. If there is none for as many batches
    as the longest episode had steps, the agents that are present share it equally.

    An episode counts only if it was owed when it began. Episodes that are running at a given moment
    are longer than the average, so counting those would be biased.
    """

    def __init__(self, episodes: int) -> None:
        self._episodes = episodes
        self._has_begun = False
        self._has_share = np.zeros(0, np.bool_)
        self._owed = np.zeros(0, np.int64)
        self._left_over = np.zeros(0, np.int64)
        self._idle_batches = 0
        self._counts = np.zeros(0, np.bool_)
        self._return = np.zeros(0, np.float64)
        self._length = np.zeros(0, np.int64)
        self._longest = 0
        self._ended: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = []

    def receive(self, evaluation: Evaluation) -> None:
        """See `Collector.receive`."""
        self.take_in(evaluation.batch)

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Does nothing: `receive` has counted everything."""

    def ended(self) -> "EpisodeQuota":
        """Returns itself: after the last episode, agents are served but not counted."""
        return self

    def take_in(self, batch: SlotTimesteps) -> None:
        """Add up rewards, and count the episodes that end."""
        self._grow(batch.num_slots)
        self.release(batch.released)
        if not self._has_begun and len(batch.slot):
            self._give_shares(np.unique(batch.slot))
        timesteps = batch.timesteps
        outcome = timesteps.step_type > StepType.FIRST
        slot = batch.slot[outcome]
        self._return[slot] += timesteps.reward[outcome]
        self._length[slot] += 1
        self._end(batch.slot[timesteps.step_type > StepType.MID])
        beginning = batch.slot[~outcome]
        self._reassign(beginning[~self._has_share[beginning]])
        self._share_out()
        self._begin(beginning)

    def _grow(self, num_slots: int) -> None:
        self._has_share = grow(self._has_share, num_slots)
        self._owed = grow(self._owed, num_slots)
        self._counts = grow(self._counts, num_slots)
        self._return = grow(self._return, num_slots)
        self._length = grow(self._length, num_slots)

    def release(self, slot: Int64Array) -> None:
        """Drop the running episodes of agents that left, and keep what they owed for others."""
        owed = self._owed[slot]
        self._left_over = np.concatenate([self._left_over, owed[owed > 0]])
        self._owed[slot] = 0
        self._has_share[slot] = False
        self._counts[slot] = False

    def _give_shares(self, slot: Int64Array) -> None:
        self._has_begun = True
        self._has_share[slot] = True
        self._owed[slot] = math.ceil(self._episodes / len(slot))

    def _end(self, slot: Int64Array) -> None:
        due = slot[self._counts[slot]]
        self._ended.append((self._return[due], self._length[due]))
        self._longest = int(self._length[due].max(initial=self._longest))
        self._owed[due] -= 1

    def _reassign(self, newcomers: Int64Array) -> None:
        """Give each newcomer what one of the agents that left still owed."""
        successors = newcomers[: len(self._left_over)]
        self._has_share[successors] = True
        self._owed[successors] = self._left_over[: len(successors)]
        self._left_over = self._left_over[len(successors) :]

    def _share_out(self) -> None:
        """Share what no newcomer took over, if all other episodes are done and none has come."""
        is_idle = len(self._left_over) > 0 and self._has_share.any() and not self._owed.any()
        self._idle_batches = self._idle_batches + 1 if is_idle else 0
        if self._idle_batches > self._longest:
            share = self._left_over.sum() / self._has_share.sum()
            self._owed[self._has_share] = math.ceil(share)
            self._left_over = self._left_over[:0]

    def _begin(self, slot: Int64Array) -> None:
        self._counts[slot] = self._owed[slot] > 0
        self._return[slot] = 0.0
        self._length[slot] = 0

    @property
    def is_complete(self) -> bool:
        """Whether no episode is owed any more, by agents that are present or that left."""
        return self._has_begun and not len(self._left_over) and not self._owed.any()

    @property
    def scores(self) -> Scores:
        """Those of the episodes that count, in the order in which they ended."""
        return Scores(
            np.concatenate([np.zeros(0), *(returns for returns, _ in self._ended)]),
            np.concatenate([np.zeros(0, np.int64), *(lengths for _, lengths in self._ended)]),
        )


class EvaluationRun:
    """Serves trained policies until each has its episodes. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        policies: Mapping[str, ActorCritic],
        participants: Participants,
        front: Front,
        *,
        episodes: int,
        deterministic: bool,
    ) -> None:
        self._config = config
        self._policies = policies
        self._participants = participants
        self._front = front
        self._counts = {name: EpisodeQuota(episodes) for name in policies}
        self._deterministic = deterministic
        self._completed = asyncio.Event()

    @property
    def scores(self) -> Mapping[str, Scores]:
        """{behaviour: its episodes}."""
        return {name: count.scores for name, count in self._counts.items()}

    async def run(self, stop: asyncio.Event, launcher: Launcher, address: str) -> None:
        """Serve until every policy has its episodes or `stop` is set."""
        try:
            with ungrouped():
                await self._serve_until(stop, launcher, address)
        finally:
            await self._front.stop(Ending.COMPLETED, "the evaluation is over")

    async def _serve_until(self, stop: asyncio.Event, launcher: Launcher, address: str) -> None:
        async with asyncio.TaskGroup() as group:
            for behaviour in self._participants.behaviours:
                group.create_task(self._serve(behaviour))
            watching = watch_simulators(self._participants, self._config, launcher, address)
            watcher = group.create_task(watching)
            waits = [asyncio.create_task(e.wait()) for e in (stop, self._completed)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in [*waits, watcher]:
                    task.cancel()
                self._front.pause()

    async def _serve(self, behaviour: Behaviour) -> None:
        actor = make_actor(
            self._policies[behaviour.name],
            seed=self._config.seed,
            deterministic=self._deterministic,
        )
        loop = PolicyLoop(actor, self._counts[behaviour.name], self)
        await loop.run(behaviour.batcher)

    async def learn(self, experience: Never) -> None:
        """Does nothing, and is never called: the collectors return no experience."""

    async def finish(self) -> None:
        """Does nothing: there is nothing to learn from."""

    def note_completion(self) -> None:
        """End the evaluation once every policy has its episodes."""
        if all(each.is_complete for each in self._counts.values()):
            self._completed.set()
