"""An environment that does not wait for the trainer: what comes too late, a fallback does.

    sends a Step --actions in time--> steps with them
        |
        '--deadline--> steps with the fallback's, once each deadline, until the actions are here;
                       they are not taken any more, and the next Step says what happened meanwhile

This module does not know gRPC, or who waits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from entrain_envs.errors import OptionError
from entrain_envs.fallback import LastActions, neutral
from entrain_envs.late_rows import LateRows
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch

Rows = Mapping[str, TimestepBatch]
Actions = Mapping[str, ActionBatch]

_NOBODY = np.zeros(0, np.int64)


@runtime_checkable
class HasController(Protocol):
    """An environment with a controller of its own, for behaviours whose fallback that is."""

    def control(self, timesteps: Rows) -> Actions:
        """{behaviour: actions for those of its rows that need one, in the same order}."""
        ...


class Steppable(Protocol):
    """The part of an `Environment` that is needed here."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]: ...
    def step(self, actions: Actions) -> Rows: ...


def deadline_s(behaviours: Sequence[BehaviourSpec]) -> float:
    """The shortest of their deadlines, for one Act answers them together; 0 if there is none."""
    return min((spec.deadline_ms for spec in behaviours if spec.deadline_ms), default=0) / 1000.0


def in_real_time(
    behaviours: Sequence[BehaviourSpec], *, deadline_ms: int, fallback: str
) -> Sequence[BehaviourSpec]:
    """The same behaviours with a deadline for their actions; 0 for none."""
    if not deadline_ms:
        return behaviours
    return [replace(spec, deadline_ms=deadline_ms, fallback=fallback) for spec in behaviours]


class RealTime:
    """Steps one environment, in time or not, and says what is to be sent. Owned by its loop."""

    def __init__(
        self, environment: Steppable, behaviours: Sequence[BehaviourSpec], rows: Rows
    ) -> None:
        """Begin where `rows` were sent.

        Args:
            environment: is stepped.
            behaviours: say what its fallbacks are. Those without one do nothing.
            rows: that it gave last.

        Raises:
            OptionError: a fallback is the environment's controller, and it has none.
        """
        self._specs = {spec.name: spec for spec in behaviours}
        self._environment = environment
        self._controller = environment if isinstance(environment, HasController) else None
        controlled = [spec.name for spec in behaviours if spec.fallback == "controller"]
        if controlled and self._controller is None:
            raise OptionError(
                f"behaviour '{controlled[0]}' falls back to a controller, and its environment has "
                "no method `control`; give it one, or choose the fallback last or neutral"
            )
        self._last = {
            spec.name: LastActions(spec) for spec in behaviours if spec.fallback == "last"
        }
        self._waiting: dict[str, LateRows] = {}
        self._rows = rows
        self._asked = rows
        """Those on which the trainer was asked to act: the newest when the last Step was sent."""

    def step(self, actions: Actions) -> Rows:
        """Step with the trainer's actions; returns what is to be sent."""
        rows = self._asked = self._stepped(actions)
        if not any(self._waiting.values()):
            return rows
        # What waits is of agents whose outcome may be here only now.
        self._add(rows, too_late={})
        return self.take()

    def fall_back(self) -> None:
        """The time is over: step with what acts instead."""
        self._add(self._stepped(self._fallback()), too_late=self._asked)

    def take(self) -> Rows:
        """Return what happened since the last Step. Send it once that Step's actions are here."""
        self._asked = self._rows
        return {name: rows.take() for name, rows in self._waiting.items() if rows}

    def _stepped(self, actions: Actions) -> Rows:
        for name, last in self._last.items():
            if name in actions and name in self._rows:
                last.note(self._rows[name], actions[name])
        self._rows = self._environment.step(actions)
        return self._rows

    def _add(self, rows: Rows, *, too_late: Rows) -> None:
        """Merge new rows with those that wait; the actions for the rows `too_late` were."""
        for name, each in rows.items():
            asked = too_late.get(name)
            agents = _NOBODY if asked is None else asked.agent_id[asked.needs_action]
            self._waiting.setdefault(name, LateRows()).add(each, too_late=agents)

    def _fallback(self) -> Actions:
        if self._rows.keys() - self._specs.keys():
            # Kinds of agents that came later declare no fallback of their own.
            new = {spec.name: spec for spec in self._environment.behaviours}
            self._specs = {**new, **self._specs}
        actions = {name: self._alone(name, rows) for name, rows in self._rows.items()}
        names = [name for name in self._rows if self._specs[name].fallback == "controller"]
        if names and self._controller is not None:
            actions.update(self._controller.control({name: self._rows[name] for name in names}))
        return actions

    def _alone(self, name: str, rows: TimestepBatch) -> ActionBatch:
        """The actions of the fallbacks `last` and `neutral`."""
        if name in self._last:
            return self._last[name].again(rows)
        return neutral(self._specs[name], rows)
