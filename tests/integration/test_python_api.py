"""Training, resuming and evaluating by calls, with an environment that a function makes."""

import asyncio
import json
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import entrain
from entrain.app import run_results, trained
from entrain.config.load import load_config
from entrain.errors import CheckpointError, ConfigError, InUseError
from entrain.observers import CheckpointSaved, PolicyUpdated, RunBegan, RunEnded
from entrain.run.episode_table import read_episodes
from entrain.run.folder import RunFolder
from entrain_envs.simulators.balance_ball import BalanceBall
from support.command import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what takes longer than all the rest and has tests of its own."""
    monkeypatch.setattr(run_results, "export_policy", lambda *_, **__: None)
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])


def settings(folder: Path, **policy: Any) -> dict[str, Any]:
    small = {"network": {"hidden_sizes": [8]}, "rollout_steps": 200}
    algorithm = {"minibatch_size": 100, "num_epochs": 1}
    ball = {"total_steps": 400, **small, "algorithm": algorithm, **policy}
    return {"runs_directory": folder, "policies": {"ball": ball}}


MAKE_BALL = partial(BalanceBall, count=2)
"""A function of this module would have its process import torch, as this module does."""


class Watcher(entrain.Observer):
    """Notes what it is told, in words."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def began(self, run: RunBegan) -> None:
        self.told.append(f"began at {dict(run.env_steps)}")

    def updated(self, update: PolicyUpdated) -> None:
        assert update.metrics["policy/kl"] >= 0.0
        self.told.append(f"{update.behaviour} {update.env_steps}")

    def saved(self, checkpoint: CheckpointSaved) -> None:
        assert checkpoint.path.is_dir()
        self.told.append("saved")

    def ended(self, end: RunEnded) -> None:
        self.told.append(end.outcome)


def test_a_run_is_trained_resumed_and_evaluated_by_calls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watcher = Watcher()
    result = entrain.train(
        settings(tmp_path), simulators=MAKE_BALL, observers=[watcher], name="walk", show=False
    )
    assert (result.run, result.outcome, result.exit_code) == (tmp_path / "walk", "completed", 0)
    assert 400 <= result.env_steps == result.policies["ball"].progress.env_steps
    assert result.policies["ball"].progress.updates == 2
    assert result.policies["ball"].final_return > 0
    # When a checkpoint is taken between updates depends on time; one is before the end.
    assert watcher.told[-2:] == ["saved", "completed"]
    others = [it for it in watcher.told if it != "saved"]
    assert others == ["began at {}", "ball 200", "ball 400", "completed"]
    # As the next program may want to listen there, too.
    assert load_config(result.run / "config.yaml", []).server.address == "localhost:0"

    more = entrain.resume(
        result.run,
        ["policies.ball.total_steps=600"],
        simulators=MAKE_BALL,
        observers=[watcher],
        show=False,
        evaluation={"every_steps": 200, "episodes": 2},
    )
    # Another process of the same function plays the evaluations.
    (row, *_) = [it for it in read_episodes(RunFolder(more.run).episodes) if it["evaluation"]]
    assert row["simulator"] == "evaluation-simulator-0"
    assert more.policies["ball"].progress.updates == 3
    others = [it for it in watcher.told if it != "saved"]
    assert others[4:] == [f"began at {{'ball': {result.env_steps}}}", "ball 600", "completed"]

    counted = entrain.evaluate(
        result.run, episodes=4, max_steps=20, simulators=MAKE_BALL, show=False, seed=3
    )
    assert counted.reason == "max_steps"
    assert counted.policies["ball"].env_steps >= 20
    assert capsys.readouterr().out == ""


