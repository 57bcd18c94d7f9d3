"""Cue memory: a sign at the entrance says which door to take at the end of a corridor.

N corridors with one agent each, computed together. The corridor shows signs too, which look the
same and mean nothing. Its length differs between episodes. The doors look alike, so a policy
without memory can only guess.

    observations  sign [cues] one-hot, zeros where there is none
                  place [3] one-hot: entrance, corridor, doors
    actions       1 of `cues` doors; without effect before the doors
    reward        1 for the door that the sign at the entrance named, else 0
    terminated    by the choice of a door: the mean return is the share of right doors
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    ActionBatch,
    BoolArray,
    Int32Array,
    Int64Array,
    StepType,
    TimestepBatch,
)

_FIRST, _MID, _TERMINATED = int(StepType.FIRST), int(StepType.MID), int(StepType.TERMINATED)
_ENTRANCE, _CORRIDOR, _DOORS = range(3)
_NO_SIGN = -1


@dataclass(frozen=True)
class Settings:
    """Numbers that environment parameters may change, from an agent's next episode on."""

    shortest: int = 4
    """Fewest steps in the corridor: how long the sign must be remembered."""

    longest: int = 12
    """Most steps in the corridor."""

    distraction: float = 1.0
    """Probability that a step in the corridor shows a meaningless sign."""

    def __post_init__(self) -> None:
        if not 0 <= self.shortest <= self.longest:
            raise OptionError(
                f"environment parameters shortest and longest are {self.shortest} and "
                f"{self.longest}; they must be in order, and at least 0"
            )
        if not 0.0 <= self.distraction <= 1.0:
            raise OptionError(
                f"environment parameter distraction is {self.distraction:g}; "
                "it must be between 0 and 1"
            )

    @classmethod
    def of(cls, parameters: Mapping[str, float]) -> "Settings":
        """The settings in `parameters`; other names are ignored."""
        return cls(
            shortest=_whole("shortest", parameters.get("shortest", cls.shortest)),
            longest=_whole("longest", parameters.get("longest", cls.longest)),
            distraction=parameters.get("distraction", cls.distraction),
        )


def _whole(name: str, value: float) -> int:
    if not float(value).is_integer():
        raise OptionError(f"environment parameter {name} is {value:g}; it must be a whole number")
    return int(value)


class CueMemory:
    """N corridors, as an `environment.Environment`. Agent i walks corridor i."""

    def __init__(self, *, count: int = 32, cues: int = 4, behaviour: str = "walker") -> None:
        """Prepare `count` corridors with `cues` doors each; `reset` puts agents at the entrances.

        Args:
            count: how many corridors.
            cues: how many doors, with a sign each; a guess is right once in this many times.
            behaviour: name of the behaviour.
        """
        if count < 1:
            raise OptionError(f"count is {count}; it must be at least 1")
        if cues < 2:
            raise OptionError(f"cues is {cues}; it must be at least 2, or there is no choice")
        self._spec = BehaviourSpec(
            behaviour,
            (ObservationSpec("sign", (cues,)), ObservationSpec("place", (3,))),
            ActionSpec(branches=(cues,)),
        )
        self._count = count
        self._cues = cues
        self._generator = np.random.default_rng(0)
        self._settings = Settings()
        self._cue = np.zeros(count, np.int64)
        """The door that each corridor's first sign names."""
        self._sign = np.zeros(count, np.int64)
        """The sign that each agent sees."""
        self._distraction = np.zeros(count)
        self._to_doors = np.zeros(count, np.int64)
        """Steps from here to the doors; 0 at them."""
        self._place = np.zeros(count, np.int64)
        # Agents in the order of the last message's rows that needed an action.
        self._acting = np.arange(count)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The one behaviour of all corridors."""
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Use these settings for episodes that begin from now on."""
        self._settings = Settings.of(parameters)

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Put every agent at the entrance of a new corridor."""
        self._generator = np.random.default_rng(seed)
        self.set_parameters(parameters)
        everyone = np.arange(self._count)
        self._enter(everyone)
        self._acting = everyone
        return {self._spec.name: self._rows(everyone, _FIRST, 0.0, self._seen(everyone))}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Move every agent on. Those at the doors go through one and enter a new corridor."""
        door = self._chosen(actions[self._spec.name].discrete)
        chose = self._to_doors == 0
        reward = chose & (door == self._cue)
        self._walk(~chose)
        everyone, begun = np.arange(self._count), np.flatnonzero(chose)
        outcome = self._seen(everyone)
        self._enter(begun)
        self._acting = np.concatenate((np.flatnonzero(~chose), begun))
        return {
            self._spec.name: self._rows(
                np.concatenate((everyone, begun)),
                np.concatenate((np.where(chose, _TERMINATED, _MID), np.full(len(begun), _FIRST))),
                np.concatenate((reward, np.zeros(len(begun)))),
                np.concatenate((outcome, self._seen(begun))),
            )
        }

    def close(self) -> None:
        """Nothing to release."""

    def _chosen(self, discrete: Int32Array) -> Int64Array:
        """[N] the door of each agent, from rows in the order of `_acting`."""
        if discrete.shape != (self._count, 1):
            raise SpecError(
                f"behaviour '{self._spec.name}' was given actions {list(discrete.shape)}; "
                f"expected {[self._count, 1]}"
            )
        door = np.empty(self._count, np.int64)
        door[self._acting] = discrete[:, 0]
        return door

    def _enter(self, agents: Int64Array) -> None:
        """Begin an episode for these agents, with the current settings."""
        settings = self._settings
        self._cue[agents] = self._generator.integers(self._cues, size=len(agents))
        self._sign[agents] = self._cue[agents]
        self._place[agents] = _ENTRANCE
        steps = self._generator.integers(
            settings.shortest, settings.longest, size=len(agents), endpoint=True
        )
        # One more step leads from the last place in the corridor to the doors.
        self._to_doors[agents] = steps + 1
        self._distraction[agents] = settings.distraction

    def _walk(self, moving: BoolArray) -> None:
        """Move the agents where `moving` [N] is true: those that are not at the doors."""
        # Drawn for all agents, so that what one sees does not depend on others' episodes.
        sign = self._generator.integers(self._cues, size=self._count)
        seen = self._generator.random(self._count) < self._distraction
        self._to_doors -= moving
        arrived = self._to_doors == 0
        self._place[moving] = np.where(arrived, _DOORS, _CORRIDOR)[moving]
        self._sign[moving] = np.where(seen & ~arrived, sign, _NO_SIGN)[moving]

    def _seen(self, agents: Int64Array) -> Int64Array:
        """[agents, 2] the sign and the place that these agents see."""
        return np.stack((self._sign[agents], self._place[agents]), axis=1)

    def _rows(
        self, agents: Int64Array, step_type: npt.ArrayLike, reward: npt.ArrayLike, seen: Int64Array
    ) -> TimestepBatch:
        return TimestepBatch.of(
            self._spec,
            agent_id=agents,
            step_type=step_type,
            reward=reward,
            observation={
                "sign": seen[:, :1] == np.arange(self._cues),
                "place": seen[:, 1:] == np.arange(3),
            },
        )
