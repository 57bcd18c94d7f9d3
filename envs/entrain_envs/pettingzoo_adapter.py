"""Any parallel PettingZoo environment as a simulator, or several copies of it.

Agents appear and disappear as their environment decides. Agents with the same spaces share a
behaviour. An agent's episode ends when it dies; a copy without agents is reset. This module does
not import pettingzoo.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.gymnasium_spaces import (
    NO_KINDS,
    ReadActions,
    Space,
    action_layout,
    check_kinds,
    observation_layout,
)
from entrain_envs.rows import TimestepRows, WriteObservation
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

MASK = "action_mask"
"""PettingZoo's name for a mask, in an observation or in an agent's info."""

Actor = tuple[int, str]
"""A copy's number and an agent's name in it."""


@dataclass(frozen=True)
class _Kind:
    """The agents of one behaviour, and the spec that they share."""

    spec: BehaviourSpec
    spaces: tuple[Space, Space]
    write: WriteObservation
    read: ReadActions
    has_mask: bool
    """Whether the observation is a Dict that also holds the action mask."""


class PettingZooEnvironment:
    """Copies of one parallel PettingZoo environment, as an `environment.Environment`."""

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        behaviour: str = "",
        one_each: bool = False,
        count: int = 1,
        kinds: Mapping[str, str] = NO_KINDS,
    ) -> None:
        """Make the copies.

        Args:
            make: makes one copy.
            behaviour: name of the one behaviour that all agents share; if empty, behaviours are
                named after agents, without their numbers.
            one_each: give each possible agent its own behaviour.
            count: how many copies.
            kinds: {observation: kind}, where they are not what they look like.
        """
        if count < 1:
            raise OptionError(f"count is {count}; it must be at least 1")
        self._copies = [make() for _ in range(count)]
        first = self._copies[0]
        agents = _first_agents(first)
        groups = {agent: [agent] for agent in agents} if one_each else _groups(first, agents)
        if behaviour:
            if len(groups) != 1:
                raise OptionError(
                    f"behaviour '{behaviour}' cannot stand for all agents, because their spaces "
                    f"differ: {', '.join(groups)}; leave the name out"
                )
            groups = {behaviour: agents}
        self._kinds = {
            name: _kind(name, first, members[0], kinds) for name, members in groups.items()
        }
        check_kinds(
            kinds, (spec for kind in self._kinds.values() for spec in kind.spec.observations)
        )
        self._behaviour_of = {agent: name for name, members in groups.items() for agent in members}
        self._index = {agent: index for index, agent in enumerate(agents)}
        self._acting: dict[str, list[Actor]] = {}
        self._options: dict[str, Any] | None = None

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """One for each kind of agent."""
        return [kind.spec for kind in self._kinds.values()]

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Pass these as options to each copy's next resets."""
        self._options = dict(parameters) or None

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin an episode in every copy, each with its own seed."""
        self.set_parameters(parameters)
        rows = self._rows()
        seeds = np.random.SeedSequence(seed).generate_state(len(self._copies))
        for index, copy_seed in enumerate(seeds.tolist()):
            self._begin(rows, index, seed=copy_seed)
        return {name: part.batch() for name, part in rows.items()}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step every copy. Those without agents begin their next episode at once."""
        chosen = self._chosen(actions)
        rows = self._rows()
        for index, copy in enumerate(self._copies):
            outcome = copy.step(chosen[index])
            self._add_outcome(rows, index, chosen[index].keys(), outcome)
            if not copy.agents:
                self._begin(rows, index, seed=None)
        return {name: part.batch() for name, part in rows.items()}

    def close(self) -> None:
        """Close every copy."""
        for copy in self._copies:
            copy.close()

    def _chosen(self, actions: Mapping[str, ActionBatch]) -> Sequence[dict[str, Any]]:
        """{agent: its action} for each copy."""
        chosen: list[dict[str, Any]] = [{} for _ in self._copies]
        for name, actors in self._acting.items():
            read = self._kinds[name].read(actions[name])
            for (index, agent), action in zip(actors, read, strict=True):
                chosen[index][agent] = action
        return chosen

    def _rows(self) -> Mapping[str, TimestepRows]:
        """Make room for this message's rows: at most an end and a beginning per agent."""
        self._acting = {name: [] for name in self._kinds}
        capacity = 2 * len(self._copies) * len(self._index)
        return {
            name: TimestepRows(kind.spec, kind.write, capacity=capacity)
            for name, kind in self._kinds.items()
        }

    def _begin(self, rows: Mapping[str, TimestepRows], index: int, *, seed: int | None) -> None:
        copy = self._copies[index]
        observations, details = copy.reset(seed=seed, options=self._options)
        for agent in copy.agents:
            self._add(
                rows,
                (index, agent),
                step_type=_FIRST,
                reward=0.0,
                observation=observations[agent],
                details=details,
            )

    def _add_outcome(
        self, rows: Mapping[str, TimestepRows], index: int, acted: Any, outcome: Any
    ) -> None:
        """Add a row for each agent that acted and for each new agent."""
        observations, rewards, terminations, truncations, details = outcome
        missing = acted - observations.keys()
        if missing:
            raise SpecError(
                f"the environment returned no observation for {', '.join(sorted(missing))}, which "
                "acted; PettingZoo's step must return one for each agent, the last time it ends"
            )
        for agent, observation in observations.items():
            step_type, reward = _step_type(terminations[agent], truncations[agent]), rewards[agent]
            if agent not in acted:
                if step_type != _MID:
                    continue  # it appeared and ended without acting, so there is nothing to learn
                step_type, reward = _FIRST, 0.0
            self._add(
                rows,
                (index, agent),
                step_type=step_type,
                reward=reward,
                observation=observation,
                details=details,
            )

    def _add(
        self,
        rows: Mapping[str, TimestepRows],
        actor: Actor,
        *,
        step_type: int,
        reward: float,
        observation: Any,
        details: Mapping[str, Mapping[str, Any]],
    ) -> None:
        index, agent = actor
        if agent not in self._index:
            self._meet(agent)
        name = self._behaviour_of[agent]
        if step_type <= _MID:
            self._acting[name].append(actor)
        mask = observation[MASK] if self._kinds[name].has_mask else details.get(agent, {}).get(MASK)
        agent_id = self._index[agent] * len(self._copies) + index
        rows[name].add(agent_id, step_type, reward, observation, mask)

    def _meet(self, agent: str) -> None:
        """Add an agent that is not in possible_agents to the behaviour with its spaces."""
        pair = _spaces(self._copies[0], agent)
        for name, kind in self._kinds.items():
            if kind.spaces == pair:
                self._behaviour_of[agent] = name
                self._index[agent] = len(self._index)
                return
        raise SpecError(
            f"agent '{agent}' appeared, and its spaces are those of no behaviour "
            f"({', '.join(str(kind.spec) for kind in self._kinds.values())}); "
            "let the environment name it in possible_agents"
        )


