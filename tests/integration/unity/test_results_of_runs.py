"""Whole short runs of a launched game leave the results tree of mlagents-learn, and go on in it."""

import asyncio
import json
import logging
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from entrain.app.game_results import make_results
from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint
from entrain.unity.results.tree import LOGS
from entrain.unity.stock_file import load_stock
from entrain.unity.translation import translate
from live_run import train
from support.ports import free_ports

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a build")

TESTS = Path(__file__).parents[2]

SETTINGS = """
behaviors:
  3DBall:
    trainer_type: {trainer_type}
    hyperparameters: {{{hyperparameters}}}
    network_settings: {{normalize: true, hidden_units: 8, num_layers: 1}}
    reward_signals: {{extrinsic: {{strength: 0.5}}}}
    max_steps: {max_steps}
    checkpoint_interval: 250
    keep_checkpoints: 2
    summary_freq: 200
environment_parameters:
  gravity:
    curriculum:
      - name: low
        value: 1.0
        completion_criteria: {{behavior: 3DBall, measure: progress, threshold: 0.3}}
      - {{name: high, value: 2.0}}
checkpoint_settings: {{run_id: balls, results_dir: {results}}}
env_settings:
  {{env_path: {build}, base_port: {port}, seed: 4, env_args: [--balls, "12", --score, "2.5"]}}
"""


PPO = "batch_size: 64, buffer_size: 240, num_epoch: 1"
SAC = "batch_size: 16, buffer_init_steps: 64, steps_per_update: 12"


async def one_sitting(
    folder: Path,
    *,
    max_steps: int,
    resumed: bool = False,
    deletes_at: int = 0,
    trainer: tuple[str, str] = ("ppo", PPO),
) -> tuple[Outcome, TrainingRun]:
    """As `entrain learn` runs it, in this process."""
    build = folder / "Ball.x86_64"
    if not resumed:
        player = f"PYTHONPATH={TESTS} exec {sys.executable} -m support.unity_player"
        build.write_text(f'#!/bin/sh\n{player} "$@"\n')
        build.chmod(0o755)
    path = folder / "balls.yaml"
    path.write_text(
        SETTINGS.format(
            trainer_type=trainer[0],
            hyperparameters=trainer[1],
            max_steps=max_steps,
            results=folder / "results",
            build=build,
            port=free_ports(1),
        )
    )
    file = load_stock(path, {})
    config = translate(file).config
    results, _ = RunFolder.named(config.runs_directory, config.name)
    results.keep_logs_in(LOGS)

    deleted: list[int] = []

    def look(run: TrainingRun) -> bool:
        if deletes_at and run.env_steps >= deletes_at and not deleted:
            deleted.append(run.env_steps)
            shutil.rmtree(results.path / "3DBall", ignore_errors=True)
            shutil.rmtree(results.path / LOGS, ignore_errors=True)
        return False

    with results.lock() as lock:
        recorder = make_results(
            results, lock, config, file.run, goes_on=resumed, is_restored=resumed
        )
        async with asyncio.timeout(60):
            return await train(config, results, resumed=resumed, observer=recorder, stop_at=look)


def files_of(results: Path) -> set[str]:
    """Those of mlagents-learn's form, with what differs from run to run left out."""
    paths = [path.relative_to(results) for path in results.rglob("*") if path.is_file()]
    names = {
        str(path)
        for path in paths
        if path.parts[0] in {"3DBall", "3DBall.onnx", "configuration.yaml", LOGS}
    }
    return {re.sub(r"(tfevents)\..*", r"\1", name) for name in names}


async def test_a_run_leaves_the_tree_of_mlagents_learn_and_goes_on_in_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outcome, run = await one_sitting(tmp_path, max_steps=960)
    assert outcome == "completed"
    results = tmp_path / "results" / "balls"
    # Checkpoints at 250, 500 and 750 steps, counted in messages of 12 agents, and at the end;
    # two are kept.
    assert files_of(results) == {
        "configuration.yaml",
        "3DBall.onnx",
        "3DBall/3DBall-756.onnx",
        "3DBall/3DBall-756.pt",
        "3DBall/3DBall-960.onnx",
        "3DBall/3DBall-960.pt",
        "3DBall/checkpoint.pt",
        "3DBall/events.out.tfevents",
        "run_logs/Player-0.log",
        "run_logs/game-0.log",
        "run_logs/timers.json",
        "run_logs/training_status.json",
    }
    lines = [line for line in caplog.messages if line.startswith("3DBall. Step: ")]
    assert [int(line.split()[2].rstrip(".")) for line in lines] == [200, 400, 600, 800, 960]
    assert lines[0].endswith(" s. No episode was completed since last summary. Training.")
    pattern = (
        r"3DBall\. Step: 400\. Time Elapsed: \d+\.\d{3} s\. "
        r"Mean Reward: -?\d+\.\d{3}\. Std of Reward: \d+\.\d{3}\. Training\."
    )
    assert re.fullmatch(pattern, lines[1])
    _check_tags(results)
    _check_status(results)
    settings = yaml.safe_load((results / "configuration.yaml").read_text())
    assert settings["behaviors"]["3DBall"]["max_steps"] == 960
    assert "'-logFile'" in (results / LOGS / "Player-0.log").read_text()
    _check_model(results / "3DBall.onnx", run, updates=4)
    checkpoint = load_stock_checkpoint(results / "3DBall")
    # Four updates of 240 steps: three minibatches of 64 and one of 48.
    assert (checkpoint.steps, checkpoint.moments.num_steps) == (960, 16)

    # Half of the tree is deleted while the run goes on in it.
    outcome, _ = await one_sitting(tmp_path, max_steps=1200, resumed=True, deletes_at=1020)
    assert outcome == "completed"
    left = files_of(results)
    assert {"3DBall/3DBall-1200.onnx", "3DBall/3DBall-1200.pt", "run_logs/timers.json"} < left
    assert "3DBall/3DBall-960.onnx" not in left
    status = json.loads((results / LOGS / "training_status.json").read_text())
    # What was being written meanwhile may be lost.
    assert [each["steps"] for each in status["3DBall"]["checkpoints"]][-1] == 1200


