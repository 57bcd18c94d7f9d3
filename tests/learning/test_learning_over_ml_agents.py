"""A game of ML-Agents learns through its own wire: the balls stay up."""

import asyncio
import socket
import statistics
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from live_run import config_from, train
from support.unity_game import Style, UnityGame
from support.unity_player import BallsOfReturns, dialled

CONFIG = """
seed: 3
unity: {{port: {port}}}
policies:
  3DBall:
    total_steps: 120000
    rollout_steps: 12000
    normalize_observations: true
    algorithm: {{minibatch_size: 64, num_epochs: 3, gae_lambda: 0.99}}
    network: {{hidden_sizes: [128, 128]}}
"""


@pytest.mark.learning
async def test_balls_stay_up_with_the_settings_that_ml_agents_has_for_them(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    balls = BallsOfReturns(count=12)

    def play() -> None:
        exchange, hang_up = dialled(port)
        UnityGame(balls, exchange, style=Style(one_sensor=True)).play()
        hang_up()

    playing = asyncio.create_task(asyncio.to_thread(play))
    config = config_from(CONFIG.format(port=port), tmp_path)
    outcome, _ = await train(config, RunFolder.create(tmp_path, "run"))
    await playing
    assert outcome == "completed"
    # 100 is perfect, and random play earns 3.
    assert statistics.mean(earned for _, earned in balls.ended[-30:]) > 90.0
