"""How large rewards and observations may be: one number that is far too large ends all learning."""

import math
from dataclasses import dataclass

import numpy as np

from entrain_envs.errors import SpecError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, TimestepBatch

_LARGEST_SQUARE = 3e38
"""Squares of numbers that float32 holds may be larger than float32 can be."""


@dataclass(frozen=True, kw_only=True)
class Magnitudes:
    """The largest distances from zero that are taken, at least 1. Infinite: any finite number."""

    reward: float = math.inf
    observation: float = math.inf

    @property
    def reward_square(self) -> float:
        """Rewards whose squares add up to no more need no further look; finite."""
        return _square(self.reward)

    @property
    def observation_square(self) -> float:
        """Likewise, of float32 observations."""
        return _square(self.observation)

    def check(self, spec: BehaviourSpec, timesteps: TimestepBatch) -> None:
        """Raise SpecError, with the agent and the remedy, if a number is too large.

        Args:
            spec: of the behaviour.
            timesteps: of it; every number finite.
        """
        rewards = {"reward": timesteps.reward, "group_reward": timesteps.group_reward}
        for name, values in rewards.items():
            found = None if values is None else _first_beyond(values, self.reward)
            if found is not None:
                raise SpecError(
                    f"behaviour '{spec.name}', {name}, {_at(found, timesteps, self.reward)}; find "
                    "what makes it so large; if it is meant, use a larger unit in the simulator, "
                    "or raise server.max_reward of the trainer and set normalize_rewards of the "
                    "policy"
                )
        for observation in spec.observations:
            if observation.dtype == "uint8":
                continue
            found = _first_beyond(timesteps.observation[observation.name], self.observation)
            if found is not None:
                raise SpecError(
                    f"behaviour '{spec.name}', observation '{observation.name}', "
                    f"{_at(found, timesteps, self.observation)}; find what makes it so large; a "
                    "number that stands for 'nothing' or 'very far' should be near the others; if "
                    "it is meant, use a larger unit, or raise server.max_observation of the trainer"
                )


def _square(most: float) -> float:
    return min(most * most, _LARGEST_SQUARE)


def _first_beyond(values: Array, most: float) -> tuple[int, float] | None:
    """Row and value of the first number that is further than `most` from zero."""
    numbers = values.reshape(-1)
    with np.errstate(over="ignore"):
        # Usually this one pass, which copies nothing, is enough.
        if numbers.dot(numbers) <= _square(most):
            return None
    too_large = np.abs(numbers.astype(np.float64)) > most
    if not too_large.any():
        return None
    at = int(too_large.argmax())
    return at // (len(numbers) // len(values)), float(numbers[at])


def _at(found: tuple[int, float], timesteps: TimestepBatch, most: float) -> str:
    row, number = found
    return (
        f"row {row} (agent {timesteps.agent_id[row]}) holds {number:g}; this trainer takes numbers "
        f"from {-most:g} to {most:g}"
    )
