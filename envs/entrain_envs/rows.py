"""Collects timesteps row by row into a batch, for environments that step one by one.

This module does not know Gymnasium or PettingZoo. Simulators that already have arrays do not need
it.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from entrain_envs.errors import SpecError
from entrain_envs.faults import quoted
from entrain_envs.precision import Precision
from entrain_envs.rewards import LARGEST, read_rewards
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, Float32Array, TimestepBatch

WriteObservation = Callable[[Mapping[str, Array], int, Any], None]
"""Writes an environment's observation into one row of zeroed {name: [rows, *shape]}."""

FlattenMask = Callable[[Any], Array]
"""Turns a mask, as its environment gives it, into one flat array."""

_FLOAT32 = np.dtype(np.float32)
_NUMBER = (float, int, np.number)


def flat_mask(mask: Any) -> Array:
    """A mask as one flat array, from one array or one for each branch."""
    if isinstance(mask, Mapping):
        mask = list(mask.values())
    if isinstance(mask, list | tuple):
        return np.concatenate([np.zeros(0, np.bool_), *(flat_mask(part) for part in mask)])
    return np.ravel(mask)


class TimestepRows:
    """The rows of one behaviour in one message. Fill it once, then make a `TimestepBatch`."""

    def __init__(
        self,
        spec: BehaviourSpec,
        write: WriteObservation,
        *,
        capacity: int,
        precision: Precision | None = None,
        flatten: FlattenMask = flat_mask,
        name_of: Callable[[int], str] = str,
    ) -> None:
        """Make room for `capacity` rows. More rows than that cost a copy.

        Args:
            spec: of the behaviour.
            write: puts an observation into a row.
            capacity: for how many rows there is room.
            precision: what is subtracted before observations are rounded to float32.
            flatten: makes a mask of the environment flat.
            name_of: an agent's name in messages, by its id.
        """
        self._spec = spec
        self._write = write
        self._precision = precision or Precision(spec.observations, (), where=f"'{spec.name}'")
        self._flatten = flatten
        self._name_of = name_of
        self._agent_id: list[int] = []
        self._step_type: list[int] = []
        self._reward: list[Any] = []
        dtypes = self._precision.dtype
        self._observation: dict[str, Array] = {
            observation.name: np.zeros((capacity, *observation.shape), dtypes[observation.name])
            for observation in spec.observations
        }
        self._action_mask = np.ones((capacity, spec.action.num_choices), np.bool_)

    def __len__(self) -> int:
        return len(self._agent_id)

    def add(self, agent_id: int, step_type: int, reward: Any, observation: Any, mask: Any) -> None:
        """Append a row. `mask` comes from the environment; None allows everything."""
        row = len(self._agent_id)
        if row == len(self._action_mask):
            self._grow()
        try:
            self._write(self._observation, row, observation)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise SpecError(
                f"{self._who(agent_id)} returned an observation that "
                f"does not fit its space ({error}); expected "
                f"{', '.join(str(spec) for spec in self._spec.observations)}"
            ) from error
        if mask is not None and self._spec.action.branches:
            self._action_mask[row] = self._flat(mask, agent_id)
        self._agent_id.append(agent_id)
        self._step_type.append(step_type)
        self._reward.append(reward)

    def batch(self) -> TimestepBatch:
        """All rows so far."""
        rows = len(self._agent_id)
        precision = self._precision
        observation = {name: values[:rows] for name, values in self._observation.items()}
        for name, origin in precision.origin.items():
            observation[name] = np.subtract(observation[name], origin)
        if precision.is_watching:
            precision.watch(observation)
        exact = observation.copy()
        try:
            with np.errstate(over="raise"):
                for name in precision.exact:
                    observation[name] = exact[name].astype(_FLOAT32)
                reward = self._rewards()
        except FloatingPointError:
            raise self._overflow(exact) from None
        return TimestepBatch(
            agent_id=np.array(self._agent_id, np.int64),
            step_type=np.array(self._step_type, np.uint8),
            reward=reward,
            observation=observation,
            action_mask=self._action_mask[:rows],
        )

    def _rewards(self) -> Float32Array:
        """[rows] rewards; SpecError if one is no finite number."""
        try:
            # An array among them makes this an array, and what is no number raises.
            total = sum(self._reward)
            if isinstance(total, _NUMBER) and math.isfinite(total):
                return np.array(self._reward, _FLOAT32)
        except (TypeError, ValueError, FloatingPointError):
            pass
        return read_rewards(self._reward, lambda row: self._who(self._agent_id[row]))

    def _overflow(self, observation: Mapping[str, Array]) -> SpecError:
        """The error for finite numbers that float32 cannot hold."""
        for name, values in observation.items():
            large = np.isfinite(values) & (np.abs(values) > LARGEST)
            if name in self._precision.exact and large.any():
                row, *index = np.argwhere(large)[0].tolist()
                number = values[(row, *index)]
                return SpecError(
                    f"{self._who(self._agent_id[row])} observed {number:g} in '{name}'{index}, "
                    f"which is finite but more than float32 holds ({LARGEST:.2g}): scale it, as "
                    "with gymnasium.wrappers.TransformObservation"
                )
        return SpecError(f"behaviour '{self._spec.name}' holds numbers that float32 cannot hold")

    def _who(self, agent_id: int) -> str:
        return f"agent {self._name_of(agent_id)} of behaviour '{self._spec.name}'"

    def _flat(self, mask: Any, agent_id: int) -> Array:
        """The mask as [num_choices] of zeros and ones; SpecError if it is no such thing."""
        expected = (
            f"expected {self._spec.action.num_choices}, one per choice of branches "
            f"{list(self._spec.action.branches)}: 1 where it is allowed, 0 where it is not"
        )
        try:
            flat = self._flatten(mask)
        except (TypeError, ValueError, KeyError):
            raise SpecError(
                f"{self._who(agent_id)} returned an action mask that is no array ({quoted(mask)}); "
                f"{expected}"
            ) from None
        if len(flat) != self._spec.action.num_choices:
            raise SpecError(
                f"{self._who(agent_id)} returned an action mask of {len(flat)} numbers; {expected}"
            )
        if flat.dtype != np.bool_ and not ((flat == 0) | (flat == 1)).all():
            raise SpecError(
                f"{self._who(agent_id)} returned an action mask that holds other numbers than 0 "
                f"and 1 ({quoted(flat)}); {expected}"
            )
        return flat

    def _grow(self) -> None:
        room = max(1, len(self._action_mask))
        for name, values in self._observation.items():
            self._observation[name] = np.concatenate(
                (values, np.zeros_like(values, shape=(room, *values.shape[1:])))
            )
        self._action_mask = np.concatenate(
            (self._action_mask, np.ones((room, self._action_mask.shape[1]), np.bool_))
        )
