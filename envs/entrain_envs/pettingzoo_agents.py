"""The agents of a PettingZoo environment: their behaviours, ids, masks, and rows of one message.

Agents with the same spaces share a behaviour. The adapters of parallel and of turn-based
environments share this module. It does not import pettingzoo, and knows nothing of turns.
"""

import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrain_envs.action_masks import (
    MASK,
    METHOD,
    hint_at_lookalikes,
    mask_flattener,
    mask_size,
    without_mask,
)
from entrain_envs.copies import Copies
from entrain_envs.errors import OptionError, SpecError
from entrain_envs.faults import blaming_the_start
from entrain_envs.gymnasium_spaces import (
    ReadActions,
    Space,
    action_layout,
    check_kinds,
    observation_layout,
    without_bounds,
)
from entrain_envs.precision import Precision, Subtraction
from entrain_envs.rows import FlattenMask, TimestepRows, WriteObservation
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

logger = logging.getLogger(__name__)

_MID = int(StepType.MID)

Actor = tuple[int, str]
"""A copy's number and an agent's name in it."""


@dataclass(frozen=True)
class Kind:
    """The agents of one behaviour, and what they share."""

    spec: BehaviourSpec
    spaces: tuple[Space, Space]
    write: WriteObservation
    read: ReadActions
    flatten: FlattenMask
    precision: Precision
    has_mask: bool
    """Whether the observation is a Dict that also holds the action mask."""

    idle: Any
    """An action for agents that do not act now, as PettingZoo's own tests give it: the first."""


class Agents:
    """All agents of several copies of an environment. Collects the rows of one message."""

    def __init__(
        self,
        copies: Sequence[Any],
        *,
        part: Copies,
        behaviour: str,
        one_each: bool,
        subtract: Sequence[Subtraction],
        kinds: Mapping[str, str],
    ) -> None:
        """Find the agents and their behaviours.

        Args:
            copies: of one environment.
            part: which of all copies these are.
            behaviour: name of the one behaviour that all agents share; if empty, behaviours are
                named after agents, without their numbers.
            one_each: give each possible agent its own behaviour.
            subtract: from observations, before they are rounded to float32.
            kinds: {observation: kind}, where they are not what they look like.
        """
        self._copies = copies
        self._part = part
        first = copies[0]
        with blaming_the_start("the environment's agents or spaces: it"):
            agents = _first_agents(first)
            groups = {agent: [agent] for agent in agents} if one_each else _groups(first, agents)
        groups = _named_as_one(behaviour, groups) if behaviour else groups
        self.kinds = {
            name: _kind(name, first, group[0], subtract, kinds) for name, group in groups.items()
        }
        """{behaviour: its agents' kind}."""
        _check_subtract(subtract, list(self.kinds.values()))
        check_kinds(kinds, (each for spec in self.behaviours for each in spec.observations))
        self._behaviour_of = {agent: name for name, group in groups.items() for agent in group}
        self._index = {agent: index for index, agent in enumerate(agents)}
        self._names = list(agents)
        self._method = _mask_method(copies)
        self._acting: dict[str, list[Actor]] = {}
        self._rows: dict[str, TimestepRows] = {}
        self._unsaid = {
            name
            for name, kind in self.kinds.items()
            if kind.spec.action.branches and part.are_first
        }
        """Behaviours whose source of masks is not logged yet."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """One for each kind of agent."""
        return [kind.spec for kind in self.kinds.values()]

    @property
    def acting(self) -> Mapping[str, Sequence[Actor]]:
        """{behaviour: agents that need an action, in the order of the rows}."""
        return self._acting

    def chosen(self, actions: Mapping[str, ActionBatch]) -> Sequence[dict[str, Any]]:
        """For each copy, {agent: action} of the agents that needed one in the last message."""
        chosen: list[dict[str, Any]] = [{} for _ in self._copies]
        for name, actors in self._acting.items():
            if actors:
                read = self.kinds[name].read(actions[name])
                for (index, agent), action in zip(actors, read, strict=True):
                    chosen[index][agent] = action
        return chosen

    def begin_message(self) -> None:
        """Make room for a message's rows: at most an end and a beginning per agent."""
        self._acting = {name: [] for name in self.kinds}
        capacity = 2 * len(self._copies) * len(self._index)
        self._rows = {
            name: TimestepRows(
                kind.spec,
                kind.write,
                capacity=capacity,
                precision=kind.precision,
                flatten=kind.flatten,
                name_of=self._name_of,
            )
            for name, kind in self.kinds.items()
        }

    def batches(self) -> Mapping[str, TimestepBatch]:
        """{behaviour: the message's rows}."""
        return {name: rows.batch() for name, rows in self._rows.items()}

    def add(self, actor: Actor, step_type: int, reward: Any, observation: Any, mask: Any) -> None:
        """Add a row. FIRST and MID need an action."""
        index, agent = actor
        name = self._behaviour_of[agent]
        if step_type <= _MID:
            self._acting[name].append(actor)
        agent_id = self._index[agent] * self._part.total + self._part.first + index
        self._rows[name].add(agent_id, step_type, reward, observation, mask)

    def mask(self, actor: Actor, observation: Any, info: Any) -> Any:
        """An agent's action mask in the environment's form; None if all actions are allowed."""
        index, agent = actor
        name = self.behaviour_of(agent)
        kind = self.kinds[name]
        if not kind.spec.action.branches:
            return None
        info = info if isinstance(info, Mapping) else {}
        if kind.has_mask:
            source, mask = f"'{MASK}' of the observation", observation[MASK]
        elif self._method is not None:
            source, mask = f"the method {METHOD}()", self._method(self._copies[index], agent)
        else:
            source, mask = f"info['{MASK}']", info.get(MASK)
        if name in self._unsaid:
            self._unsaid.discard(name)
            if mask is not None:
                logger.info("behaviour '%s': actions are masked by %s", name, source)
            else:
                branches = kind.spec.action.branches
                hint_at_lookalikes(info, branches, where=f"behaviour '{name}'")
        return mask

    def allows_nothing(self, agent: str, mask: Any) -> bool:
        """Whether a mask says that its agent does not act now."""
        if mask is None:
            return False
        try:
            return not self.kinds[self._behaviour_of[agent]].flatten(mask).any()
        except (TypeError, ValueError, KeyError):
            return False  # the row that it is added to says what is wrong

    def behaviour_of(self, agent: str) -> str:
        """The behaviour of an agent; one that is not in possible_agents joins one first."""
        if agent not in self._index:
            self._meet(agent)
        return self._behaviour_of[agent]

    def _name_of(self, agent_id: int) -> str:
        agent, copy = divmod(agent_id, self._part.total)
        return str(self._names[agent]) + (f" (copy {copy})" if self._part.total > 1 else "")

    def _meet(self, agent: str) -> None:
        """Add an agent that is not in possible_agents to the behaviour with its spaces."""
        pair = _spaces(self._copies[0], agent)
        for name, kind in self.kinds.items():
            if kind.spaces == pair:
                self._behaviour_of[agent] = name
                self._index[agent] = len(self._index)
                self._names.append(agent)
                return
        raise SpecError(
            f"agent '{agent}' appeared, and its spaces are those of no behaviour "
            f"({', '.join(str(kind.spec) for kind in self.kinds.values())}); "
            "let the environment name it in possible_agents"
        )


