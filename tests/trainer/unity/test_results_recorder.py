"""When summaries and models of a behaviour are written, told by a run that is only played here."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from entrain.errors import ExportError
from entrain.unity.results.checkpoints import Policy
from entrain.unity.results.recorder import BehaviourRecorder, Outputs, ResultsRecorder
from entrain.unity.results.status import TrainingStatus
from entrain.unity.results.tree import ResultsTree
from entrain.unity.stock_file import load_stock
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

SETTINGS = """
behaviors:
  Ball: {trainer_type: ppo, summary_freq: 10, checkpoint_interval: 25, keep_checkpoints: 2,
         max_steps: 100}
  Cube: {trainer_type: ppo, summary_freq: 1000, max_steps: 100, keep_checkpoints: 4,
         even_checkpoints: true}
"""


class Writer:
    """Writes the number of steps instead of a policy."""

    def __init__(self) -> None:
        self.fails = False

    def export(self, policy: Policy, path: Path) -> None:
        if self.fails:
            raise ExportError("no game could run the policy")
        path.write_text(str(policy.steps))

    def save(self, policy: Policy, path: Path) -> bool:
        path.write_text(str(policy.algorithm["weights"]))
        return policy.spec.name == "Ball"


class Played:
    """A run of one behaviour, as its recorder sees it."""

    def __init__(self, recorder: ResultsRecorder, name: str = "Ball", *, steps: int = 0) -> None:
        self.steps = steps
        self.weights = 0
        self.is_updating = False
        spec = BehaviourSpec(name, (ObservationSpec("seen", (2,)),), ActionSpec((-1.0,), (1.0,)))
        self.recorder: BehaviourRecorder = recorder.follow(
            spec, self.take, lambda: self.steps, lambda: {"gravity": 1}
        )

    def take(self) -> dict[str, Any] | None:
        return None if self.is_updating else {"weights": self.weights}

    def play(self, steps: int, *, agents: int = 1) -> None:
        for _ in range(0, steps, agents):
            self.steps += agents
            if self.steps >= self.recorder.due:
                self.recorder.reach(self.steps)

    def end(self, *returns: float) -> None:
        self.recorder.note_episodes(np.array(returns), np.ones(len(returns), np.int64))

    def update(self) -> None:
        self.weights += 1
        self.recorder.note_update({"policy/learning_rate": 0.5}, {}, env_steps=self.steps)


def recorder_in(
    folder: Path, writer: Writer | None = None, *, clears: bool = True, waits: bool = False
) -> ResultsRecorder:
    settings = folder / "balls.yaml"
    settings.write_text(SETTINGS)
    tree = ResultsTree(folder / "run", stem=str, check=lambda: None)
    status = TrainingStatus(torch_version="2", entrain_version="0")
    if not clears:
        status.load(tree.status)
    outputs = Outputs(tree, writer or Writer(), status, about={}, clock=lambda: 1.0)
    return ResultsRecorder(load_stock(settings, {}).run, outputs, clears=clears, waits=waits)


def models(folder: Path, name: str = "Ball") -> Sequence[str]:
    found = [*(folder / "run" / name).glob("*.onnx"), *(folder / "run" / name).glob("*.pt")]
    return sorted(path.name for path in found)


def files(folder: Path) -> set[tuple[Path, int]]:
    return {(path, path.stat().st_mtime_ns) for path in (folder / "run").rglob("*")}


def summaries(folder: Path) -> Sequence[tuple[int, float]]:
    events = EventAccumulator(str(folder / "run" / "Ball")).Reload()
    return [(it.step, it.value) for it in events.Scalars("Environment/Cumulative Reward")]


def status_of(folder: Path) -> Any:
    return json.loads((folder / "run" / "run_logs" / "training_status.json").read_text())


def test_summaries_are_at_multiples_of_their_frequency_however_steps_come(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    ball = Played(recorder)
    ball.end(1.0)
    ball.play(14, agents=7)
    ball.end(2.0, 4.0)
    ball.play(28, agents=7)
    ball.end(8.0)
    ball.play(7, agents=7)
    recorder.close()
    # 14, 21, 35 and 42 steps are the first at or beyond 10, 20, 30 and 40; from 42 on none is due.
    assert summaries(tmp_path) == [(10, 1.0), (20, 3.0)]


def test_updates_after_the_last_summary_are_in_one_at_the_end(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    ball, cube = Played(recorder), Played(recorder, "Cube")
    ball.play(10)
    ball.update()
    ball.end(5.0)
    ball.play(4)
    cube.end(1.0)
    cube.play(3)
    recorder.close()
    events = EventAccumulator(str(tmp_path / "run" / "Ball")).Reload()
    assert [(it.step, it.value) for it in events.Scalars("Policy/Learning Rate")] == [(14, 0.5)]
    assert summaries(tmp_path) == [(14, 5.0)]
    # Without an update there is none, as in mlagents-learn.
    assert not EventAccumulator(str(tmp_path / "run" / "Cube")).Reload().Tags()["scalars"]


def test_models_are_written_at_their_interval_and_at_the_end_and_the_newest_stay(
    tmp_path: Path,
) -> None:
    recorder = recorder_in(tmp_path)
    ball, cube = Played(recorder), Played(recorder, "Cube")
    ball.end(3.0)
    ball.play(60)
    ball.update()
    cube.play(30)
    recorder.close()
    # At 25, 50 and 60; two are kept. max_steps / keep_checkpoints is 25.
    names = ["Ball-50.onnx", "Ball-50.pt", "Ball-60.onnx", "Ball-60.pt", "checkpoint.pt"]
    assert models(tmp_path) == names
    assert (tmp_path / "run" / "Ball" / "Ball-50.pt").read_text() == "0"
    assert (tmp_path / "run" / "Ball" / "checkpoint.pt").read_text() == "1"
    assert (tmp_path / "run" / "Ball.onnx").read_text() == "60"
    # The writer says that this one cannot be a .pt.
    assert [it for it in models(tmp_path, "Cube") if it.endswith("onnx")] == [
        "Cube-25.onnx",
        "Cube-30.onnx",
    ]
    status = status_of(tmp_path)
    assert [it["steps"] for it in status["Ball"]["checkpoints"]] == [50, 60]
    assert status["Ball"]["final_checkpoint"]["steps"] == 60
    assert status["Ball"]["final_checkpoint"]["reward"] == 3.0
    assert status["Cube"]["checkpoints"][0]["reward"] is None
    assert status["Cube"]["checkpoints"][0]["auxillary_file_paths"] == []
    assert status["gravity"] == {"lesson_num": 1}


def test_a_model_that_is_due_during_an_update_is_written_after_it(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    ball = Played(recorder)
    ball.is_updating = True
    ball.play(27)
    assert models(tmp_path) == []
    ball.is_updating = False
    ball.update()
    ball.is_updating = True
    recorder.close()
    # And none is made of weights that an update has half changed, at the end.
    assert models(tmp_path) == ["Ball-27.onnx", "Ball-27.pt", "checkpoint.pt"]


def test_the_reward_of_a_model_is_that_of_the_episodes_since_the_newest_update(
    tmp_path: Path,
) -> None:
    recorder = recorder_in(tmp_path)
    ball = Played(recorder)
    ball.end(100.0)
    ball.update()
    ball.end(2.0)
    ball.end(4.0)
    ball.play(25)
    ball.update()
    ball.play(25)
    recorder.close()
    # None has ended since the second: the ones before it count.
    assert [it["reward"] for it in status_of(tmp_path)["Ball"]["checkpoints"]] == [3.0, 3.0]


def test_a_run_without_a_step_leaves_no_model(tmp_path: Path) -> None:
    recorder = recorder_in(tmp_path)
    Played(recorder)
    recorder.close()
    assert models(tmp_path) == []
    assert sorted(it.name for it in (tmp_path / "run").iterdir()) == [
        "Ball",
        "configuration.yaml",
        "run_logs",
    ]


def test_a_run_that_fails_is_not_hidden_by_a_policy_that_cannot_be_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: Played) -> None:
        raise RuntimeError("the device is lost")

    recorder = recorder_in(tmp_path)
    Played(recorder).play(5)
    monkeypatch.setattr(Played, "take", lost)
    ball = Played(recorder, "Cube")
    ball.play(5)
    recorder.close()
    assert "the last models for games are not written: RuntimeError: the device" in caplog.text
    assert (tmp_path / "run" / "run_logs" / "timers.json").is_file()


def test_nobody_who_joined_leaves_nothing(tmp_path: Path) -> None:
    recorder_in(tmp_path).close()
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_goes_on_with_summaries_and_checkpoints(tmp_path: Path) -> None:
    first = recorder_in(tmp_path)
    ball = Played(first)
    for steps in (10, 10, 7):
        ball.end(1.0)
        ball.play(steps)
    first.close()
    before = files(tmp_path)
    second = recorder_in(tmp_path, clears=False, waits=True)
    ball = Played(second, steps=0)
    # What is loaded may yet turn out not to fit: until then, nothing is written.
    assert files(tmp_path) == before
    ball.steps = 15
    second.resume_at({"Ball": 15})
    ball.end(7.0)
    ball.play(35)
    second.close()
    # That of step 20 was measured after the checkpoint: it is void, and measured again.
    assert summaries(tmp_path) == [(10, 1.0), (20, 7.0)]
    # Of 25, 27, 25 again and 50.
    assert [it["steps"] for it in status_of(tmp_path)["Ball"]["checkpoints"]] == [25, 50]


@pytest.mark.parametrize("is_of_mlagents", [True, False])
def test_what_mlagents_learn_trained_after_us_is_told_of_before_it_is_overwritten(
    is_of_mlagents: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run" / "run_logs" / "training_status.json"
    path.parent.mkdir(parents=True)
    about = {"mlagents_version": "1.1.0"} | ({} if is_of_mlagents else {"entrain_version": "0"})
    entry = {"steps": 5019, "file_path": "results/run/Ball/Ball-5019.onnx"}
    path.write_text(json.dumps({"Ball": {"checkpoints": [entry]}, "metadata": about}))
    recorder = recorder_in(tmp_path, clears=False, waits=True)
    Played(recorder)
    recorder.resume_at({"Ball": 4008})
    recorder.close()
    told = "mlagents-learn has trained it here to 5,019 steps, and entrain goes on from its own"
    assert (told in caplog.text) == is_of_mlagents


def test_a_run_that_begins_anew_removes_what_was_there_of_its_behaviours(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "Ball"
    folder.mkdir(parents=True)
    for name in ("Ball-999.onnx", "checkpoint.pt", "notes.txt"):
        (folder / name).touch()
    recorder = recorder_in(tmp_path)
    Played(recorder)
    recorder.close()
    assert models(tmp_path) == []
    assert (folder / "notes.txt").exists()


def test_one_that_goes_on_from_mlagents_learn_keeps_it_and_begins_with_its_steps(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run" / "Ball"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    recorder = recorder_in(tmp_path, clears=False)
    ball = Played(recorder, steps=1003)
    assert (folder / "checkpoint.pt").exists()
    assert ball.recorder.due == 1010
    recorder.close()


def test_a_policy_that_no_game_could_run_is_told_once_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer()
    recorder = recorder_in(tmp_path, writer)
    ball = Played(recorder)
    writer.fails = True
    with caplog.at_level(logging.WARNING):
        ball.play(60)
        recorder.close()
    assert caplog.messages == [
        "policy 'Ball' is not written for games: no game could run the policy. Training goes on"
    ]
    assert "Not Training" not in caplog.text
