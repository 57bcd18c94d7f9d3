"""Collects timesteps row by row into a batch, for environments that step one by one.

This module does not know Gymnasium or PettingZoo. Simulators that already have arrays do not need
it.
"""

from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import numpy as np

from entrain_envs.errors import SpecError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, TimestepBatch

WriteObservation = Callable[[Mapping[str, Array], int, Any], None]
"""Writes an environment's observation into one row of zeroed {name: [rows, *shape]}."""


class TimestepRows:
    """The rows of one behaviour in one message. Fill it once, then make a `TimestepBatch`."""

    def __init__(self, spec: BehaviourSpec, write: WriteObservation, *, capacity: int) -> None:
        """Make room for `capacity` rows. More rows than that cost a copy."""
        self._spec = spec
        self._write = write
        self._agent_id: list[int] = []
        self._step_type: list[int] = []
        self._reward: list[SupportsFloat] = []
        self._observation: dict[str, Array] = {
            observation.name: np.zeros((capacity, *observation.shape), observation.numpy_dtype)
            for observation in spec.observations
        }
        self._action_mask = np.ones((capacity, spec.action.num_choices), np.bool_)

    def __len__(self) -> int:
        return len(self._agent_id)

    def add(
        self, agent_id: int, step_type: int, reward: SupportsFloat, observation: Any, mask: Any
    ) -> None:
        """Append a row. `mask` comes from the environment; None allows everything."""
        row = len(self._agent_id)
        if row == len(self._action_mask):
            self._grow()
        try:
            self._write(self._observation, row, observation)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise SpecError(
                f"agent {agent_id} of behaviour '{self._spec.name}' returned an observation that "
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
        return TimestepBatch(
            agent_id=np.array(self._agent_id, np.int64),
            step_type=np.array(self._step_type, np.uint8),
            reward=np.array(self._reward, np.float32),
            observation={name: values[:rows] for name, values in self._observation.items()},
            action_mask=self._action_mask[:rows],
        )

    def _flat(self, mask: Any, agent_id: int) -> Array:
        """The mask as [num_choices], from one array or a tuple of one per branch."""
        parts = mask if isinstance(mask, tuple) else (mask,)
        flat = np.concatenate([np.ravel(part) for part in parts])
        if len(flat) != self._spec.action.num_choices:
            raise SpecError(
                f"agent {agent_id} of behaviour '{self._spec.name}' returned an action mask of "
                f"{len(flat)} numbers; expected {self._spec.action.num_choices}, one per choice of "
                f"branches {list(self._spec.action.branches)}"
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
