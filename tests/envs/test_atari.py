"""The Atari preset, on a real game."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from entrain_envs.atari import LostLifeEnds, make_atari
from entrain_envs.errors import OptionError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.timestep import ActionBatch


class Lives(gymnasium.Env[Any, Any]):
    """A game of three lives; each step costs one. It counts its games."""

    observation_space = gymnasium.spaces.Box(-1, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self) -> None:
        self.ale = self
        self.left = 3
        self.games = 0

    def lives(self) -> int:
        return self.left

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.left, self.games = 3, self.games + 1
        return np.array([self.left], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= int(action)
        return np.array([self.left], np.float32), 1.0, self.left == 0, False, {}


def test_a_lost_life_ends_an_episode_and_the_game_goes_on_until_the_last() -> None:
    game = Lives()
    env = LostLifeEnds(game)
    env.reset()
    assert env.step(0)[2] is False
    assert env.step(1)[2] is True  # two lives left
    assert env.reset()[0] == 2.0
    assert env.step(1)[2] is True
    env.reset()
    assert game.games == 1
    assert env.step(1)[2] is True  # none left
    assert env.reset()[0] == 3.0
    assert game.games == 2


def test_a_seed_begins_a_new_game() -> None:
    game = Lives()
    env = LostLifeEnds(game)
    env.reset()
    env.step(1)
    env.reset(seed=1)
    assert game.games == 2


def test_a_game_is_seen_as_four_grey_frames_whose_rewards_are_signs() -> None:
    environment = GymnasiumEnvironment(lambda: make_atari("ALE/Breakout-v5", {}), behaviour="game")
    (spec,) = environment.behaviours
    (seen,) = spec.observations
    assert (seen.shape, seen.dtype) == ((4, 84, 84), "uint8")
    batch = environment.reset(seed=1, parameters={})["game"]
    rewards, ends = set(), 0
    random = np.random.default_rng(0)
    for _ in range(600):
        actions = ActionBatch(
            continuous=np.zeros((1, 0), np.float32),
            discrete=random.integers(0, 4, (1, 1)).astype(np.int32),
            policy_version=0,
        )
        batch = environment.step({"game": actions})["game"]
        rewards.update(batch.reward.tolist())
        ends += len(batch) - 1
    environment.close()
    assert rewards == {0.0, 1.0}
    assert ends >= 5  # Breakout's five lives last for some 200 random steps


def test_what_is_no_game_is_told() -> None:
    with pytest.raises(OptionError, match=r"is no game of the Arcade .* such as ALE/Pong-v5"):
        make_atari("CartPole-v1", {})


def test_a_missing_package_is_told_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from entrain_envs.atari import make_atari\n"
        "from entrain_envs.errors import MissingExtraError\n"
        "try: make_atari('ALE/Pong-v5', {})\n"
        "except MissingExtraError as error: print(error)"
    )
    words = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install ale-py opencv-python-headless" in words.stdout
