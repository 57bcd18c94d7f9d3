"""Reads rewards as environments give them: one finite number each, or a line with the remedy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entrain_envs.errors import SpecError
from entrain_envs.faults import is_number, quoted, several_agents
from entrain_envs.timestep import Float32Array

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that float32 holds."""

_WRAPPER = "gymnasium.wrappers.TransformReward(env, lambda reward: {})"


def read_rewards(rewards: Sequence[Any], who: Callable[[int], str]) -> Float32Array:
    """Rewards as [rows] float32, whatever kind of number each is.

    Args:
        rewards: one for each row.
        who: names the agent of a row, for messages.

    Raises:
        SpecError: one of them is no number, not finite, or too large for float32.
    """
    numbers = [one_number(reward, who(row)) for row, reward in enumerate(rewards)]
    return np.array(numbers, np.float32)


def one_number(reward: Any, who: str) -> float:
    """A reward as a number; SpecError, which begins with `who`, if it is no finite one."""
    if not is_number(reward):
        raise SpecError(f"{who} got the reward {quoted(reward)}{_remedy(reward)}")
    number = float(np.asarray(reward).reshape(-1)[0])
    if not np.isfinite(number):
        raise SpecError(
            f"{who} got the reward {number}; it must be a finite number: find where the "
            "environment divides by zero or takes the logarithm of zero"
        )
    if abs(number) > LARGEST:
        raise SpecError(
            f"{who} got the reward {number:g}, which is finite but more than float32 holds "
            f"({LARGEST:.2g}): scale it, as with "
            f"{_WRAPPER.format(f'reward * {1.0 / abs(number):.0e}')}"
        )
    return number


def _remedy(reward: Any) -> str:
    if reward is None:
        return "; expected one number: is a `return` missing?"
    if isinstance(reward, str | bytes):
        return "; expected one number"
    remedy = (
        f"; expected one number: add them up with {_WRAPPER.format('float(np.sum(reward))')}, or "
        "weigh several objectives with mo_gymnasium.wrappers.LinearReward"
    )
    return remedy + several_agents(reward)