def _step_type(terminated: bool, truncated: bool) -> int:
    if terminated:
        return _TERMINATED
    return _TRUNCATED if truncated else _MID


def _first_agents(environment: Any) -> list[str]:
    """All possible agents, or those of a first episode if the environment does not list them."""
    possible: Sequence[str] | None = getattr(environment, "possible_agents", None)
    if possible is None:
        environment.reset(seed=0)
        possible = environment.agents
    return list(possible)


def _spaces(environment: Any, agent: str) -> tuple[Space, Space]:
    return environment.observation_space(agent), environment.action_space(agent)


def _groups(environment: Any, all_agents: Sequence[str]) -> dict[str, list[str]]:
    """{behaviour: its agents}: agents with the same spaces, named after the first one."""
    by_spaces: list[tuple[tuple[Space, Space], list[str]]] = []
    for agent in all_agents:
        pair = _spaces(environment, agent)
        for known, agents in by_spaces:
            if known == pair:
                agents.append(agent)
                break
        else:
            by_spaces.append((pair, [agent]))
    groups: dict[str, list[str]] = {}
    for _, agents in by_spaces:
        stem = re.sub(r"[_-]?\d+$", "", agents[0]) or agents[0]
        groups[stem if stem not in groups else agents[0]] = agents
    return groups


def _kind(name: str, environment: Any, agent: str, kinds: Mapping[str, str]) -> _Kind:
    where = f"behaviour '{name}' (agent '{agent}')"
    pair = _spaces(environment, agent)
    space, action_space = pair
    action = action_layout(action_space, where=where)
    has_mask = False
    if isinstance(space, spaces.Dict) and MASK in space.spaces:
        has_mask = True
        space = spaces.Dict({key: part for key, part in space.spaces.items() if key != MASK})
    observation = observation_layout(space, where=where, kinds=kinds)
    spec = BehaviourSpec(name, observation.specs, action.spec)
    return _Kind(spec, pair, observation.write, action.read, has_mask)
