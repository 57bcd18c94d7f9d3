"""A policy in a Gymnasium environment: observations and actions as the environment has them."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from entrain.app.run_policy import Policy
from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError, PolicyInputError
from entrain.policy.actor_critic import ActorCritic
from entrain.run.checkpoint import Loaded
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment


class World(gymnasium.Env[Any, Any]):
    """Has these spaces."""

    def __init__(self, observed: spaces.Space[Any], acted: spaces.Space[Any]) -> None:
        self.observation_space = observed
        self.action_space = acted


class Masked(World):
    """Says itself what is allowed."""

    def action_masks(self) -> Any:
        return np.array([False, True, False])


def policy_of(world: World) -> Policy:
    """A policy of random weights, as if it had learned in copies of that world."""
    (spec,) = GymnasiumEnvironment(lambda: world, behaviour="walker").behaviours
    config = PolicyConfig.model_validate({"network": {"hidden_sizes": [8]}})
    restored = Loaded({}, 7, Path("checkpoints/0001-step-7"), ())
    made = ActorCritic(spec, config, seed=3)
    return Policy(made, restored, deterministic=False, seed=5)


@pytest.mark.parametrize(
    "acted",
    [
        spaces.Discrete(3, start=5),
        spaces.MultiDiscrete([2, 4]),
        spaces.Box(-2.0, 2.0, (2, 1), np.float64),
        spaces.Tuple((spaces.Discrete(2), spaces.Box(-1.0, 1.0, (3,)))),
    ],
)
def test_actions_are_of_the_environment_s_space(acted: spaces.Space[Any]) -> None:
    world = World(spaces.Box(-1.0, 1.0, (2,)), acted)
    act = policy_of(world).acting_in(world)
    for _ in range(10):
        assert acted.contains(act(np.array([0.5, -0.5], np.float32)))


def test_an_observation_is_what_its_simulators_made_of_it() -> None:
    world = World(
        spaces.Dict({"room": spaces.Discrete(4, start=1), "speed": spaces.Box(-1.0, 1.0, (2,))}),
        spaces.Box(-1.0, 1.0, (1,)),
    )
    shown = {"room": np.eye(4)[2], "speed": np.array([0.1, 0.2])}
    seen = {"room": 3, "speed": np.array([0.1, 0.2], np.float32)}
    policy = policy_of(world)
    assert policy.acting_in(world)(seen, first=True) == policy_of(world).act(shown)


def test_masks_are_found_where_simulators_find_them_or_given() -> None:
    choices = spaces.Discrete(3)
    itself = Masked(spaces.Box(-1.0, 1.0, (2,)), choices)
    act = policy_of(itself).acting_in(itself)
    assert {act(np.zeros(2)) for _ in range(20)} == {1}
    assert {act(np.zeros(2), mask=[1, 0, 0]) for _ in range(20)} == {0}
    seen = {"eyes": spaces.Box(-1.0, 1.0, (2,)), "action_mask": spaces.MultiBinary(3)}
    beside = World(spaces.Dict(seen), choices)
    act = policy_of(beside).acting_in(beside)
    row = {"eyes": np.zeros(2), "action_mask": np.array([0, 0, 1], np.int8)}
    assert {act(row) for _ in range(20)} == {2}


def test_another_environment_is_refused_with_what_is_different() -> None:
    policy = policy_of(World(spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3)))
    words = r"has other spaces than the ones it learned in: .*float32\[3\] and was float32\[2\]"
    with pytest.raises(ConfigError, match=words):
        policy.acting_in(World(spaces.Box(-1.0, 1.0, (3,)), spaces.Discrete(3)))
    with pytest.raises(ConfigError, match="supported are Box of floats"):
        policy.acting_in(World(spaces.Box(-1.0, 1.0, (2,)), spaces.Text(5)))


def test_an_observation_of_another_space_is_refused() -> None:
    world = World(spaces.Discrete(4), spaces.Discrete(3))
    act = policy_of(world).acting_in(world)
    for wrong in (4, None, np.zeros((2, 2))):
        with pytest.raises(PolicyInputError, match="none of the environment's space"):
            act(wrong)
