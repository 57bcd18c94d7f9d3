"""A turn-based game trains, and trainer and simulator agree on every step of it."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo.utils import BaseWrapper
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

from entrain.run.folder import RunFolder
from entrain_envs.environment import Environment
from entrain_envs.pettingzoo_adapter import PettingZooEnvironment
from entrain_envs.pettingzoo_turns import TurnsEnvironment
from live_run import config_from, simulators, train
from turn_games import tictactoe

SETTINGS = """
server: {{address: "unix:{socket}"}}
policies:
  player:
    total_steps: 600
    network: {{hidden_sizes: [8]}}
    rollout_steps: 300
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
simulators: {{expect: 2}}
"""


class Flat(BaseWrapper):  # type: ignore[misc]
    """Shows the board as a vector: a small board is taken for an image otherwise."""

    def observation_space(self, agent: str) -> Any:
        space = super().observation_space(agent)
        board = spaces.Box(0.0, 1.0, (18,), np.float32)
        return spaces.Dict({**space.spaces, "observation": board})

    def observe(self, agent: str) -> Any:
        observation = super().observe(agent)
        return {**observation, "observation": observation["observation"].astype("f4").ravel()}


def flat() -> Any:
    return Flat(tictactoe().env())


async def test_a_turn_based_game_is_counted_exactly_in_both_forms(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    config = config_from(SETTINGS.format(socket=tmp_path / "s"), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "turns")
    games: dict[str, Environment] = {
        "turns": TurnsEnvironment(flat, count=3),
        "parallel": PettingZooEnvironment(lambda: turn_based_aec_to_parallel(flat()), count=2),
    }
    with simulators(address, games) as reports:
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    ledger = run.trainers["player"].ledger
    assert ledger.closed == run.env_steps == sum(report.closed for report in reports)
    assert ledger.opened == sum(report.opened for report in reports)
    for report in reports:
        # Whoever waits for the other's move keeps an open action: at the end one of two, or both.
        assert report.opened == report.closed + report.unanswered + report.dropped
        assert report.episodes > 20
