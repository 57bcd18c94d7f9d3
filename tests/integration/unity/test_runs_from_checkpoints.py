"""Runs of games that begin with trained weights, or go on where mlagents-learn was.

tests/cases/stock_run was made with the classes of mlagents 1.1.0; its `expected.json` says what
they compute for some rows, which the stand-in game here shows again and again.
"""

import asyncio
import gc
import json
import logging
import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from entrain.app import sittings
from entrain.app.training import TrainingRun
from entrain.cli import main
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.run.folder import RunFolder
from entrain.run.metrics_writer import MetricsWriter
from entrain.run.table import read_metrics
from entrain.unity.stock_file import load_stock
from entrain.unity.stock_progress import with_stock_progress
from entrain.unity.translation import translate
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, Float32Array, StepType, TimestepBatch
from live_run import train
from support.ports import free_ports
from support.unity_game import UnityGame
from support.unity_player import dialled

ROOT = Path(__file__).parents[3]
STOCK_RUN = ROOT / "tests" / "cases" / "stock_run"

CONFIG = """
behaviors:
  3DBall:
    trainer_type: ppo
    hyperparameters: {batch_size: 64, buffer_size: 10000, num_epoch: 1}
    network_settings: {normalize: true, hidden_units: 8, num_layers: 2}
    max_steps: 100000
"""


class Rows:
    """The rows of `expected.json`, seen by an agent each; notes what the agents do."""

    def __init__(self, *, size: int = 8) -> None:
        rows = json.loads((STOCK_RUN / "expected.json").read_text())["rows"]
        self._rows = np.array(rows, np.float32)[:, :size]
        seen = ObservationSpec("seen", (size,))
        self._spec = BehaviourSpec("3DBall", (seen,), ActionSpec((-1.0,) * 2, (1.0,) * 2))
        self.actions: list[Float32Array] = []

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        return self._shown(StepType.FIRST)

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self.actions.append(actions["3DBall"].continuous)
        return self._shown(StepType.MID)

    def _shown(self, step_type: StepType) -> Mapping[str, TimestepBatch]:
        number = len(self._rows)
        return {
            "3DBall": TimestepBatch(
                agent_id=np.arange(number),
                step_type=np.full(number, int(step_type), np.uint8),
                reward=np.zeros(number, np.float32),
                observation={"seen": self._rows},
                action_mask=np.ones((number, 0), np.bool_),
            )
        }


def configured(folder: Path, text: str = CONFIG, **flags: Any) -> RunConfig:
    """What `entrain learn` makes of a file, with a port that is free."""
    path = folder / "stock.yaml"
    path.write_text(text)
    given = {f"checkpoint_settings.{name}": value for name, value in flags.items()}
    config = translate(load_stock(path, given), seed=3).config
    assert config.unity is not None
    unity = config.unity.model_copy(update={"port": free_ports(1)})
    return config.model_copy(update={"unity": unity, "device": "cpu"})


async def played(
    config: RunConfig, folder: RunFolder, game: Rows, *, exchanges: int, resumed: bool = False
) -> TrainingRun:
    """One sitting of a run while the game plays so long."""
    assert config.unity is not None
    exchange, hang_up = dialled(config.unity.port)
    is_over = threading.Event()

    def play() -> None:
        try:
            UnityGame(game, exchange).play(exchanges=exchanges)
        finally:
            hang_up()
            is_over.set()

    folder.write_config(to_yaml(config))
    playing = asyncio.create_task(asyncio.to_thread(play))
    async with asyncio.timeout(60):
        _, run = await train(
            config, folder, stop_at=lambda _: is_over.is_set(), look_s=0.01, resumed=resumed
        )
    await playing
    return run


def without_noise(path: Path) -> None:
    """Let the policy of the checkpoint in `path` act by its mean, as good as exactly."""
    content = torch.load(path, weights_only=True)
    content["Policy"]["action_model._continuous_distribution.log_sigma"].fill_(-9.0)
    torch.save(content, path)


