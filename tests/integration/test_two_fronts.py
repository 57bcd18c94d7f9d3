"""The same seeded lockstep run through two fronts, and over each transport of the native one."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.ppo import PPO
from entrain.app import training
from entrain.app.launcher import Launcher
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.experience import Rollout
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.serving.front import Front
from entrain.serving.participants import Participants
from entrain.state import State
from live_run import config_from, differences
from support.in_process_front import InProcessFront
from support.lives import three_lives
from support.living_simulators import (
    LivingSimulator,
    connected_by_grpc,
    connected_by_websocket,
)
from support.ports import free_ports

CONFIG = """
seed: 11
server: {{address: "{address}", lockstep: true{more}}}
simulators: {{expect: 3}}
policies:
  cat:
    total_steps: 400
    normalize_observations: true
    normalize_rewards: true
    rollout_steps: 100
    algorithm: {{kind: ppo, minibatch_size: 32, num_epochs: 2}}
    network: {{hidden_sizes: [8], previous_action: true, memory: {{kind: gru, size: 6}}}}
  dog:
    total_steps: 300
    rollout_steps: 75
    algorithm: {{kind: ppo, minibatch_size: 25, num_epochs: 1}}
    network: {{hidden_sizes: [8]}}
"""


class Seen:
    """Every rollout that an algorithm was given, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rollouts: dict[str, list[State]] = {}
        update = PPO.update

        def record(algorithm: PPO, rollout: Rollout, **options: Any) -> Metrics:
            name = next(iter(rollout.observation))
            self.rollouts.setdefault(name, []).append(rollout.state())
            return update(algorithm, rollout, **options)

        monkeypatch.setattr(PPO, "update", record)


def a_run(folder: Path, *, address: str = "unix:here", more: str = "") -> TrainingRun:
    folder.mkdir()
    return TrainingRun(
        config_from(CONFIG.format(address=address, more=more), folder),
        RunFolder.create(folder / "runs", "run"),
        LogDisplay(),
        launcher=lambda _address: Launcher([], environment={}),
    )


async def run_in_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[State]]:
    with monkeypatch.context() as patch:
        seen = Seen(patch)

        def make_front(_config: RunConfig, participants: Participants, **_options: Any) -> Front:
            return InProcessFront(participants, three_lives())

        patch.setattr(training, "make_front", make_front)
        run = a_run(folder)
        assert await run.run(asyncio.Event()) == "completed"
        assert run.summary("completed").counters["sessions_resumed"] == 5
    return seen.rollouts


async def run_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, dial: str, **listening: str
) -> dict[str, list[State]]:
    with monkeypatch.context() as patch:
        seen = Seen(patch)
        run = a_run(folder, **listening)
        running = asyncio.ensure_future(run.run(asyncio.Event()))
        while not run.address:
            await asyncio.sleep(0.01)
        connects = connected_by_websocket if dial.startswith("ws:") else connected_by_grpc
        async with connects(dial) as connect:
            lives = [LivingSimulator(connect, life) for life in three_lives()]
            await asyncio.gather(*(each.live() for each in lives))
            assert await running == "completed"
        assert run.summary("completed").counters["sessions_resumed"] == 5
    return seen.rollouts


async def test_all_give_the_same_rollouts_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process = await run_in_process(tmp_path / "p", monkeypatch)
    assert {name: len(rollouts) for name, rollouts in in_process.items()} == {"eyes": 4, "nose": 3}
    first = free_ports(2)
    over: dict[str, dict[str, str]] = {
        "unix": {"address": f"unix:{tmp_path}/s", "dial": f"unix:{tmp_path}/s"},
        "tcp": {"address": f"localhost:{first}", "dial": f"localhost:{first}"},
        "websocket": {
            "more": f', websocket: "127.0.0.1:{first + 1}"',
            "dial": f"ws://127.0.0.1:{first + 1}/simulate",
        },
    }
    for name, listening in over.items():
        rollouts = await run_over(tmp_path / name, monkeypatch, **listening)
        assert differences(in_process, rollouts) == [], name
