"""The same seeded lockstep run through two fronts: in process, and over gRPC."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
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
from support.grpc_lives import GrpcSimulator
from support.in_process_front import InProcessFront
from support.lives import three_lives

CONFIG = """
seed: 11
server: {{address: "unix:{folder}/s", lockstep: true}}
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


def a_run(folder: Path) -> TrainingRun:
    folder.mkdir()
    return TrainingRun(
        config_from(CONFIG.format(folder=folder), folder),
        RunFolder.create(folder / "runs", "run"),
        LogDisplay(),
        launcher=lambda _address: Launcher([], environment={}),
    )


async def run_in_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[State]]:
    with monkeypatch.context() as patch:
        seen = Seen(patch)

        def make_front(_config: RunConfig, participants: Participants, *, run_id: str) -> Front:
            return InProcessFront(participants, three_lives())

        patch.setattr(training, "make_front", make_front)
        run = a_run(folder)
        assert await run.run(asyncio.Event()) == "completed"
        assert run.summary("completed").counters["sessions_resumed"] == 5
    return seen.rollouts


async def run_over_grpc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[State]]:
    with monkeypatch.context() as patch:
        seen = Seen(patch)
        run = a_run(folder)
        running = asyncio.ensure_future(run.run(asyncio.Event()))
        async with grpc.aio.insecure_channel(f"unix:{folder}/s") as channel:
            await channel.channel_ready()
            lives = [GrpcSimulator(channel, life) for life in three_lives()]
            await asyncio.gather(*(each.live() for each in lives))
            assert await running == "completed"
        assert run.summary("completed").counters["sessions_resumed"] == 5
    return seen.rollouts


async def test_both_give_the_same_rollouts_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process = await run_in_process(tmp_path / "p", monkeypatch)
    over_grpc = await run_over_grpc(tmp_path / "g", monkeypatch)
    assert {name: len(rollouts) for name, rollouts in in_process.items()} == {"eyes": 4, "nose": 3}
    assert differences(in_process, over_grpc) == []
