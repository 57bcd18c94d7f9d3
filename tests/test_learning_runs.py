"""What the learning benchmark does around its runs."""

from pathlib import Path

import pytest
from benchmarks import learning
from benchmarks.runs import FinishedRun


def test_a_task_that_is_scored_by_playing_on_finds_its_run_folders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"env_steps": "100", "rollout/episode_return_mean": "7", "rollout/episodes": "1"}
    scored: list[Path] = []

    def train(_config: Path, folder: Path, *_settings: str) -> FinishedRun:
        folder.mkdir()
        return FinishedRun(folder, [{**row, "time/seconds": "2"}], {"seconds": 2.0})

    def evaluated_return(run: FinishedRun, *, episodes: int) -> float:
        assert run.folder.is_dir()
        scored.append(run.folder)
        return float(episodes)

    monkeypatch.setattr(learning, "train", train)
    monkeypatch.setattr(learning, "evaluated_return", evaluated_return)
    monkeypatch.setattr("sys.argv", ["learning", "pendulum_masked", "--seeds", "2"])
    learning.main()
    assert [folder.name for folder in scored] == [
        "pendulum_masked-seed-1",
        "pendulum_masked-seed-2",
    ]
    printed = capsys.readouterr().out
    assert "seed 2: final return 7.000, without noise 100.000, 100 steps, 2 s" in printed
    assert "pendulum_masked: 100.000 +- 0.000; -217.9" in printed
    assert not scored[0].exists()
