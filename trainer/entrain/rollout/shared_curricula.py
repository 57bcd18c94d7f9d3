"""Curricula of a run of several ranks: all are in the same lesson, which episodes of all decide.

A rank sends the returns of its episodes with its share of a round, and judges by those of all ranks
once the round is over. All judge the same numbers, so all begin a lesson after the same update.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from entrain.config.environment_parameters import EnvironmentParameter, Value
from entrain.rollout.curricula import NEVER, Curricula
from entrain.rollout.episodes import ClosedEpisodes
from entrain.rounds import Agreement, Returned
from entrain.state import State


class SharedCurricula(Curricula):
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        parameters: Mapping[str, EnvironmentParameter],
        changed: Callable[[Mapping[str, Value], bool], None],
    ) -> None:
        """See `Curricula`."""
        super().__init__(parameters, changed)
        self._own = {name: deque[float](maxlen=it.maxlen) for name, it in self._returns.items()}
        """{behaviour: returns of this rank's episodes that were not sent yet}."""

    @property
    def _num_begun(self) -> int:
        """Lessons that have begun, of all parameters: it grows with each."""
        return sum(self.completed.values())

    def note(self, behaviour: str, episodes: ClosedEpisodes) -> None:
        """Keep the episodes of this rank for the round."""
        if behaviour in self._own:
            self._own[behaviour].extend(self._counted(behaviour, episodes))

    def reach(self, behaviour: str, env_steps: int) -> None:
        """Steps are counted by rounds, for this rank does not know those of the others before."""

    def take(self, behaviour: str) -> Returned:
        """Returns what this rank has seen of a behaviour since this was last called."""
        own = self._own.get(behaviour, deque())
        returned = Returned(tuple(own), self._num_begun)
        own.clear()
        return returned

    def note_round(self, behaviour: str, agreement: Agreement) -> None:
        """A round is over: judge by what all ranks have seen."""
        if behaviour not in self._returns:
            return
        num_begun = self._num_begun
        # Episodes of a lesson that is over are forgotten, as those of one rank are.
        seen = [it.returned.returns for it in agreement.shares if it.returned.lesson == num_begun]
        merged = in_turns(seen)
        self._returns[behaviour].extend(merged)
        self._advance(behaviour, agreement.env_steps, has_ended=bool(merged))
        if self._num_begun != num_begun:
            for own in self._own.values():
                own.clear()

    def _set_due(self) -> None:
        for follower in self._followers.values():
            follower.due = NEVER

    def state(self) -> State:
        """See `Curricula.state`."""
        own = enumerate(self._own.values())
        return {
            **super().state(),
            "own": {str(index): np.array(returns, np.float64) for index, returns in own},
        }

    def load_state(self, state: State) -> None:
        """See `Curricula.load_state`."""
        super().load_state(state)
        # A checkpoint of before has none.
        if "own" in state:
            for index, behaviour in enumerate(state["behaviours"]):
                if behaviour in self._own:
                    self._own[behaviour].extend(state["own"][str(index)].tolist())


def in_turns(seen: Sequence[Sequence[float]]) -> Sequence[float]:
    """Merges what each rank saw, so that the newest of all ranks are the newest of the result."""
    by_age = (
        (len(returns) - index, rank, value)
        for rank, returns in enumerate(seen)
        for index, value in enumerate(returns)
    )
    return [value for _, _, value in sorted(by_age, key=lambda it: (-it[0], it[1]))]
