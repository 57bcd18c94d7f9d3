"""A game of one's own: a cart is pushed along a track, and is to be kept in the middle.

Gymnasium's interface is the least that a game must have; entrain-env does the rest.
"""

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

Observation = npt.NDArray[np.float32]

TRACK = 2.0
"""From the middle to either end, in metres."""

STEP_S = 0.1


class Cart(gymnasium.Env[Observation, npt.NDArray[np.float32]]):
    """It rolls with little friction; at an end of the track the episode is over."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float32)
    """Place and speed."""

    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    """Push."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin somewhere near the middle."""
        super().reset(seed=seed, options=options)
        self._state = self.np_random.uniform(-1.0, 1.0, 2)
        return self._state.astype(np.float32), {}

    def step(
        self, action: npt.NDArray[np.float32]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Push, and roll on for a tenth of a second."""
        place, speed = self._state
        speed = 0.98 * speed + 2.0 * STEP_S * float(np.clip(action[0], -1.0, 1.0))
        place = place + STEP_S * speed
        self._state = np.array([place, speed])
        is_off = bool(abs(place) > TRACK)
        reward = -10.0 if is_off else 1.0 - abs(float(place))
        return self._state.astype(np.float32), reward, is_off, False, {}


gymnasium.register("Cart-v0", entry_point="cart:Cart", max_episode_steps=200)