async def test_a_run_acts_as_the_checkpoint_that_it_begins_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(STOCK_RUN, tmp_path / "results" / "old")
    without_noise(tmp_path / "results" / "old" / "3DBall" / "checkpoint.pt")
    config = configured(
        tmp_path, results_dir=str(tmp_path / "results"), initialize_from="old", run_id="new"
    )
    game = Rows()
    with caplog.at_level(logging.INFO):
        run = await played(config, RunFolder.create(tmp_path, "run"), game, exchanges=5)
    # A third of the means that mlagents' own network has: a game is sent clip(a, -3, 3) / 3.
    means = [[-0.6770174, 0.8014565], [-0.3952738, 0.5386437], [-2.6221814, 2.7334936]]
    for actions in game.actions:
        assert actions[:3] == pytest.approx(np.array(means) / 3.0, abs=5e-4)
    assert run.trainers["3DBall"].progress.env_steps == 4 * 4
    assert "policy '3DBall': 19 tensors taken over from" in caplog.text
    assert "not taken over" not in caplog.text


async def test_a_run_goes_on_where_mlagents_learn_was(tmp_path: Path) -> None:
    shutil.copytree(STOCK_RUN, tmp_path / "run")
    text = CONFIG.replace("10000,", "40,").replace("100000", "1000") + CURRICULUM
    config = with_stock_progress(configured(tmp_path, text), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    run = await played(config, folder, Rows(), exchanges=11)
    trainer = run.trainers["3DBall"]
    # 400 of the checkpoint, and ten outcomes of four agents.
    assert (trainer.progress.env_steps, trainer.progress.updates) == (440, 1)
    assert run.summary("stopped").lessons == {"mass": "'heavy' (2 of 3)"}
    series = read_metrics(folder.metrics)["3DBall"]
    rates = series.columns["policy/learning_rate"].tolist()
    assert rates == pytest.approx([3e-4 * (1.0 - 400 / 1000)], rel=1e-4)
    optimizer = trainer.state()["algorithm"]["optimizer"]
    assert optimizer["num_steps"] == 3 + 1
    # Where nothing is left but what was there before: 0.9 of it in the means, for no reward has
    # taught the actor anything that is as large.
    before = torch.load(STOCK_RUN / "3DBall" / "checkpoint.pt", weights_only=True)
    theirs = before["Optimizer:value_optimizer"]["state"][12]["exp_avg"]
    assert optimizer["mean"]["action_head.bias"] == pytest.approx(0.9 * theirs.numpy(), abs=0.05)
    # The run goes on from its own checkpoint now, in which all of this is.
    restored = await resumed(config, folder)
    assert restored.trainers["3DBall"].progress.env_steps == 440


async def test_a_run_that_was_stopped_before_a_game_joined_still_goes_on_there(
    tmp_path: Path,
) -> None:
    shutil.copytree(STOCK_RUN, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    config = with_stock_progress(configured(tmp_path), folder.path)
    folder.write_config(to_yaml(config))
    await train(config, folder, stop_at=lambda _: True)
    run = await played(config, folder, Rows(), exchanges=3, resumed=True)
    assert run.env_steps == 400 + 2 * 4


async def test_rows_of_metrics_up_to_a_checkpoint_of_that_form_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(STOCK_RUN, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    with MetricsWriter(folder) as writer:
        for steps in (200, 400, 440, 480):
            writer.write("3DBall", steps, {"loss/value": 1.0})
    for name in ("3DBall", "*"):
        text = CONFIG.replace("behaviors:\n  3DBall", f"behaviors:\n  {name}")
        if name == "*":
            text = text.replace("behaviors:\n  *:", "default_settings:")
        config = with_stock_progress(configured(tmp_path, text), folder.path)
        await train(config, folder, stop_at=lambda _: True)
        assert read_metrics(folder.metrics)["3DBall"].env_steps.tolist() == [200, 400]
    lost = [it.getMessage() for it in caplog.records if "lost since" in it.getMessage()]
    assert lost == [
        "lost since checkpoint.pt of '3DBall', 400 env steps: at least 80 env steps and 2 updates "
        "(2 rows of metrics.csv); they are done again"
    ]


CURRICULUM = """
environment_parameters:
  mass:
    curriculum:
    - {name: light, value: 1, completion_criteria: {behavior: 3DBall, measure: reward,
       threshold: 90, min_lesson_length: 9}}
    - {name: heavy, value: 2, completion_criteria: {behavior: 3DBall, measure: reward,
       threshold: 90, min_lesson_length: 9}}
    - {name: heaviest, value: 3}
"""


async def resumed(config: RunConfig, folder: RunFolder) -> TrainingRun:
    """A further sitting that is stopped at once; the files it began with are gone."""
    shutil.rmtree(folder.path / "3DBall")
    async with asyncio.timeout(60):
        _, run = await train(config, folder, stop_at=lambda _: True, resumed=True)
    return run


async def test_a_run_begins_with_the_weights_of_another_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = await played(
        configured(tmp_path), RunFolder.create(tmp_path, "old"), Rows(), exchanges=5
    )
    config = configured(tmp_path, results_dir=str(tmp_path), initialize_from="old", run_id="new")
    with caplog.at_level(logging.INFO):
        run = await played(config, RunFolder.create(tmp_path, "new"), Rows(), exchanges=3)
    first, second = (weights(each.policies["3DBall"]) for each in (before, run))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert run.env_steps == 2 * 4
    assert f"tensors taken over from {tmp_path / 'old'}" in caplog.text
    # Another seed, so the weights of chance would be others.
    assert not torch.equal(
        first["action_head.weight"],
        weights(ActorCritic(Rows().behaviours[0], config.policies["3DBall"], seed=4))[
            "action_head.weight"
        ],
    )


def weights(policy: ActorNetwork) -> Mapping[str, torch.Tensor]:
    return {name: it.detach().clone() for name, it in policy.named_parameters()}


async def test_a_game_that_sees_something_else_keeps_what_fits_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(tmp_path, results_dir=str(STOCK_RUN.parent), initialize_from="stock_run")
    with caplog.at_level(logging.WARNING):
        run = await played(config, RunFolder.create(tmp_path, "run"), Rows(size=5), exchanges=3)
    told = [it for it in caplog.messages if it.startswith("policy '3DBall'")]
    assert told == [
        "policy '3DBall': not taken over: 'backbone.trunk.encoder.mean' is [8], this policy needs "
        "[5]",
        "policy '3DBall': not taken over: 'backbone.trunk.hidden_layers.layers.0.weight' is "
        "[2, 8, 8], this policy needs [2, 5, 8]",
        "policy '3DBall': its observations were seen: float32[8] and are seen: float32[5]",
    ]
    stock = torch.load(STOCK_RUN / "3DBall" / "checkpoint.pt", weights_only=True)["Policy"]
    own = run.policies["3DBall"].action_head.weight
    assert torch.equal(own.detach(), stock["action_model._continuous_distribution.mu.weight"])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nothing", "which is neither the folder of a run with checkpoints nor a checkpoint.pt"),
        ("stock.yaml", r"cannot be used: .*stock.yaml is no checkpoint of mlagents-learn"),
    ],
)
async def test_what_cannot_be_read_is_said_before_anything_starts(
    tmp_path: Path, path: str, words: str
) -> None:
    text = CONFIG + f"    init_path: {tmp_path / path}\n"
    config = configured(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as told:
        await train(config, RunFolder.create(tmp_path, "run"))
    assert "\n" not in str(told.value)


BUILD = """#!/bin/sh
PYTHONPATH={tests} exec {python} -m support.unity_player "$@" --balls 3
"""


def the_command(folder: Path) -> list[str]:
    """Of a game of balls and 700 steps, in the present folder."""
    text = CONFIG.replace("100000", "700").replace("10000,", "150,")
    (folder / "stock.yaml").write_text(text)
    build = folder / "Ball.x86_64"
    build.write_text(BUILD.format(tests=ROOT / "tests", python=sys.executable))
    build.chmod(0o755)
    command = ["learn", "stock.yaml", "--env=Ball", f"--base-port={free_ports(1)}"]
    return [*command, "--run-id=balls", "--torch-device=cpu"]


@pytest.mark.usefixtures("logging_as_before")
def test_resume_of_what_mlagents_learn_left_trains_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Plots and ONNX take longer than all else, and are those of every run.
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    shutil.copytree(STOCK_RUN, tmp_path / "results" / "balls")
    arguments = the_command(tmp_path)
    assert main([*arguments, "--resume"]) == 0
    told = capsys.readouterr()
    assert "goes on after 400 of 700 env steps and 3 gradient steps" in told.err
    folder = RunFolder(tmp_path / "results" / "balls")
    steps = read_metrics(folder.metrics)["3DBall"].env_steps.tolist()
    assert steps[0] >= 550
    assert steps[-1] >= 700
    assert (folder.path / "3DBall" / "checkpoint.pt").is_file()
    assert load_config(folder.config, []).policies["3DBall"].initial_progress
    assert main([*arguments, "--resume"]) == 0
    assert "is finished: " in capsys.readouterr().out
    # A file that the run left open is an error of this test, not of one that comes later.
    gc.collect()
