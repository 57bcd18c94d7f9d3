"""Power cuts, and saves that take long: what a checkpoint holds is what the run goes on from."""

import threading
from pathlib import Path
from typing import Any

import pytest

from entrain.app import commands, run_results
from entrain.app.training import TrainingRun
from entrain.errors import NoSimulatorError
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from entrain.state import State
from entrain.trainer import Update
from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import config_from, differences, newest, simulators, train

BALL = """
seed: 5
server: {{address: "unix:{socket}", lockstep: {lockstep}}}
simulators: {{expect: {expect}}}
checkpoints: {{every_steps: {every_steps}}}
policies:
  ball:
    total_steps: {total_steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


def greedy(folder: Path, *, every_steps: int, total_steps: int, expect: int = 1) -> str:
    return BALL.format(
        socket=folder / "s",
        lockstep="false",
        expect=expect,
        every_steps=every_steps,
        total_steps=total_steps,
    )


class PowerCutError(Exception):
    pass


async def crashing_run(folder: Path, *, every_steps: int, crashes: bool) -> State:
    """The last checkpoint of a run in lockstep, perhaps after a power cut behind a checkpoint."""
    folder.mkdir()
    text = BALL.format(
        socket=folder / "s", lockstep="true", expect=2, every_steps=every_steps, total_steps=1200
    )
    config = config_from(text, folder)
    run_folder = RunFolder.create(folder / "runs", "ball")
    environments = {name: BalanceBall(count=2) for name in ("alpha", "beta")}
    with simulators(f"unix:{folder}/s", environments):
        if crashes:
            await power_cut(config, run_folder)
        outcome, _ = await train(config, run_folder, resumed=crashes)
    assert outcome == "completed"
    state: State = newest(run_folder).state["policies"]["0"]["trainer"]
    return {**state, "progress": None}


async def power_cut(config: Any, folder: RunFolder) -> None:
    """Train until a checkpoint was begun right behind an update, and stop dead there."""
    original, saving = TrainingRun.record, []

    def record_and_crash(run: TrainingRun, update: Update) -> None:
        original(run, update)
        if run.checkpointing._writing is not None:
            saving.append(run.checkpointing._writing)
            raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingRun, "record", record_and_crash)
        with pytest.raises(PowerCutError):
            await train(config, folder)
    await saving[0]


async def test_after_a_power_cut_right_behind_a_checkpoint_a_run_ends_bit_for_bit_the_same(
    tmp_path: Path,
) -> None:
    # The update is done, its checkpoint is on its way, and nobody has been answered yet.
    straight = await crashing_run(tmp_path / "straight", every_steps=600, crashes=False)
    resumed = await crashing_run(tmp_path / "resumed", every_steps=600, crashes=True)
    assert differences(straight, resumed) == []


async def test_after_a_crash_long_behind_a_checkpoint_simulators_go_on_and_the_ledger_balances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_from(greedy(tmp_path, expect=2, every_steps=1000, total_steps=2000), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")

    async def crash(_run: TrainingRun, _outcome: str) -> None:
        raise RuntimeError("power cut")

    def is_long_behind(run: TrainingRun) -> bool:
        is_written = run.checkpointing.newest is not None
        return is_written and run.env_steps >= run.checkpointing.saved_at + 60

    with simulators(f"unix:{tmp_path}/s", {"a": BalanceBall(count=2), "b": BalanceBall(count=1)}):
        monkeypatch.setattr(TrainingRun, "_end", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            await train(config, folder, stop_at=is_long_behind)
        monkeypatch.undo()
        outcome, run = await train(config, folder, resumed=True)
    assert outcome == "completed"
    assert run.summary(outcome).counters["sessions_resynced"] == 2
    ledger = run.trainers["ball"].ledger
    assert ledger.opened == ledger.closed + ledger.dropped + ledger.open
    assert 2000 <= ledger.closed < 2003


async def test_a_checkpoint_on_its_way_to_disk_when_the_run_ends_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_from(greedy(tmp_path, every_steps=50, total_steps=5_000_000), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    may_write, writing, overlaps = threading.Event(), threading.Event(), []

    def save(store: Any, state: State, *, step: int, original: Any = None) -> Path:
        overlaps.append(writing.is_set())
        writing.set()
        may_write.wait(10.0)
        path: Path = original(store, state, step=step)
        writing.clear()
        return path

    original = CheckpointStore.save
    monkeypatch.setattr(
        CheckpointStore,
        "save",
        lambda store, state, *, step: save(store, state, step=step, original=original),
    )

    def stop_while_writing(_run: TrainingRun) -> bool:
        if writing.is_set():
            threading.Timer(0.3, may_write.set).start()
        return writing.is_set()

    with simulators(f"unix:{tmp_path}/s", {"a": BalanceBall(count=2)}, reconnect_s=0.0):
        outcome, _ = await train(config, folder, stop_at=stop_while_writing)
    assert outcome == "stopped"
    assert overlaps == [False, False]
    assert newest(folder).path.name.startswith("0002-")


def test_what_was_learned_is_saved_when_every_simulator_has_left_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_results, "export_policy", lambda *_arguments, **_options: None)
    text = greedy(tmp_path, every_steps=1_000_000, total_steps=5_000_000)
    config = config_from(
        text.replace("expect: 1", "wait_s: 0.3, expect: 1") + f"runs_directory: {tmp_path}\n",
        tmp_path,
    )
    (spec,) = BalanceBall(count=1).behaviours
    client = TrainerClient(f"unix:{tmp_path}/s", [spec], simulator="leaves")
    driver = Driver(BalanceBall(count=2), client, episodes=30)
    thread = threading.Thread(target=driver.run, daemon=True)
    thread.start()
    with pytest.raises(NoSimulatorError, match=r"no simulator was connected for 0\.3 s"):
        commands.train(config)
    thread.join(10.0)
    folder = RunFolder(tmp_path / "run")
    loaded = newest(folder)
    assert loaded.step == driver.report.closed > 200
    summary = RunSummary.load(folder.summary)
    assert summary.outcome == "failed"
    assert summary.policies["ball"].progress.updates == loaded.step // 200
    assert folder.report.is_file()
