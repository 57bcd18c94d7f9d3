"""Lets policies act in rounds of episodes, each with the weights that act in training at its start.

    begin -> every agent plays its share of episodes -> over -> ... -> begin with newer weights

One loop serves each behaviour. Between two rounds it leaves a batch unanswered, so that simulators
wait, and the episodes that begin with this batch are played with the weights of the next round.
Nothing here knows when a round is due, or what becomes of its result.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Never

from entrain.app.episode_quota import EpisodeQuota, Scores
from entrain.app.told_simulators import AllKnow, ToldSimulators
from entrain.config.evaluation import EvaluationConfig
from entrain.inference.policy import InferencePolicy
from entrain.policy.weights import PolicyWeights
from entrain.policy_loop import PolicyLoop
from entrain.quoting import shortened
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.serving.behaviours import Behaviour
from entrain.serving.participants import Participants
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PolicyRound:
    """One policy's part of a round that is over."""

    version: int
    """Updates that its weights have seen."""

    scores: Scores
    """Of the episodes that count and have ended."""

    is_whole: bool
    """Whether all episodes have ended. If not, those that have are shorter than the rest."""

    statistics: Mapping[str, float]
    """{name: aggregated value} that its simulators reported."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """A round that is over."""

    seconds: float
    is_cut: bool
    """Whether its time was over before all episodes had ended."""

    policies: Mapping[str, PolicyRound]


class RoundCollector:
    """Counts the episodes of one behaviour in each round, and nothing between. See `Collector`."""

    def __init__(self, is_resting: Callable[[], bool], note: Callable[[], None]) -> None:
        """Count nothing yet.

        Args:
            is_resting: whether no round goes on.
            note: called when episodes may have ended.
        """
        self._is_resting = is_resting
        self._note = note
        self.quota = EpisodeQuota(0)
        self._unanswered: SlotTimesteps | None = None
        """The batch that waits for the next round."""

    def begin(self, quota: EpisodeQuota, behaviour: Behaviour) -> None:
        """Count by `quota` from now on."""
        self.quota = quota
        quota.begin_with(behaviour.slots.taken, self._unanswered)
        self._unanswered = None

    def receive(self, evaluation: Evaluation) -> None:
        """See `Collector`."""
        if not self._is_resting():
            self.quota.take_in(evaluation.batch)
            self._note()
        if self._is_resting():
            self._unanswered = evaluation.batch

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Does nothing: `receive` has counted everything."""

    def release(self, slot: Int64Array) -> None:
        """Does nothing: the next batch says who left."""

    def ended(self) -> "RoundCollector":
        """Returns itself: another round will come."""
        return self

    @property
    def is_complete(self) -> bool:
        """Whether the round is over, and the next has not begun."""
        return self._is_resting()


@dataclass(frozen=True)
class _Served:
    """One behaviour that takes part in rounds."""

    behaviour: Behaviour
    policy: InferencePolicy
    collector: RoundCollector
    loop: asyncio.Task[None]


