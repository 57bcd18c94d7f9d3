"""What a run leaves behind in the form of mlagents-learn: tags, lines, files, each by hand."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from entrain.errors import InUseError
from entrain.serving.aggregates import Aggregate, Summary
from entrain.unity.results.configuration import configuration_text
from entrain.unity.results.intervals import Interval
from entrain.unity.results.status import TrainingStatus, checkpoint_entry
from entrain.unity.results.summaries import (
    Gathering,
    Tagged,
    console_line,
    histograms,
    scalars,
)
from entrain.unity.results.timers import Timers
from entrain.unity.results.tree import ResultsTree
from entrain.unity.stock_file import load_stock
from entrain_envs.statistics import Aggregation


def summary(aggregation: Aggregation, *values: float) -> Summary:
    aggregate = Aggregate()
    aggregate.add(aggregation, np.array(values))
    return aggregate.summary


def taken(gathering: Gathering, **lessons: int) -> Mapping[str, Tagged]:
    return gathering.take(lessons, env_steps=30, is_training=True)


def test_episodes_and_updates_appear_under_the_tags_of_mlagents_learn() -> None:
    gathering = Gathering(strength=0.5)
    gathering.add_episodes(np.array([1.0, 3.0]), np.array([10, 20]))
    gathering.add_episodes(np.array([8.0]), np.array([30]))
    for loss in (-0.5, 0.25):
        gathering.add_update(
            {
                "loss/policy": loss,
                "loss/value": 2.0 + loss,
                "loss/entropy": -1.5,
                "policy/learning_rate": 3e-4,
                "policy/clip_range": 0.2,
                "entropy/coefficient": 0.005,
                "value/mean": 4.0,
                "policy/kl": 9.0,
            },
            {},
        )
    values = taken(gathering, gravity=1)
    assert scalars(values) == pytest.approx(
        {
            "Environment/Cumulative Reward": 4.0,
            "Environment/Episode Length": 20.0,
            "Environment/Lesson Number/gravity": 1.0,
            "Policy/Extrinsic Reward": 2.0,
            "Policy/Extrinsic Value Estimate": 4.0,
            "Policy/Entropy": 1.5,
            "Policy/Learning Rate": 3e-4,
            "Policy/Epsilon": 0.2,
            "Policy/Beta": 0.005,
            "Losses/Policy Loss": 0.375,
            "Losses/Value Loss": 1.875,
        }
    )
    # Deviations from 4: -3, -1, 4; mean square 26 / 3.
    assert values["Environment/Cumulative Reward"].std == pytest.approx((26 / 3) ** 0.5)
    assert list(histograms(values)) == ["Environment/Cumulative Reward_hist"]
    assert histograms(values)["Environment/Cumulative Reward_hist"].count == 3


def test_updates_of_sac_have_the_tags_that_sac_has_there() -> None:
    gathering = Gathering(strength=1.0)
    gathering.add_update(
        {
            "loss/policy": -2.0,
            "loss/q": 0.5,
            "value/q": 7.0,
            "policy/entropy": -1.0,
            "policy/learning_rate": 3e-4,
            "entropy/coefficient": 0.25,
            "replay/steps": 64.0,
        },
        {},
    )
    assert scalars(taken(gathering)) == {
        "Losses/Policy Loss": 2.0,
        "Losses/Q1 Loss": 0.5,
        "Policy/Extrinsic Value": 7.0,
        "Policy/Entropy": -1.0,
        "Policy/Learning Rate": 3e-4,
        "Policy/Continuous Entropy Coeff": 0.25,
        "Policy/Discrete Entropy Coeff": 0.25,
    }


def test_what_was_taken_is_not_shown_again() -> None:
    gathering = Gathering(strength=1.0)
    gathering.add_episodes(np.array([1.0]), np.array([1]))
    taken(gathering)
    assert set(taken(gathering)) == {"Is Training", "Step"}
    assert scalars(taken(gathering)) == {}


def test_the_deviation_of_returns_is_exact_where_they_are_large_and_alike() -> None:
    gathering = Gathering(strength=1.0)
    for value in (1e9, 1e9 + 2.0):
        gathering.add_episodes(np.array([value]), np.array([1]))
    assert taken(gathering)["Environment/Cumulative Reward"].std == pytest.approx(1.0)


def test_statistics_of_a_game_keep_their_names_and_their_aggregation() -> None:
    gathering = Gathering(strength=1.0)
    gathering.add_update(
        {},
        {
            "Goals": summary("sum", 1.0, 2.0),
            "Height": summary("mean", 1.0, 1.0, 4.0),
            "Level": summary("last", 5.0),
            "Speed": summary("histogram", 1.0, 2.0),
        },
    )
    gathering.add_update(
        {},
        {
            "Goals": summary("sum", 4.0),
            "Height": summary("mean", 6.0),
            "Level": summary("last", 3.0),
            "Speed": summary("histogram", 6.0),
        },
    )
    values = taken(gathering)
    assert scalars(values) == {"Goals": 7.0, "Height": 3.0, "Level": 3.0, "Speed": 3.0}
    together = histograms(values)["Speed_hist"]
    assert (together.count, together.total, together.squares) == (3, 9.0, 41.0)
    assert (together.least, together.most, int(together.counts.sum())) == (1.0, 6.0, 3)
    apart = summary("histogram", 1.0, 2.0, 6.0).histogram
    assert apart is not None
    filled = together.limits[together.counts > 0]
    assert filled.tolist() == apart.limits[apart.counts > 0].tolist()
    assert values["Height"].total == 12.0


def test_the_console_line_is_that_of_mlagents_learn() -> None:
    gathering = Gathering(strength=1.0)
    gathering.add_episodes(np.array([1.0, 3.0]), np.array([1, 1]))
    assert (
        console_line("3DBall", taken(gathering), step=12000, seconds=35.1234)
        == "3DBall. Step: 12000. Time Elapsed: 35.123 s. Mean Reward: 2.000. Std of Reward: 1.000. "
        "Training."
    )
    ended = gathering.take({}, env_steps=30, is_training=False)
    assert (
        console_line("3DBall", ended, step=1, seconds=2.0)
        == "3DBall. Step: 1. Time Elapsed: 2.000 s. No episode was completed since last summary. "
        "Not Training."
    )


def test_what_is_due_each_ten_steps_is_done_once_however_late() -> None:
    interval = Interval(10)
    assert interval.pass_at(12) == 10
    assert interval.pass_at(47) == 20
    assert interval.due == 50
    interval.begin_at(80)
    assert interval.due == 90


def entry(steps: int) -> Mapping[str, Any]:
    return checkpoint_entry(
        steps=steps,
        model=f"results/run/Ball/Ball-{steps}.onnx",
        others=(f"results/run/Ball/Ball-{steps}.pt",),
        reward=2.5,
        created_s=100.0,
    )


def new_status() -> TrainingStatus:
    return TrainingStatus(torch_version="2.10", entrain_version="0.2")


def test_the_status_of_a_run_has_the_keys_of_form_0_3_0(tmp_path: Path) -> None:
    status = new_status()
    assert status.add_checkpoint("Ball", entry(500), keep=2) == ()
    status.add_checkpoint("Ball", entry(1000), keep=2)
    # The same step again is the same checkpoint.
    assert status.add_checkpoint("Ball", entry(1000), keep=2) == ()
    status.set_final("Ball", entry(1000), "results/run/Ball.onnx")
    status.set_lessons({"gravity": 1})
    # What a real run of mlagents-learn 1.1.0 wrote, and its own classes read.
    assert json.loads(status.text()) == {
        "Ball": {
            "checkpoints": [entry(500), entry(1000)],
            "final_checkpoint": {**entry(1000), "file_path": "results/run/Ball.onnx"},
        },
        "gravity": {"lesson_num": 1},
        "metadata": {
            "stats_format_version": "0.3.0",
            "mlagents_version": "1.1.0",
            "torch_version": "2.10",
            "entrain_version": "0.2",
        },
    }
    (tmp_path / "status.json").write_text(status.text())
    resumed = new_status()
    resumed.load(tmp_path / "status.json")
    old = resumed.add_checkpoint("Ball", entry(1500), keep=2)
    assert old == ("results/run/Ball/Ball-500.onnx", "results/run/Ball/Ball-500.pt")


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"Ball": 3}', "{" * 5000, "\xff"])
def test_a_status_that_cannot_be_read_is_written_anew(
    content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "training_status.json"
    path.write_text(content, encoding="latin-1")
    status = new_status()
    status.load(path)
    assert "cannot be read" in caplog.text
    assert list(json.loads(status.text())) == ["metadata"]


def test_timers_say_which_part_took_how_many_seconds() -> None:
    timers = Timers(began_s=10.0, started_at=1000.0, about={"mlagents_version": "1.1.0"})
    shares = {"time/wait": 0.25, "time/decode": 0.05, "time/record": 0.1, "time/learn": 0.5}
    timers.note_update("Ball", shares, now_s=20.0)
    timers.note_update("Ball", shares, now_s=30.0)
    for value in (4.0, 2.0):
        timers.note_summary("Ball", {"Policy/Learning Rate": Tagged(value=value, total=8.0)})
    tree = timers.tree(now_s=32.0, ended_at=1022.0)
    assert (tree["name"], tree["total"], tree["count"]) == ("root", 22.0, 1)
    assert tree["metadata"]["start_time_seconds"] == "1000"
    assert tree["metadata"]["end_time_seconds"] == "1022"
    assert tree["gauges"]["Ball.Policy.LearningRate.mean"] == {
        "value": 2.0,
        "min": 2.0,
        "max": 4.0,
        "count": 2,
    }
    learning = tree["children"]["TrainerController.start_learning"]
    advance = learning["children"]["TrainerController.advance"]
    assert learning["total"] == 22.0
    # 20 s, of which 0.9 are accounted for.
    assert learning["self"] == pytest.approx(4.0)
    env_step = advance["children"]["env_step"]
    assert env_step["total"] == pytest.approx(6.0)
    assert env_step["children"]["wait"] == {"total": 5.0, "count": 2, "self": 5.0}
    update = advance["children"]["trainer_advance"]["children"]["_update_policy"]
    assert update["total"] == pytest.approx(10.0)


SETTINGS = """
default_settings: {trainer_type: ppo, summary_freq: 1e3}
behaviors:
  Ball: {trainer_type: ppo, hyperparameters: {beta: 1e-3}, network_settings: {memory: {}}}
