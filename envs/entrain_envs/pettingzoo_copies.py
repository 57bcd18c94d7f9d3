"""Copies of one PettingZoo environment: how they are made, described and closed.

What parallel and turn-based environments share. This module does not import pettingzoo.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entrain_envs.copies import Copies
from entrain_envs.faults import blaming_the_start, close_all
from entrain_envs.first_calls import pass_what_is_taken
from entrain_envs.gymnasium_spaces import NO_KINDS
from entrain_envs.info_statistics import InfoKey, InfoStatistics
from entrain_envs.pettingzoo_agents import Actor, Agents
from entrain_envs.precision import Subtraction
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic

WHERE = "the PettingZoo environment"
"""Begins messages about an environment, which has no name of its own here."""


class PettingZooCopies:
    """The part of an `environment.Environment` that does not step its copies."""

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        behaviour: str = "",
        one_each: bool = False,
        count: int = 1,
        part: Copies | None = None,
        subtract: Sequence[Subtraction] = (),
        kinds: Mapping[str, str] = NO_KINDS,
        info: Sequence[InfoKey] = (),
    ) -> None:
        """Make the copies.

        Args:
            make: makes one copy.
            behaviour: name of the one behaviour that all agents share; if empty, behaviours are
                named after agents, without their numbers.
            one_each: give each possible agent its own behaviour.
            count: how many copies.
            part: which of all copies these are, instead of all `count`.
            subtract: from observations, before they are rounded to float32.
            kinds: {observation: kind}, where they are not what they look like.
            info: keys whose values, of each agent, are reported as statistics.
        """
        self._part = Copies.all(count) if part is None else part
        self._copies = make_copies(make, self._part)
        self._agents = Agents(
            self._copies,
            part=self._part,
            behaviour=behaviour,
            one_each=one_each,
            subtract=subtract,
            kinds=kinds,
        )
        self._open: set[Actor] = set()
        """Who has got an action in its episode, so that an outcome is still to come."""

        self._info = InfoStatistics(info, where=WHERE) if info else None
        self._options: dict[str, Any] | None = None

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """One for each kind of agent."""
        return self._agents.behaviours

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Pass these as options to each copy's next resets."""
        self._options = dict(parameters) or None

    def take_statistics(self) -> Sequence[Statistic]:
        """Values of `info` since the last call; see `environment.ReportsStatistics`."""
        return () if self._info is None else self._info.take()

    def _note_info(self, info: Any, *, is_end: bool) -> None:
        """Look at what an agent was told beside its observation."""
        if self._info is not None:
            self._info.note(info, is_end=is_end)

    def close(self) -> None:
        """Close every copy."""
        close_all(self._copies, where=WHERE)


def make_copies(make: Callable[[], Any], part: Copies) -> list[Any]:
    """Make these copies, whose resets may be called with a seed and options."""
    with blaming_the_start(f"{WHERE} cannot be made: it"):
        copies = [make() for _ in range(part.count)]
    for copy in copies:
        pass_what_is_taken(copy, where=WHERE, says=copy is copies[0] and part.are_first)
    return copies