class EvaluationRounds:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        acting: Mapping[str, InferencePolicy],
        options: EvaluationConfig,
        *,
        seed: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin none yet.

        Args:
            participants: the simulators of evaluations.
            acting: {behaviour: the weights that act in training}; there may be more later.
            options: of evaluations.
            seed: of actions, if they are sampled.
            clock: seconds.
        """
        self._participants = participants
        self._acting = acting
        self._options = options
        self._seed = seed
        self._clock = clock
        self._served: dict[str, _Served] = {}
        self._refused: set[str] = set()
        self._failed: set[str] = set()
        """Behaviours whose loop has ended by an error; their simulators get no answer any more."""
        self._parameters: dict[str, int] = {}
        """{behaviour: version of the environment parameters of its newest round}."""
        self._goes_on = asyncio.Event()
        self._is_over = asyncio.Event()
        self._began_s = 0.0

    def __repr__(self) -> str:
        return f"<EvaluationRounds of {', '.join(self._served) or 'no behaviour'}>"

    @property
    def goes_on(self) -> bool:
        """Whether a round has begun and is not over."""
        return self._goes_on.is_set()

    @property
    def weights(self) -> Mapping[str, PolicyWeights]:
        """{behaviour: the weights of the newest round}."""
        return {name: served.policy.weights for name, served in self._served.items()}

    @property
    def versions(self) -> Mapping[str, int]:
        """{behaviour: updates that the weights would have seen of a round that began now}."""
        there = [it.name for it in self._participants.behaviours if self._is_known(it)]
        return {name: self._acting[name].version for name in there}

    def begin(self) -> bool:
        """Begin a round with the weights that act in training now.

        Returns:
            False if there is no behaviour that simulators of both have brought.
        """
        for name in self._failed & self._served.keys():
            del self._served[name]
        there = [it for it in self._participants.behaviours if self._is_known(it)]
        for behaviour in there:
            acting = self._acting[behaviour.name]
            served = self._served.get(behaviour.name)
            if served is None:
                served = self._served[behaviour.name] = self._serve(behaviour, acting)
            else:
                served.policy.publish(acting.weights, acting.version)
            self._participants.statistics.take(behaviour.name)
            served.collector.begin(self._quota(behaviour), behaviour)
        if there:
            self._began_s = self._clock()
            self._is_over.clear()
            self._goes_on.set()
        return bool(there)

    def _is_known(self, behaviour: Behaviour) -> bool:
        """Whether training has the behaviour, with the same spec, and it can still be served."""
        if behaviour.name in self._failed:
            return False
        acting = self._acting.get(behaviour.name)
        if acting is not None and acting.spec != behaviour.spec:
            if behaviour.name not in self._refused:
                self._refused.add(behaviour.name)
                logger.error(
                    "behaviour '%s' is not evaluated: simulators of evaluations declare it "
                    "otherwise than those of training; use the same build of the simulator in both",
                    behaviour.name,
                )
            return False
        return acting is not None

    def _quota(self, behaviour: Behaviour) -> EpisodeQuota:
        version = self._participants.parameters.version
        are_known = version == self._parameters.get(behaviour.name, 0)
        self._parameters[behaviour.name] = version
        return EpisodeQuota(
            self._options.episodes,
            simulators_of=partial(self._participants.simulators_of, behaviour.name),
            told=AllKnow() if are_known else ToldSimulators(behaviour.slots.owners),
        )

    def _serve(self, behaviour: Behaviour, acting: InferencePolicy) -> _Served:
        """Serve a behaviour from now on."""
        policy = acting.twin()
        actor = Actor(policy, seed=self._seed, deterministic=self._options.deterministic)
        collector = RoundCollector(lambda: not self.goes_on, self._note)
        loop = PolicyLoop(actor, collector, self)
        serving = asyncio.create_task(self._guarded(behaviour.name, loop.run(behaviour.batcher)))
        return _Served(behaviour, policy, collector, serving)

    async def _guarded(self, behaviour: str, serving: Coroutine[None, None, None]) -> None:
        """Serve; an error ends the round and is logged, and training goes on."""
        try:
            await serving
        except Exception:  # what is only for people's eyes must not end training
            logger.exception(
                "evaluations of '%s' failed; training goes on without them", shortened(behaviour)
            )
            self._failed.add(behaviour)
            self._end()

    def _note(self) -> None:
        """End the round once all shares of all behaviours are used up."""
        if all(each.collector.quota.is_complete for each in self._served.values()):
            self._end()

    def _end(self) -> None:
        self._goes_on.clear()
        self._is_over.set()

    async def over(self) -> Round:
        """Wait until the round that goes on is over, or its time, and return what came of it."""
        is_cut = False
        try:
            async with asyncio.timeout(self._options.max_seconds - (self._clock() - self._began_s)):
                await self._is_over.wait()
        except TimeoutError:
            is_cut = True
        self._end()
        return Round(
            seconds=self._clock() - self._began_s,
            is_cut=is_cut,
            policies={name: self._result(name, it) for name, it in self._served.items()},
        )

    def _result(self, behaviour: str, served: _Served) -> PolicyRound:
        reported = self._participants.statistics.take(behaviour)
        return PolicyRound(
            version=served.policy.version,
            scores=served.collector.quota.scores,
            is_whole=served.collector.quota.is_complete,
            statistics={name: each.value for name, each in reported.items()},
        )

    async def learn(self, experience: Never) -> None:
        """Does nothing, and is never called: the collectors return no experience."""

    async def finish(self) -> None:
        """Rest until the next round begins; see `Learns`."""
        await self._goes_on.wait()

    def note_completion(self) -> None:
        """Does nothing: `finish` waits for the next round."""

    async def stop(self) -> None:
        """Serve nobody any more."""
        loops = [each.loop for each in self._served.values()]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