async def test_a_run_of_sac_leaves_models_and_its_own_tags_but_no_pt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        outcome, run = await one_sitting(tmp_path, max_steps=480, trainer=("sac", SAC))
    assert outcome == "completed"
    results = tmp_path / "results" / "balls"
    models = {name for name in files_of(results) if name.endswith((".onnx", ".pt"))}
    assert models == {"3DBall.onnx", "3DBall/3DBall-252.onnx", "3DBall/3DBall-480.onnx"}
    assert any("no .pt is written for mlagents-learn" in line for line in caplog.messages)
    tags = set(EventAccumulator(str(results / "3DBall")).Reload().Tags()["scalars"])
    assert {"Losses/Q1 Loss", "Policy/Extrinsic Value", "Policy/Continuous Entropy Coeff"} < tags
    assert not {"Policy/Beta", "Policy/Epsilon", "Losses/Value Loss"} & tags
    # An update for each 72 steps, which are six messages of twelve agents.
    _check_model(results / "3DBall.onnx", run, updates=6)


def _check_tags(results: Path) -> None:
    events = EventAccumulator(str(results / "3DBall")).Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {
        "Environment/Cumulative Reward",
        "Environment/Episode Length",
        "Environment/Lesson Number/gravity",
        "Losses/Policy Loss",
        "Losses/Value Loss",
        "Policy/Beta",
        "Policy/Entropy",
        "Policy/Epsilon",
        "Policy/Extrinsic Reward",
        "Policy/Extrinsic Value Estimate",
        "Policy/Learning Rate",
        "Score",
    }
    assert tags["histograms"] == ["Environment/Cumulative Reward_hist"]
    reward = events.Scalars("Environment/Cumulative Reward")
    assert [each.step for each in reward] == [400, 600, 800, 960]
    extrinsic = events.Scalars("Policy/Extrinsic Reward")
    halves = [0.5 * each.value for each in reward]
    assert [each.value for each in extrinsic] == pytest.approx(halves)
    lessons = events.Scalars("Environment/Lesson Number/gravity")
    assert [each.value for each in lessons] == [0.0, 1.0, 1.0, 1.0, 1.0]
    # A game's own numbers come with the update that follows them.
    assert [(each.step, each.value) for each in events.Scalars("Score")] == [(400, 2.5)]
    # The first update is after 240 steps. The last, at the end, has a summary of its own.
    assert [each.step for each in events.Scalars("Policy/Beta")] == [400, 600, 800, 960]
    text = events.Tensors("Hyperparameters/text_summary")[0].tensor_proto.string_val[0]
    assert b"summary_freq: 200" in text


def _check_status(results: Path) -> None:
    status = json.loads((results / LOGS / "training_status.json").read_text())
    ball = status["3DBall"]
    assert [each["steps"] for each in ball["checkpoints"]] == [756, 960]
    aside = ball["checkpoints"][0]["auxillary_file_paths"]
    assert aside == [str(results / "3DBall" / "3DBall-756.pt")]
    assert ball["checkpoints"][1]["file_path"] == str(results / "3DBall" / "3DBall-960.onnx")
    assert ball["final_checkpoint"]["file_path"] == str(results / "3DBall.onnx")
    assert isinstance(ball["final_checkpoint"]["reward"], float)
    assert status["gravity"] == {"lesson_num": 1}
    timers = json.loads((results / LOGS / "timers.json").read_text())
    assert timers["children"]["TrainerController.start_learning"]["total"] == timers["total"]
    assert timers["gauges"]["3DBall.Environment.CumulativeReward.mean"]["count"] == 4


def _check_model(path: Path, run: TrainingRun, *, updates: int) -> None:
    """It is the policy as the run left it."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    observed = np.full((1, 8), 0.3, np.float32)
    (action,) = session.run(["deterministic_continuous_actions"], {"obs_0": observed})
    acting = run.trainers["3DBall"]._actor.policy
    assert acting.version == updates
    name = run.policies["3DBall"].spec.observations[0].name
    import torch

    policy = run.policies["3DBall"]
    with torch.no_grad():
        out = policy(
            {name: torch.from_numpy(observed)[None]},
            policy.initial_state(1),
            torch.zeros((1, 1), dtype=torch.bool),
        )
        expected = policy.environment_action(out.distribution.mode())["continuous"][0]
    np.testing.assert_allclose(action, expected.numpy(), atol=1e-5)