engine_settings: {time_scale: 1.5}
environment_parameters:
  mass: 2
  gravity:
    curriculum:
      - name: low
        value: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
        completion_criteria: {behavior: Ball, measure: progress, threshold: 0.5}
      - {name: high, value: 3.0}
"""


def test_the_configuration_that_is_left_behind_means_what_the_settings_meant(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ball.yaml"
    path.write_text(SETTINGS)
    run = load_stock(path, {"checkpoint_settings.run_id": "walk"}).run
    text = configuration_text(run, run.behaviors)
    written = yaml.safe_load(text)
    assert written["behaviors"]["Ball"]["network_settings"]["memory"] == {
        "sequence_length": 64,
        "memory_size": 128,
    }
    assert list(written["behaviors"]["Ball"]["reward_signals"]) == ["extrinsic"]
    assert "framework" not in written["behaviors"]["Ball"]
    assert written["env_settings"]["timeout_wait"] == 60
    assert written["environment_parameters"]["mass"]["curriculum"][0] == {
        "value": {
            "sampler_type": "constant",
            "sampler_parameters": {"seed": -1, "value": 2},
        },
        "name": "mass",
        "completion_criteria": None,
    }
    (tmp_path / "configuration.yaml").write_text(text)
    again = load_stock(tmp_path / "configuration.yaml", {}).run
    assert again.behaviors == run.behaviors
    assert again.default_settings == run.default_settings
    assert again.engine_settings == run.engine_settings
    assert again.checkpoint_settings == run.checkpoint_settings
    assert configuration_text(again, again.behaviors) == text


def tree_in(path: Path) -> ResultsTree:
    return ResultsTree(path, stem=lambda behaviour: behaviour, check=lambda: None)


def test_a_behaviour_named_like_a_folder_of_the_run_gets_another_one(tmp_path: Path) -> None:
    tree = tree_in(tmp_path)
    assert tree.checkpoint("Ball", 500) == tmp_path / "Ball" / "Ball-500.onnx"
    assert tree.folder("Checkpoints") == tmp_path / "Checkpoints%-behavior"


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    tree = tree_in(tmp_path / "results" / "run")
    tree.write(tree.status, "{}")
    assert tree.status.read_text() == "{}"


def test_a_disk_that_refuses_is_told_once_until_it_takes_something_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = tree_in(tmp_path / "run")
    (tmp_path / "run").write_text("a file where the folder should be")
    for _ in range(3):
        tree.write(tree.configuration, "a: 1")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    told = caplog.messages[0]
    assert told.startswith("configuration.yaml is not written: cannot write ")
    assert told.endswith("Training goes on")
    (tmp_path / "run").unlink()
    tree.write(tree.configuration, "a: 1")
    assert tree.configuration.read_text() == "a: 1"


def test_nothing_is_written_into_a_folder_that_another_trainer_has(tmp_path: Path) -> None:
    def check() -> None:
        raise InUseError("the run folder was taken over")

    tree = ResultsTree(tmp_path, stem=str, check=check)
    tree.write(tree.configuration, "a: 1")
    assert not tree.configuration.exists()


def test_only_files_of_the_tree_are_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    outside.touch()
    tree = tree_in(tmp_path / "run")
    folder = tree.folder("Ball")
    folder.mkdir(parents=True)
    mine = [folder / name for name in ("Ball-5.onnx", "Ball-5.pt", "events.out.tfevents.1")]
    others = [folder / name for name in ("notes.txt", "Ball-best.onnx", "Bal-5.onnx")]
    for path in (*mine, *others, tree.model("Ball")):
        path.touch()
    tree.remove(folder / ".." / ".." / "outside.onnx")
    tree.clear("Ball")
    assert outside.exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in others)
    assert not tree.model("Ball").exists()
