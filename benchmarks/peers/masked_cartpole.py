"""CartPole-v1 without velocities, and what the peers with memory have in common."""

from typing import Any

import gymnasium

MINIBATCH = 512
LSTM_SIZE = 128
SEQUENCE_LENGTH = 16
"""Of rl_games, as of entrain; sb3-contrib unrolls each episode's part of a minibatch whole."""


def cartpole_without_velocities() -> gymnasium.Env[Any, Any]:
    """CartPole-v1 that shows where cart and pole are, but not how fast they move."""
    env = gymnasium.make("CartPole-v1")
    space = env.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    shown = [0, 2]
    return gymnasium.wrappers.TransformObservation(
        env,
        lambda observation: observation[shown],
        gymnasium.spaces.Box(space.low[shown], space.high[shown]),
    )
