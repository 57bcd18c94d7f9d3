"""Any parallel PettingZoo environment as a simulator, or several copies of it.

Agents appear and disappear as their environment decides. An agent's episode ends when it dies; a
copy without agents is reset. An agent whose mask allows nothing does not act now: it gets no row,
and its rewards add up until it acts again. This module does not import pettingzoo.
"""

from collections.abc import Callable, Mapping
from typing import Any

from entrain_envs.errors import EntrainEnvsError, FaultyEnvironmentError, SpecError
from entrain_envs.faults import blaming, fault_of
from entrain_envs.pettingzoo_agents import Actor
from entrain_envs.pettingzoo_copies import WHERE, PettingZooCopies
from entrain_envs.pettingzoo_faults import parallel_reset_fault, parallel_step_fault
from entrain_envs.rewards import one_number
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

MAX_IDLE_STEPS = 10_000
"""Steps in a row in which no agent of a copy may act; then it is taken to be stuck."""

_ASKED = object()
"""Stands for the outcome of a call that has not returned."""


class PettingZooEnvironment(PettingZooCopies):
    """Copies of one parallel PettingZoo environment, as an `environment.Environment`."""

    def __init__(self, make: Callable[[], Any], **options: Any) -> None:
        """Make the copies; the arguments are those of `PettingZooCopies`."""
        super().__init__(make, **options)
        self._earned: dict[Actor, float] = {}
        """Rewards of those who have not acted since."""

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin an episode in every copy, each with its own seed."""
        self.set_parameters(parameters)
        self._agents.begin_message()
        self._open.clear()
        self._earned.clear()
        for index, copy_seed in enumerate(self._part.seeds(seed)):
            if not self._begin(index, seed=copy_seed):
                self._go_on(index)
        return self._agents.batches()

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step every copy. Those without agents begin their next episode at once."""
        chosen = self._agents.chosen(actions)
        self._agents.begin_message()
        for index in range(len(self._copies)):
            if not self._step(index, chosen[index]):
                self._go_on(index)
        return self._agents.batches()

    def _go_on(self, index: int) -> None:
        """Step a copy in which no agent may act, until one may."""
        for _ in range(MAX_IDLE_STEPS):
            if self._step(index, {}):
                return
        raise SpecError(
            f"{WHERE}: in {MAX_IDLE_STEPS:,} steps in a row, no agent appeared whose action mask "
            "allows anything; let an agent act, or end the episode"
        )

    def _step(self, index: int, chosen: dict[str, Any]) -> bool:
        """Step a copy with these actions; returns whether any agent needs an action now."""
        copy, outcome = self._copies[index], _ASKED
        acted = set(chosen)
        if len(chosen) < len(copy.agents):
            for agent in copy.agents:
                if agent not in chosen:
                    kind = self._agents.kinds[self._agents.behaviour_of(agent)]
                    chosen[agent] = kind.idle
        try:
            outcome = copy.step(chosen)
            needs_action = self._add_outcome(index, acted, outcome)
        except EntrainEnvsError:
            raise
        except Exception as error:
            words = "" if outcome is _ASKED else parallel_step_fault(outcome)
            raise fault_of(WHERE, "step", error, words) from error
        if copy.agents:
            return needs_action
        return self._begin(index, seed=None)

    def _begin(self, index: int, *, seed: int | None) -> bool:
        """Reset a copy; returns whether any agent needs an action."""
        copy = self._copies[index]
        gone = [agent for copy_index, agent in self._open if copy_index == index]
        if gone:
            raise SpecError(
                f"the environment's episode is over without a last observation for "
                f"{', '.join(sorted(map(str, gone)))}; PettingZoo's step must return one for each "
                "agent, the last time it ends"
            )
        with blaming(f"{WHERE}: `reset`"):
            outcome = copy.reset(seed=seed, options=self._options)
        words = parallel_reset_fault(outcome)
        if words:
            raise FaultyEnvironmentError(f"{WHERE}: {words}")
        observations, details = outcome
        needs_action = False
        for agent in copy.agents:
            if agent not in observations:
                raise FaultyEnvironmentError(f"{WHERE}: `reset` observes nothing for {agent}")
            info = details.get(agent)
            self._note_info(info, is_end=False)
            needs_action |= self._add_live((index, agent), 0.0, observations[agent], info)
        return needs_action

    def _add_outcome(self, index: int, acted: set[str], outcome: Any) -> bool:
        """Add a row for each agent that ends or acts next; returns whether any acts next."""
        observations, rewards, terminations, truncations, details = outcome
        missing = acted - observations.keys()
        if missing:
            raise SpecError(
                "the environment returned no observation for "
                f"{', '.join(sorted(map(str, missing)))}, which acted; PettingZoo's step must "
                "return one for each agent, the last time it ends"
            )
        needs_action = False
        for agent, observation in observations.items():
            actor = (index, agent)
            info = details.get(agent)
            is_over = terminations[agent] or truncations[agent]
            self._note_info(info, is_end=is_over)
            if not is_over:
                needs_action |= self._add_live(actor, rewards[agent], observation, info)
            elif actor in self._open:
                self._open.discard(actor)
                end = _TERMINATED if terminations[agent] else _TRUNCATED
                mask = self._agents.mask(actor, observation, info)
                self._agents.add(actor, end, self._sum(actor, rewards[agent]), observation, mask)
            # Else it appeared and ended without acting, so there is nothing to learn.
        return needs_action

    def _add_live(self, actor: Actor, reward: Any, observation: Any, info: Any) -> bool:
        """Add a row of an agent that goes on, unless it does not act now."""
        mask = self._agents.mask(actor, observation, info)
        is_open = actor in self._open
        if self._agents.allows_nothing(actor[1], mask):
            if is_open:
                self._earned[actor] = one_number(self._sum(actor, reward), f"agent {actor[1]}")
            return False
        self._open.add(actor)
        if is_open:
            self._agents.add(actor, _MID, self._sum(actor, reward), observation, mask)
        else:
            self._agents.add(actor, _FIRST, 0.0, observation, mask)
        return True

    def _sum(self, actor: Actor, reward: Any) -> Any:
        """The reward of an agent since it acted last."""
        if actor not in self._earned:
            return reward
        return self._earned.pop(actor) + one_number(reward, f"agent {actor[1]}")
