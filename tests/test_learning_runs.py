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
    assert "pendulum_masked: 100.000 +- 0.000; -231.9 (rl-baselines3-zoo" in printed
    assert not scored[0].exists()


def test_the_masked_pendulum_is_judged_by_eight_seeds_with_allowance_for_its_noise() -> None:
    # The source's 100 episodes are spread by 140.1: their mean is uncertain by 140.1 / sqrt(100).
    task = learning.TASKS["pendulum_masked"]
    assert task.num_seeds == 8
    assert task.threshold == pytest.approx(-217.9 - 140.1 / 100**0.5, abs=0.1)


def test_a_task_is_run_for_as_many_seeds_as_it_is_judged_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings: list[str] = []

    def train(_config: Path, folder: Path, *given: str) -> FinishedRun:
        settings.extend(given)
        row = {"env_steps": "1", "rollout/episode_return_mean": "1", "rollout/episodes": "1"}
        return FinishedRun(folder, [{**row, "time/seconds": "1"}], {"seconds": 1.0})

    monkeypatch.setattr(learning, "train", train)
    monkeypatch.setattr(learning, "evaluated_return", lambda run, *, episodes: -200.0)
    monkeypatch.setattr("sys.argv", ["learning", "pendulum_masked"])
    learning.main()
    seeds = [setting for setting in settings if setting.startswith("seed=")]
    assert seeds == [f"seed={seed}" for seed in range(1, 9)]
