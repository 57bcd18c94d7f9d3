"""A learner that is one of several ranks: an update begins once every rank has its rollout.

While a rank waits for the others its event loop is free, and its state can be taken: the update
counts as not begun. What a round brings is applied when its weights are published.
"""

import asyncio
from typing import Any, Generic

from entrain.algorithms.algorithm import Metrics
from entrain.learner import E, Learner, Lesson
from entrain.rank_part import RankPart
from entrain.rounds import Agreement, Rounds
from entrain.state import State


class RankedLearner(Learner[E], Generic[E]):
    """See `Learner`. Owned by the event loop."""

    def __init__(self, *args: Any, rounds: Rounds, part: RankPart, **options: Any) -> None:
        """Begin with nothing to learn from.

        Args:
            args: see `Learner`.
            rounds: of the policy.
            part: of this rank; told what all ranks bring.
            options: see `Learner`.
        """
        super().__init__(*args, **options)
        self._rounds = rounds
        self._part = part
        self._agreement: Agreement | None = None
        """What ranks agreed on for the update that is done and not published yet."""
        self.agreed: Agreement | None = None
        """What ranks agreed on for the newest update that has begun."""

    @property
    def is_learning(self) -> bool:
        """Whether an update runs; not while it waits for other ranks."""
        return self._running is not None and self._rounds.has_begun

    @property
    def has_state(self) -> bool:
        """True if `state` may be called now: what has begun must end first."""
        return not self._rounds.has_begun

    def has_cut(self, number: int) -> bool:
        """Whether this rank has its rollout of the round."""
        return self._version + len(self._lessons) >= number

    def _begin(self) -> None:
        if self._running is None and self._lessons:
            self._running = asyncio.ensure_future(self._in_turn(self._lessons[0]))

    async def _in_turn(self, lesson: Lesson[E]) -> Metrics:
        """Update once all ranks can."""
        assert lesson.share is not None, "a lesson of a run of one rank"
        self.agreed = await self._rounds.agree(self._version + 1, lesson.share)
        if self._policy_lag:
            self._before = self._algorithm.kept_state()
        metrics = await self._start(lesson)
        self._agreement = self.agreed
        return metrics

    async def _end(self, *, publishes: bool) -> None:
        try:
            await super()._end(publishes=publishes)
        finally:
            self._rounds.end()

    def _publish(self) -> None:
        super()._publish()
        if self._agreement is not None:
            self._part.apply(self._agreement)
            self._agreement = None

    async def stand_still(self) -> None:
        """Wait until the update that runs, if one does, is over in its thread."""
        if self._running is not None:
            await asyncio.wait({self._running})

    def state(self) -> State:
        """See `Learner.state`."""
        agreement = None if self._agreement is None else self._agreement.state()
        return {**super().state(), "agreement": agreement}

    def load_state(self, state: State) -> None:
        """See `Learner.load_state`."""
        super().load_state(state)
        found = state["agreement"]
        self._agreement = None if found is None else Agreement.from_state(found)
