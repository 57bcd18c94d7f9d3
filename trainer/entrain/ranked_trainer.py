"""A trainer that is one of several ranks: it learns one policy together with those of the others.

Its collector has this rank's share of the steps. It takes part in every round that any rank has
steps for: with a full rollout, or, if it is told to cut, with what it has, which may be nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Generic, Protocol

from entrain.algorithms.algorithm import Metrics, UpdateCancelled
from entrain.learner import E, Lesson
from entrain.rank_part import NO_LESSONS, Lessons, RankPart, SharedCollector, episodes_of_all
from entrain.ranked_learner import RankedLearner
from entrain.requests import Batches, Requests, Unanswered
from entrain.rollout.collector import E_co
from entrain.rounds import Rounds
from entrain.run.progress import Progress
from entrain.state import State
from entrain.trainer import CollectorPart, Trainer

_LOOK_S = 0.01


class RankCollector(CollectorPart[E_co], SharedCollector, Protocol[E_co]):
    """The collector of one rank. See `StepCollector`."""

    def cut(self) -> E_co: ...


class RankedTrainer(Trainer[E], Generic[E]):
    """See `Trainer`. Owned by the event loop."""

    _learner: RankedLearner[E]

    def __init__(
        self,
        behaviour: str,
        *,
        collector: RankCollector[E],
        rounds: Rounds,
        num_ranks: int,
        total_steps: int,
        lessons: Lessons = NO_LESSONS,
        **parts: Any,
    ) -> None:
        """Begin with nothing learned.

        Args:
            behaviour: its name.
            collector: of this rank.
            rounds: of this policy.
            num_ranks: of the run.
            total_steps: of all ranks together.
            lessons: curricula of the run.
            parts: see `Trainer`.
        """
        self._part = RankPart(
            collector,
            rank=rounds.rank,
            num_ranks=num_ranks,
            total_steps=total_steps,
            behaviour=behaviour,
            lessons=lessons,
        )
        self._rounds = rounds
        self._own = collector
        self._turn = asyncio.Lock()
        """Held while a batch is served, and while the rollout is cut."""
        self._make_learner = partial(RankedLearner, rounds=rounds, part=self._part)
        super().__init__(behaviour, collector=collector, total_steps=total_steps, **parts)

    @property
    def progress(self) -> Progress:
        """Progress of all ranks together: that of the others is as of the last round."""
        own = super().progress
        return replace(own, env_steps=own.env_steps + self._part.others)

    async def run(self, batches: Batches) -> None:
        """See `Trainer.run`."""
        turns = _Turns(batches, self._turn)
        async with turns.held():
            await super().run(turns)

    async def learn(self, experience: E) -> None:
        """See `Learns.learn`."""
        episodes = self.episodes.measure()
        lesson = Lesson(
            experience,
            self._collector.env_steps,
            episodes,
            share=self._part.share(num_steps=experience.num_steps, episodes=episodes),
            others=self._part.others,
        )
        with self._learning():
            await self._learner.learn(lesson)

    async def cut_short(self, number: int) -> None:
        """Take part in a round with the steps there are, if this rank has no rollout of it yet.

        Raises:
            TrainingDivergedError: see `run`.
        """
        async with self._turn:
            if self.divergence is not None or self._learner.has_cut(number):
                return
            self._loop.record()
            try:
                await self.learn(self._own.cut())
            except UpdateCancelled:
                return  # the rollout stays with the learner

    async def finish_early(self) -> None:
        """Collect no more: the other ranks are complete, and what is left fills no rollout."""
        async with self._turn:
            if self._collector.is_complete:
                return
            self._part.end()
            try:
                await self.finish()
            except UpdateCancelled:
                return
            self.note_completion()

    def note_all(self, env_steps: Mapping[int, int]) -> None:
        """All ranks are complete, with these {rank: env steps}."""
        self._part.note_others(env_steps)

    async def stand_still(self) -> None:
        """Wait until no update runs; one that runs beside the collecting is noted then."""
        while not self._learner.has_state:
            await self._learner.stand_still()
            if self._turn.locked():
                # Whoever has it notes the same update, or takes no step meanwhile.
                await asyncio.sleep(_LOOK_S)
                continue
            async with self._turn:
                with self._learning():
                    await self._learner.settle()

    def note_completion(self) -> None:
        """See `Learns.note_completion`."""
        self._rounds.complete(self._collector.env_steps)
        super().note_completion()

    def _note_update(self, lesson: Lesson[E], learned: Metrics) -> None:
        agreed = self._learner.agreed
        if agreed is not None:
            lesson = replace(
                lesson,
                episodes=episodes_of_all(agreed.shares),
                others_learned=agreed.num_steps - lesson.experience.num_steps,
            )
        super()._note_update(lesson, learned)

    def state(self) -> State:
        """See `Trainer.state`."""
        return {**super().state(), "part": self._part.state()}

    def load_state(self, state: State) -> None:
        """See `Trainer.load_state`."""
        self._part.load_state(state["part"])
        super().load_state(state)


class _Turns:
    """Batches, each served under the lock, so that no cut happens meanwhile."""

    def __init__(self, batches: Batches, turn: asyncio.Lock) -> None:
        self._batches = batches
        self._iterator = aiter(batches)
        self._turn = turn
        self._has_turn = False

    @property
    def unanswered(self) -> Unanswered | None:
        return self._batches.unanswered

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Within the block the turn is had, but while a batch is waited for."""
        await self._take()
        try:
            yield
        finally:
            if self._has_turn:
                self._give()

    async def _take(self) -> None:
        await self._turn.acquire()
        self._has_turn = True

    def _give(self) -> None:
        self._has_turn = False
        self._turn.release()

    def __aiter__(self) -> "_Turns":
        return self

    async def __anext__(self) -> Requests:
        self._give()
        # At the end too: what comes after the last batch is part of the turn.
        try:
            return await anext(self._iterator)
        finally:
            await self._take()