async def test_in_a_notebook_a_run_is_stopped_by_an_interrupt_and_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.get_running_loop()
    log = tmp_path / "run" / "log.txt"

    def interrupt() -> None:
        until(lambda: log.exists() and "update 1:" in log.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    result = entrain.train(settings(tmp_path, total_steps=10**8), simulators=MAKE_BALL)
    thread.join()
    assert result.outcome == "stopped"
    assert result.policies["ball"].progress.env_steps >= 200
    assert "stopped; go on with: entrain resume" in capsys.readouterr().out


def test_mistakes_are_raised_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no option 'nmae'"):
        entrain.train({"runs_directory": tmp_path}, nmae="walk")
    with pytest.raises(ConfigError, match=r"^the keyword seeed: .* did you mean 'seed'\?$"):
        entrain.train({"runs_directory": tmp_path}, seeed=3)
    with pytest.raises(
        ConfigError, match=r"^the keyword copys: entrain\.resume has .* did you mean 'copies'\?$"
    ):
        entrain.resume(tmp_path / "walk", copys=3)
    with pytest.raises(ConfigError, match=r"keyword checkpiont: entrain\.evaluate .*'checkpoint'"):
        entrain.evaluate(tmp_path / "walk", checkpiont="best")
    with pytest.raises(ConfigError, match=r"copies is 2\.5; expected a whole number of at least"):
        entrain.train(simulators="CartPole-v1", copies=2.5)  # type: ignore[arg-type]
    with pytest.raises(entrain.EntrainError, match="there is no file"):
        entrain.train(str(tmp_path / "walk.yaml"))
    with pytest.raises(ConfigError, match="is no folder"):
        entrain.resume(tmp_path / "walk")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overrides": "seed=3"}, r"the text 'seed=3'; give a list: \['seed=3'\]"),
        ({"observers": entrain.Observer()}, "observers is a Observer; give a list"),
        ({"observers": "my:Own"}, "observers is 'my:Own'; give a list"),
        ({"observers": [entrain.Observer]}, r"the class Observer; give an object.*\[Observer\(\)"),
    ],
)
def test_what_is_given_in_another_form_is_named(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        entrain.train({}, **arguments)


def test_a_form_of_export_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="form is 'onx'; it must be one of onnx, "):
        entrain.export(tmp_path, form="onx")  # type: ignore[arg-type]


def test_a_run_that_goes_on_keeps_its_algorithm(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    folder.write_config("policies: {'*': {algorithm: {kind: ppo, clip_range: 0.1}}}")
    with pytest.raises(ConfigError, match=r"keeps its algorithm.*initial_weights: .*run in the"):
        entrain.resume(folder.path, ["policies.*.algorithm.kind=sac"], show=False)
    with pytest.raises(ConfigError, match="no option 'clip_rnage'"):
        entrain.resume(folder.path, ["policies.*.algorithm.clip_rnage=0.2"], show=False)


def test_a_resume_refuses_a_change_that_would_do_nothing(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    # The file of a run has every option.
    written = {"algorithm": {"kind": "sac"}, "entropy": {"target": {}}}
    folder.write_config(json.dumps({"policies": {"*": written}}))
    coefficient = "policies.*.entropy.coefficient=0.2"
    with pytest.raises(ConfigError, match=r"policies\.\*\.entropy\.target=null as well"):
        entrain.resume(folder.path, [coefficient], show=False)
    # With that, the next thing it lacks is a checkpoint.
    with pytest.raises(CheckpointError, match="no checkpoint"):
        entrain.resume(folder.path, [coefficient, "policies.*.entropy.target=null"], show=False)


def test_a_run_in_use_is_told_to_the_caller(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run")
    folder.write_config("{}")
    with folder.lock(), pytest.raises(InUseError):
        entrain.resume(folder.path, show=False)


def test_one_of_several_ranks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    for name, value in (("WORLD_SIZE", "2"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"entrain\.train is for one process"):
        entrain.train()


def test_variables_count_less_than_what_the_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN__SEED", "5")
    monkeypatch.setenv("ENTRAIN__NAME", "walk")
    seen = []
    monkeypatch.setattr("entrain.app.sittings.begin", lambda config, **_: seen.append(config))
    entrain.train(seed=6, simulators="./game", server__address="localhost:7", show=False)
    (config,) = seen
    assert (config.seed, config.name, config.server.address) == (6, "walk", "localhost:7")


def test_policies_are_exported_to_files_that_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def exported(*arguments: Any, **options: Any) -> Any:
        asked.append((arguments, options))
        yield "ball", tmp_path / "ball.json"

    monkeypatch.setattr(trained, "exported", exported)
    assert entrain.export("runs/walk", tmp_path, form="json") == {"ball": tmp_path / "ball.json"}
    assert asked == [((Path("runs/walk"), tmp_path), {"form": "json", "checkpoint": "newest"})]
