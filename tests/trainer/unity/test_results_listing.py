"""What a user is told of the files that a run of `entrain learn` has left."""

from pathlib import Path

import pytest

from entrain.app.command_words import words_of_run
from entrain.unity.results.listing import files_of_learn


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the files of a run of two behaviours, one of which has no model yet."""
    for name in (
        "Ball.onnx",
        "Ball/Ball-10.onnx",
        "Ball/Ball-20.onnx",
        "Ball/checkpoint.pt",
        "Ball/events.out.tfevents.1",
        "Odd[1]/Odd[1]-10.onnx",
        "Young/events.out.tfevents.1",
        "mine/notes.txt",
        "tensorboard/Ball/events.out.tfevents.1",
        "run_logs/Player-0.log",
        "configuration.yaml",
    ):
        path = tmp_path / "results" / "balls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    return tmp_path / "results" / "balls"


def test_each_behaviours_folder_is_told_with_the_usual_way_to_look_at_its_curves(run: Path) -> None:
    found = {str(path.relative_to(run)): words for path, words in files_of_learn(run).items()}
    assert list(found)[:4] == ["Ball.onnx", "Ball", "Odd[1]", "Young"]
    look = f"; tensorboard --logdir {run.parent}"
    assert found["Ball"] == f"2 checkpoints for the game (.onnx) and mlagents-learn (.pt){look}"
    assert found["Odd[1]"] == f"1 checkpoint for the game (.onnx){look}"
    assert found["Young"] == f"TensorBoard's curves{look}"
    assert "mine" not in found
    assert {"configuration.yaml", "run_logs", "tensorboard"} < set(found)


def test_such_a_run_goes_on_with_entrain_learn(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    same = "entrain learn (the same file and flags) --run-id=balls"
    assert words_of_run(Path("results/balls")).resume == f"{same} --resume"
    elsewhere = f"{same} --results-dir={run.parent} --resume"
    assert words_of_run(run).resume == elsewhere


def test_a_native_run_has_no_such_files_and_goes_on_with_entrain_resume(tmp_path: Path) -> None:
    (tmp_path / "walker.onnx").write_text("content")
    assert files_of_learn(tmp_path) == {}
    assert words_of_run(tmp_path).resume == f"entrain resume {tmp_path}"
    (tmp_path / "ranks" / f"{tmp_path.name}-rank-1").mkdir(parents=True)
    resume = f"torchrun --nproc-per-node 2 -m entrain resume {tmp_path}"
    assert words_of_run(tmp_path).resume == resume
