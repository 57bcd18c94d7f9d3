"""Ten tasks of different kinds as Gymnasium environments, to be learned with default options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.simulators.cue_memory import CueMemory
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

GymnasiumEnv = gymnasium.Env[Any, Any]


@dataclass(frozen=True)
class Task:
    """A task, and how many steps of it are learned from."""

    make: Callable[[], GymnasiumEnv]
    total_steps: int

    options: Sequence[str] = ()
    """Options that the task cannot do without, such as memory where something must be remembered.
    Everything else is a default."""

    peer_class: str = "PPO"
    peer_policy: str = "MlpPolicy"

    good: float | None = None
    """Mean return that must be exceeded, where it is known that the peer's defaults fail."""


class BrighterHalf(GymnasiumEnv):
    """Four stacked frames; the brighter half names the right one of two actions.

    A return of 50 is perfect, 25 is chance.
    """

    observation_space = spaces.Box(0, 255, (84, 84, 4), np.uint8)
    action_space = spaces.Discrete(2)

    def __init__(self) -> None:
        self._frames = np.random.default_rng(0).integers(0, 120, (64, 84, 84, 4)).astype(np.uint8)
        self._right = 0
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of 50 pictures."""
        super().reset(seed=seed, options=options)
        self._steps = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Reward 1 for the brighter half."""
        reward = float(int(action) == self._right)
        self._steps += 1
        return self._picture(), reward, False, self._steps >= 50, {}

    def _picture(self) -> Any:
        self._right = int(self.np_random.integers(2))
        picture = self._frames[int(self.np_random.integers(64))].copy()
        half = slice(0, 42) if self._right == 0 else slice(42, 84)
        picture[:, half] += 120
        return picture


class OneAgent(GymnasiumEnv):
    """One agent of a bundled simulator as a Gymnasium environment; vectors are concatenated."""

    def __init__(self, environment: Environment) -> None:
        """Wrap an environment of one agent."""
        self._environment = environment
        (self._spec,) = environment.behaviours
        size = sum(int(np.prod(spec.shape)) for spec in self._spec.observations)
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        action = self._spec.action
        self._is_discrete = bool(action.branches)
        self.action_space = (
            spaces.Discrete(action.branches[0])
            if self._is_discrete
            else spaces.Box(np.array(action.low, np.float32), np.array(action.high, np.float32))
        )
        self._next: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The next episode; with a seed, everything anew."""
        super().reset(seed=seed, options=options)
        if seed is not None or self._next is None:
            batches = self._environment.reset(seed=seed or 0, parameters={})
            self._next = self._row(batches[self._spec.name], 0)
        return self._next, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; the episode that follows an end is kept for `reset`."""
        continuous = np.zeros((1, 0)) if self._is_discrete else np.reshape(action, (1, -1))
        discrete = np.reshape(action, (1, 1)) if self._is_discrete else np.zeros((1, 0))
        actions = ActionBatch(
            continuous=continuous.astype(np.float32),
            discrete=discrete.astype(np.int32),
            policy_version=0,
        )
        batch = self._environment.step({self._spec.name: actions})[self._spec.name]
        kind = int(batch.step_type[0])
        terminated, truncated = kind == StepType.TERMINATED, kind == StepType.TRUNCATED
        if terminated or truncated:
            self._next = self._row(batch, 1)
        return self._row(batch, 0), float(batch.reward[0]), terminated, truncated, {}

    @staticmethod
    def _row(batch: TimestepBatch, row: int) -> Any:
        parts = [values[row].ravel() for values in batch.observation.values()]
        return np.concatenate(parts, dtype=np.float32)


def _named(env_id: str) -> Callable[[], GymnasiumEnv]:
    return lambda: gymnasium.make(env_id, disable_env_checker=True)


TASKS: Mapping[str, Task] = {
    "CartPole-v1": Task(_named("CartPole-v1"), 50_000),
    "Acrobot-v1": Task(_named("Acrobot-v1"), 60_000),
    "Pendulum-v1": Task(_named("Pendulum-v1"), 100_000, good=-300.0),
    "MountainCarContinuous-v0": Task(_named("MountainCarContinuous-v0"), 60_000),
    "LunarLander-v3": Task(_named("LunarLander-v3"), 100_000),
    "BipedalWalker-v3": Task(_named("BipedalWalker-v3"), 100_000),
    "Hopper-v5": Task(_named("Hopper-v5"), 100_000),
    "brighter_half": Task(BrighterHalf, 12_288, peer_policy="CnnPolicy"),
    "cue_memory": Task(
        lambda: OneAgent(CueMemory(count=1)),
        50_000,
        ("network.memory.kind=lstm",),
        peer_class="RecurrentPPO",
        peer_policy="MlpLstmPolicy",
    ),
    "balance_ball": Task(lambda: OneAgent(BalanceBall(count=1)), 60_000),
}
