"""Atari games as the field trains them: `entrain-env gymnasium ALE/Pong-v5 --preset atari`.

From the outside in: signs of rewards, four frames stacked, FIRE pressed at the start, a lost life
ends an episode, and Gymnasium's AtariPreprocessing (up to 30 idle steps at the start, each action
for 4 frames of which the last two are joined, grey, 84 x 84). Sources: Mnih et al. 2015 (DQN,
doi:10.1038/nature14236); Machado et al. 2018 (arXiv:1709.06009).
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from entrain_envs.errors import MissingExtraError, OptionError

FRAMES_STACKED = 4

GymnasiumEnv = gymnasium.Env[Any, Any]


class LostLifeEnds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A lost life terminates the episode; `reset` goes on with the next life while there is one.

    So the critic learns that a life is worth something, and still every part of the game is seen.
    """

    def __init__(self, env: GymnasiumEnv) -> None:
        """Wrap a game of the Arcade Learning Environment."""
        super().__init__(env)
        self._lives = 0
        self._is_over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The next life, or a new game if that was the last one or a seed is given."""
        if self._is_over or seed is not None:
            outcome = self.env.reset(seed=seed, options=options)
        else:
            observation, _, terminated, truncated, extra = self.env.step(0)
            outcome = observation, extra
            if terminated or truncated:
                outcome = self.env.reset(options=options)
        self._is_over = False
        self._lives = _lives(self.env)
        return outcome

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step; terminated if a life was lost."""
        observation, reward, terminated, truncated, extra = self.env.step(action)
        self._is_over = terminated or truncated
        lives = _lives(self.env)
        lost = 0 < lives < self._lives
        self._lives = lives
        return observation, reward, terminated or lost, truncated, extra


class FireAtStart(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Presses FIRE after each reset, for games that wait for it."""

    def __init__(self, env: GymnasiumEnv, *, fire: int) -> None:
        """Press the action `fire`."""
        super().__init__(env)
        self._fire = fire

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin, and fire."""
        self.env.reset(seed=seed, options=options)
        observation, _, terminated, truncated, extra = self.env.step(self._fire)
        if terminated or truncated:
            return self.env.reset(options=options)
        return observation, extra


def make_atari(env_id: str, arguments: Mapping[str, Any]) -> GymnasiumEnv:
    """A game with everything around it.

    Raises:
        MissingExtraError: ale-py or opencv is not installed.
        OptionError: it is no game of the Arcade Learning Environment.
    """
    try:
        import ale_py  # noqa: PLC0415
        import cv2  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingExtraError(
            f"--preset atari needs {error.name}, which is not installed; install both with: "
            "pip install ale-py opencv-python-headless (the extra entrain-envs[atari])"
        ) from error
    from entrain_envs.gymnasium_adapter import make  # noqa: PLC0415

    gymnasium.register_envs(ale_py)
    registered = gymnasium.registry.get(env_id.rpartition(":")[2])
    if registered is not None and "ale_py" not in str(registered.entry_point):
        raise OptionError(
            f"--preset atari: '{env_id}' is no game of the Arcade Learning Environment; those are "
            "called ALE/NAME-v5, such as ALE/Pong-v5"
        )
    # The preprocessing repeats actions itself.
    return preprocessed(make(env_id, {"frameskip": 1, **arguments}))


def preprocessed(game: GymnasiumEnv) -> GymnasiumEnv:
    """The wrappers of the preset around a game without frame skip."""
    env: GymnasiumEnv = wrappers.AtariPreprocessing(game, noop_max=30, frame_skip=4, screen_size=84)
    env = LostLifeEnds(env)
    meanings = list(game.unwrapped.get_action_meanings())  # type: ignore[attr-defined]
    if "FIRE" in meanings:
        env = FireAtStart(env, fire=meanings.index("FIRE"))
    env = wrappers.FrameStackObservation(env, FRAMES_STACKED)
    return wrappers.TransformReward(env, lambda reward: float(np.sign(float(reward))))


def _lives(env: GymnasiumEnv) -> int:
    lives: int = env.unwrapped.ale.lives()  # type: ignore[attr-defined]
    return lives
