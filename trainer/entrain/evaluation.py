"""A trained policy acts over the same wire, and its returns and lengths are counted.

Nothing is collected or learned. Each agent counts for the same number of episodes, for if the
first N episodes to end were taken, short ones would be over-represented.
"""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entrain.config import RunConfig
from entrain.errors import ungrouped
from entrain.launcher import Launcher
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.server.behaviours import Behaviour
from entrain.server.server import Server
from entrain.waiting import watch_simulators
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """Episodes of one policy."""

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


class FairCount:
    """Takes the same number of episodes from every agent, until there are enough.

    The agents that count are those of the first batch; agents that appear later are served too.
    """

    def __init__(self, episodes: int) -> None:
        self._episodes = episodes
        self._quota = 0
        self._counted = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.bool_)
        self._return = np.zeros(0, np.float64)
        self._length = np.zeros(0, np.int64)
        self._ended: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]] = []

    def take_in(self, batch: SlotTimesteps) -> None:
        """Add up rewards; note the episodes that end."""
        self._grow(batch)
        timesteps = batch.timesteps
        outcome = timesteps.step_type > StepType.FIRST
        slot = batch.slot[outcome]
        self._return[slot] += timesteps.reward[outcome]
        self._length[slot] += 1
        ended = batch.slot[timesteps.step_type > StepType.MID]
        due = ended[self._counts[ended] & (self._counted[ended] < self._quota)]
        self._ended.append((self._return[due], self._length[due]))
        self._counted[due] += 1
        self._return[ended] = 0.0
        self._length[ended] = 0

    def _grow(self, batch: SlotTimesteps) -> None:
        more = batch.num_slots - len(self._counted)
        if not self._quota and len(batch.slot):
            self._quota = math.ceil(self._episodes / batch.num_slots)
            self._counts = np.ones(batch.num_slots, np.bool_)
        if more > 0:
            self._counted = np.pad(self._counted, (0, more))
            self._return = np.pad(self._return, (0, more))
            self._length = np.pad(self._length, (0, more))
            self._counts = np.pad(self._counts, (0, len(self._counted) - len(self._counts)))

    @property
    def is_complete(self) -> bool:
        """Whether every agent that counts has its share, or there are enough all the same."""
        return bool(self._quota) and bool((self._counted[self._counts] >= self._quota).all())

    @property
    def scores(self) -> Scores:
        """Of the episodes that count, in the order in which they ended."""
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
        server: Server,
        *,
        episodes: int,
        deterministic: bool,
    ) -> None:
        self._config = config
        self._policies = policies
        self._server = server
        self._counts = {name: FairCount(episodes) for name in policies}
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
            await self._server.stop(pb.CLOSE_REASON_COMPLETED, "the evaluation is over")

    async def _serve_until(self, stop: asyncio.Event, launcher: Launcher, address: str) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._open(group)),
                group.create_task(watch_simulators(self._server, self._config, launcher, address)),
            ]
            waits = [asyncio.create_task(e.wait()) for e in (stop, self._completed)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in [*waits, *tasks]:
                    task.cancel()
                self._server.pause()

    async def _open(self, group: asyncio.TaskGroup) -> None:
        async for behaviour in self._server.opened():
            group.create_task(self._serve(behaviour))

    async def _serve(self, behaviour: Behaviour) -> None:
        policy = self._policies[behaviour.name]
        count = self._counts[behaviour.name]
        actor = Actor(
            policy,
            rollout_steps=1,
            seed=self._config.seed,
            discount=1.0,
            normalize_rewards=False,
            reward_clip=1.0,
            collect=False,
            deterministic=self._deterministic,
        )
        async for requests in behaviour.batcher:
            count.take_in(requests.timesteps)
            actor.observe(requests.timesteps)
            requests.reply(actor.act())
            if all(each.is_complete for each in self._counts.values()):
                self._completed.set()
