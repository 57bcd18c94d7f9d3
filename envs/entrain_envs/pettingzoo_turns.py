"""Any turn-based PettingZoo environment (AEC) as a simulator, or several copies of it.

One agent of a copy acts at a time. Its reward is the sum since its last action, while others acted;
rewards before its first action are dropped. An agent that died gets its last row when its
environment selects it for the last time. This module does not import pettingzoo.
"""

from collections.abc import Mapping
from typing import Any

from entrain_envs.errors import FaultyEnvironmentError, SpecError
from entrain_envs.faults import blaming
from entrain_envs.pettingzoo_adapter import MAX_IDLE_STEPS
from entrain_envs.pettingzoo_agents import Actor
from entrain_envs.pettingzoo_copies import WHERE, PettingZooCopies
from entrain_envs.pettingzoo_faults import last_fault
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)


def takes_turns(environment: Any) -> bool:
    """Whether `environment` is turn-based rather than parallel."""
    return callable(getattr(type(environment), "last", None))


class TurnsEnvironment(PettingZooCopies):
    """Copies of one turn-based PettingZoo environment, as an `environment.Environment`."""

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin an episode in every copy, each with its own seed."""
        self.set_parameters(parameters)
        self._agents.begin_message()
        self._open.clear()
        for index, copy_seed in enumerate(self._part.seeds(seed)):
            self._begin(index, seed=copy_seed)
            self._go_on(index)
        return self._agents.batches()

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Let the agent act whose turn it is in each copy, up to the next agent's turn."""
        chosen = self._agents.chosen(actions)
        self._agents.begin_message()
        for index, copy in enumerate(self._copies):
            (action,) = chosen[index].values()
            with blaming(f"{WHERE}: `step`"):
                copy.step(action)
            self._go_on(index)
        return self._agents.batches()

    def _begin(self, index: int, *, seed: int | None) -> None:
        gone = [agent for copy_index, agent in self._open if copy_index == index]
        if gone:
            raise SpecError(
                f"the environment's episode is over without a last turn of "
                f"{', '.join(sorted(map(str, gone)))}; PettingZoo selects each agent once more "
                "after it died"
            )
        with blaming(f"{WHERE}: `reset`"):
            self._copies[index].reset(seed=seed, options=self._options)

    def _go_on(self, index: int) -> None:
        """Add the rows of agents that died, until an agent is to act; reset where all are gone."""
        copy = self._copies[index]
        for _ in range(MAX_IDLE_STEPS):
            if not copy.agents:
                self._begin(index, seed=None)
                continue
            with blaming(f"{WHERE}: `last`"):
                agent, outcome = copy.agent_selection, copy.last()
            words = last_fault(outcome)
            if words:
                raise FaultyEnvironmentError(f"{WHERE}: {words}")
            observation, reward, terminated, truncated, info = outcome
            self._note_info(info, is_end=terminated or truncated)
            actor = (index, agent)
            mask = self._agents.mask(actor, observation, info)
            if not (terminated or truncated):
                self._add_live(actor, reward, observation, mask)
                return
            if actor in self._open:
                self._open.discard(actor)
                end = _TERMINATED if terminated else _TRUNCATED
                self._agents.add(actor, end, reward, observation, mask)
            with blaming(f"{WHERE}: `step`"):
                copy.step(None)
        raise SpecError(
            f"{WHERE}: in {MAX_IDLE_STEPS:,} turns in a row, no agent was alive when it was its "
            "turn; let an agent act after a reset"
        )

    def _add_live(self, actor: Actor, reward: Any, observation: Any, mask: Any) -> None:
        """Add the row of the agent whose turn it is."""
        if self._agents.allows_nothing(actor[1], mask):
            raise SpecError(
                f"{WHERE}: it is the turn of {actor[1]}, whose action mask allows nothing; let "
                "agent_selection skip it, or allow a choice that passes"
            )
        if actor in self._open:
            self._agents.add(actor, _MID, reward, observation, mask)
        else:
            self._open.add(actor)
            self._agents.add(actor, _FIRST, 0.0, observation, mask)