def _first_agents(environment: Any) -> list[str]:
    """All possible agents, or those of a first episode if the environment does not list them."""
    possible: Sequence[str] | None = getattr(environment, "possible_agents", None)
    if possible is None:
        environment.reset(seed=0)
        possible = environment.agents
    return list(possible)


def _spaces(environment: Any, agent: str) -> tuple[Space, Space]:
    return environment.observation_space(agent), environment.action_space(agent)


def _named_as_one(behaviour: str, groups: dict[str, list[str]]) -> dict[str, list[str]]:
    """All agents as one behaviour of that name; OptionError if they are of several kinds."""
    if len(groups) != 1:
        raise OptionError(
            f"behaviour '{behaviour}' cannot stand for all agents, because their spaces "
            f"differ: {', '.join(groups)}; leave the name out"
        )
    (agents,) = groups.values()
    return {behaviour: agents}


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
        stem = re.sub(r"[_-]?\d+$", "", str(agents[0])) or str(agents[0])
        groups[stem if stem not in groups else str(agents[0])] = agents
    return groups


def _kind(
    name: str,
    environment: Any,
    agent: str,
    subtract: Sequence[Subtraction],
    kinds: Mapping[str, str],
) -> Kind:
    where = f"behaviour '{name}' (agent '{agent}')"
    pair = _spaces(environment, agent)
    action = action_layout(pair[1], where=where)
    size = mask_size(pair[0]) if action.spec.branches else 0
    if size not in {0, action.spec.num_choices}:
        raise SpecError(
            f"{where} observes an '{MASK}' of {size} numbers; expected {action.spec.num_choices}, "
            f"one per choice of branches {list(action.spec.branches)}: give it that size or "
            "another name"
        )
    observed = without_mask(pair[0]) if size else pair[0]
    observation = observation_layout(observed, where=where, kinds=kinds)
    specs = without_bounds(observation.specs, [each[0] for each in subtract])
    spec = BehaviourSpec(name, specs, action.spec)
    mine = [each for each in subtract if each[0] in spec.observation_names]
    nothing = ActionBatch(
        np.zeros((1, action.spec.continuous_size), np.float32),
        np.zeros((1, len(action.spec.branches)), np.int32),
        0,
    )
    return Kind(
        spec,
        pair,
        observation.write,
        action.read,
        mask_flattener(pair[1]),
        Precision(observation.specs, mine, where=where),
        has_mask=bool(size),
        idle=next(iter(action.read(nothing))),
    )


def _check_subtract(subtract: Sequence[Subtraction], kinds: Sequence[Kind]) -> None:
    names = {name for kind in kinds for name in kind.spec.observation_names}
    for name, _, _ in subtract:
        if name not in names:
            raise OptionError(
                f"--subtract names '{name}', which no agent observes; "
                f"there are: {', '.join(str(kind.spec) for kind in kinds)}"
            )


def _mask_method(copies: Sequence[Any]) -> Callable[[Any, str], Any] | None:
    """A function that gets an agent's mask from the environment's `action_masks`, if it has one."""
    method = getattr(copies[0], METHOD, None)
    if not callable(method):
        return None
    if len(inspect.signature(method).parameters) > 0:
        return lambda copy, agent: copy.action_masks(agent)

    def pick(copy: Any, agent: str) -> Any:
        masks = copy.action_masks()
        return masks.get(agent) if isinstance(masks, Mapping) else masks

    return pick
