"""PettingZoo's tic-tac-toe, which imports pygame only to draw, and a game that can be reckoned."""

import importlib
import importlib.util
import sys
import types
from typing import Any

import gymnasium
import numpy as np
from pettingzoo import AECEnv

TICTACTOE = "pettingzoo.classic.tictactoe.tictactoe"
PLACE = gymnasium.spaces.Box(-100.0, 100.0, (1,), np.float32)


def tictactoe() -> Any:
    """PettingZoo's module, also where pygame is not installed."""
    if "pygame" not in sys.modules and importlib.util.find_spec("pygame") is None:
        sys.modules["pygame"] = types.ModuleType("pygame")
    # Not by way of tictactoe_v3, which warns that its name will be replaced by a registry.
    return importlib.import_module(TICTACTOE)


class Countdown(AECEnv[str, Any, Any]):  # type: ignore[misc]
    """Agents take turns. Each turn pays its agent 1 and the others -0.5, and is the agent's last if
    it chooses 1. After `turns` turns the episode is cut off for those that are left.
    """

    metadata: dict[str, Any] = {"name": "countdown", "is_parallelizable": True}  # noqa: RUF012
    render_mode = None

    def __init__(self, agents: int = 3, turns: int = 100) -> None:
        self.possible_agents = [f"cat_{number}" for number in range(agents)]
        self.turns = turns
        self.log: list[tuple[str, Any]] = []
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Any:
        return PLACE

    def action_space(self, agent: str) -> Any:
        return gymnasium.spaces.Discrete(2)

    def observe(self, agent: str) -> Any:
        return np.full(1, self.time, np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.time = 0
        self.agents = list(self.possible_agents)
        self.agent_selection = self.agents[0]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}

    def step(self, action: Any) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self.log.append((agent, action))
        self.time += 1
        self._cumulative_rewards[agent] = 0.0
        self.rewards = {other: 1.0 if other == agent else -0.5 for other in self.agents}
        self.terminations[agent] = action == 1
        if self.time == self.turns:
            self.truncations = dict.fromkeys(self.agents, True)
        after = (self.agents.index(agent) + 1) % len(self.agents)
        self.agent_selection = self.agents[after]
        self._accumulate_rewards()
        self._deads_step_first()

    def close(self) -> None:
        pass
