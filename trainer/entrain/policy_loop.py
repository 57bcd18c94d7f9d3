"""The loop of one policy: evaluate, collect, learn, act.

`PolicyLoop` is the only such loop: training, evaluation, benchmarks and tests run it. It sees its
collaborators as Protocols: batches of requests come from a server, or from an environment in this
process. Nothing here knows of gRPC, files or networks' insides.
"""

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from entrain.learner import PublishedPolicy
from entrain.requests import Batches, SlotTimesteps, Unanswered
from entrain.rollout.collector import Collector
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.state import Stateful
from entrain.stopwatch import Stopwatch
from entrain_envs.timestep import Int64Array

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)


class ActorPart(Stateful, Protocol):
    """Evaluates batches and samples actions. See `Actor`."""

    @property
    def policy(self) -> PublishedPolicy: ...
    def evaluate(self, batch: SlotTimesteps) -> Evaluation: ...
    def refreshed(self, evaluation: Evaluation) -> Evaluation: ...
    def act(self, evaluation: Evaluation) -> Sampled: ...
    def look_ahead(self) -> None: ...
    def release(self, slot: Int64Array) -> None: ...
    def release_all(self) -> None: ...


class Learns(Protocol[E_contra]):
    """Takes experience before the batch that completed it is answered."""

    async def learn(self, experience: E_contra) -> None: ...
    async def finish(self) -> None:
        """All was collected: learn from what is left before the batch is answered."""
        ...

    def note_completion(self) -> None:
        """All was collected, and the batch is answered."""
        ...


class PolicyLoop(Generic[E]):
    """Serves one policy's agents. Owned by the event loop.

    An answer goes out before its steps are recorded, so that simulators and trainer are busy at
    the same time. Until then the loop holds the one pair of evaluation and actions that is not
    recorded; `record` must be called before anything that depends on it.
    """

    def __init__(
        self,
        actor: ActorPart,
        collector: Collector[E],
        learner: Learns[E],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.collector = collector
        self.stopwatch = Stopwatch(clock)
        self.evaluation: Evaluation | None = None
        """Of the batch that is not answered yet."""
        self._actor = actor
        self._learner = learner
        self._unrecorded: tuple[Evaluation, Sampled] | None = None

    async def run(self, batches: Batches) -> None:
        """Serve until the batches end."""
        actor, learner, lap = self._actor, self._learner, self.stopwatch.lap
        if self.evaluation is not None and batches.unanswered is not None:
            if self.collector.is_complete:
                await learner.finish()
            await self._answer(batches.unanswered, actor.refreshed(self.evaluation))
        elif self.collector.is_complete:
            learner.note_completion()
        self.stopwatch.start()
        async for requests in batches:
            lap("wait")
            if self.collector.is_complete:
                self.collector = self.collector.ended()
            evaluation = self.evaluation = actor.evaluate(requests.timesteps)
            experience = self.collector.receive(evaluation)
            lap("observe")
            if experience is not None:
                await learner.learn(experience)
                evaluation = actor.refreshed(evaluation)
            if self.collector.is_complete:
                await learner.finish()
                evaluation = actor.refreshed(evaluation)
            await self._answer(requests, evaluation)

    async def _answer(self, requests: Unanswered, evaluation: Evaluation) -> None:
        actions = self._actor.act(evaluation)
        self.evaluation, self._unrecorded = None, (evaluation, actions)
        is_complete = self.collector.is_complete
        self.stopwatch.lap("act")
        # Once complete, whether another batch is served must not depend on who is faster.
        await requests.reply(actions, wait=not is_complete)
        self.stopwatch.lap("wait")
        self.record()
        self.stopwatch.lap("record")
        if is_complete:
            self._learner.note_completion()

    def record(self) -> None:
        """Write down what the last batch's actions were given for, if that is not done."""
        if self._unrecorded is not None:
            evaluation, actions = self._unrecorded
            self._unrecorded = None
            self.collector.record(evaluation, actions)
            self._actor.look_ahead()
