"""Environments that drift at random, by their actions, and now and then end: for equal runs."""

import os
import signal
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Drifting(gymnasium.Env[Any, Any]):
    """A number that drifts at random, by its action, and now and then out of sight."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Discrete(3)

    def _seen(self) -> tuple[Any, dict[str, Any]]:
        return np.array([self.place, self.pull]), {"place": self.place}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.pull = (options or {}).get("pull", 0.0)
        self.place = float(self.np_random.normal())
        self.left = int(self.np_random.integers(1, 9))
        return self._seen()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place += float(self.np_random.normal()) + self.pull + int(action)
        self.left -= 1
        observation, info = self._seen()
        return observation, self.place, abs(self.place) > 3.0, self.left == 0, info


class Pair:
    """Two agents that drift, each until it is out of sight; of PettingZoo's parallel form."""

    possible_agents = ("cat_0", "dog_0")

    def __init__(self) -> None:
        self._worlds = {agent: Drifting() for agent in self.possible_agents}
        self.agents: list[str] = []

    def observation_space(self, _agent: str) -> Any:
        return Drifting.observation_space

    def action_space(self, _agent: str) -> Any:
        return Drifting.action_space

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.agents = list(self.possible_agents)
        started = {
            agent: world.reset(seed=None if seed is None else seed + index, options=options)
            for index, (agent, world) in enumerate(self._worlds.items())
        }
        seen, told = ({agent: each[part] for agent, each in started.items()} for part in (0, 1))
        return seen, told

    def step(self, actions: Mapping[str, Any]) -> tuple[Any, ...]:
        outcomes = {agent: self._worlds[agent].step(action) for agent, action in actions.items()}
        self.agents = [
            agent for agent in self.agents if not (outcomes[agent][2] or outcomes[agent][3])
        ]
        return tuple({agent: each[part] for agent, each in outcomes.items()} for part in range(5))

    def close(self) -> None:
        pass


class Falling(Drifting):
    """Ends its process, or raises, after some steps."""

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises
        self._steps = 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == 3 and self._raises:
            raise KeyError("torque")
        if self._steps == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


for _name, _class in (("Drifting-v0", "Drifting"), ("Falling-v0", "Falling")):
    if _name not in gymnasium.registry:
        gymnasium.register(_name, entry_point=f"{__name__}:{_class}")
