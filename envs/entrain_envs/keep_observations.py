"""Hides all but some numbers of a Gymnasium environment's vector observation.

An agent that does not see velocities must remember its last positions: the usual test of a policy
with memory.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from entrain_envs.errors import OptionError


class KeepObservations(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A Gymnasium wrapper. CartPole-v1 with indices 0 and 2 shows positions without velocities."""

    def __init__(self, env: gymnasium.Env[Any, Any], indices: Sequence[int]) -> None:
        """Wrap `env`.

        Args:
            env: observes a vector.
            indices: which of its numbers to show, in this order.

        Raises:
            OptionError: the observation is no vector, or does not have these numbers.
        """
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise OptionError(f"only of a vector can some numbers be kept; observed is {space}")
        self._indices = np.array(indices, np.int64)
        outside = [index for index in indices if not 0 <= index < space.shape[0]]
        if outside or len(set(indices)) < len(indices) or not indices:
            raise OptionError(
                f"cannot keep {list(indices)} of the observation's {space.shape[0]} numbers; "
                f"expected different indices from 0 to {space.shape[0] - 1}"
            )
        self.observation_space = spaces.Box(
            space.low[self._indices], space.high[self._indices], dtype=space.dtype.type
        )

    def observation(self, observation: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The numbers to show."""
        kept: npt.NDArray[Any] = observation[self._indices]
        return kept
