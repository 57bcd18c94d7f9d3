"""A guest's policy, brought under "*" and left alone, does not keep a finished run from ending."""

import asyncio
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.simulators.cue_memory import CueMemory
from live_run import config_from, newest, simulators, train

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s"}}
simulators: {{idle_s: 0.6{more}}}
policies:
  ball:
    total_steps: 600
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 50, num_epochs: 1}}
  {guests}:
    total_steps: 100000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 50, num_epochs: 1}}
"""


async def test_a_finished_run_ends_without_a_guest_that_is_gone_and_keeps_its_policy(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_from(
        CONFIG.format(folder=short_path, guests="'*'", more=", expect: 2"), short_path
    )
    folder = RunFolder.create(short_path / "runs", "guest")
    address = f"unix:{short_path}/s"
    guest = CueMemory(count=1)
    client = TrainerClient(address, guest.behaviours, simulator="guest")
    visit = asyncio.create_task(asyncio.to_thread(Driver(guest, client, episodes=3).run))
    with simulators(address, {"good": BalanceBall(count=2)}) as reports:
        async with asyncio.timeout(30.0):
            outcome, run = await train(config, folder)
    seen = await visit
    assert outcome == "completed"
    (name,) = (spec.name for spec in guest.behaviours)
    words = f"policy '{name}' has {seen.closed} of 100,000 env steps and got none for 0.6 s"
    assert words in caplog.text
    # The policy closed its 600; what was acted afterwards, if anything, does not count.
    ledgers = {each: trainer.ledger for each, trainer in run.trainers.items()}
    assert ledgers["ball"].closed == 600
    assert reports[0].closed >= 600
    assert (ledgers[name].opened, ledgers[name].closed) == (seen.opened, seen.closed)
    policies = newest(folder).state["policies"]
    assert [policies[index]["spec"]["name"] for index in sorted(policies)] == [*ledgers]
    saved = policies[str([*ledgers].index(name))]["trainer"]["progress"]["env_steps"]
    assert saved == seen.closed


async def test_a_policy_that_the_file_names_is_waited_for(short_path: Path) -> None:
    (name,) = (spec.name for spec in CueMemory(count=1).behaviours)
    config = config_from(CONFIG.format(folder=short_path, guests=name, more=""), short_path)
    folder = RunFolder.create(short_path / "runs", "named")
    address = f"unix:{short_path}/s"
    client = TrainerClient(address, CueMemory(count=1).behaviours, simulator="guest")
    visit = asyncio.create_task(
        asyncio.to_thread(Driver(CueMemory(count=1), client, episodes=3).run)
    )
    stop_s: list[float] = []

    def long_after_the_ball_is_done(run: object) -> bool:
        trainers = run.trainers  # type: ignore[attr-defined]
        now_s = asyncio.get_running_loop().time()
        if "ball" in trainers and trainers["ball"].is_complete and not stop_s:
            stop_s.append(now_s + 1.2)
        return bool(stop_s) and now_s > stop_s[0]

    with simulators(address, {"good": BalanceBall(count=2)}, reconnect_s=0.0):
        outcome, _ = await train(config, folder, stop_at=long_after_the_ball_is_done, look_s=0.02)
    await visit
    assert outcome == "stopped"
