"""What is played, where it listens, and what came of it in words."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from entrain.app import playing
from entrain.app.episode_quota import Scores
from entrain.app.evaluation_options import PlayOptions
from entrain.app.evaluation_results import EvaluationResult, PolicyResult
from entrain.app.recordings import Recordings
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_LENGTH_MEAN, EPISODE_RETURN_MEAN
from entrain.run.folder import RunFolder
from entrain.run.table import MetricsTable, Series
from entrain_envs.timestep import StepType

TERMINATED, TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)
LAUNCH = 'simulators.launch=[{command: "entrain-env walker"}]'


def scores(returns: list[float], lengths: list[int], endings: list[int]) -> Scores:
    return Scores(
        returns=np.array(returns),
        lengths=np.array(lengths),
        endings=np.array(endings, np.uint8),
        simulators=np.array(["sim-0"] * len(returns), dtype=object),
    )


def result(ended: Scores) -> PolicyResult:
    nothing = scores([], [], [])
    return PolicyResult(ended=ended, unfinished=nothing, env_steps=9, statistics={})


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (
            scores([2.0, 4.0], [10, 20], [TERMINATED] * 2),
            "an episode lasted 15 steps and earned 3.0",
        ),
        (
            scores([0.0], [1], [TRUNCATED]),
            "an episode lasted 1 step, to its time limit, and earned 0.0",
        ),
        (
            scores([1e-4, 1e-4], [3, 3], [TRUNCATED, TERMINATED]),
            "an episode lasted 3 steps (1 of 2 episodes to the time limit) and earned 0.0001",
        ),
        (
            scores([np.inf], [3], [TERMINATED]),
            "an episode lasted 3 steps and earned no finite return",
        ),
        (scores([-2.5e6], [1200], [TERMINATED]), "lasted 1,200 steps and earned -2,500,000.0"),
    ],
)
def test_an_episode_in_words(ended: Scores, words: str) -> None:
    assert playing._in_words(result(ended)).endswith(words)


def series(**columns: list[float]) -> Series:
    names = {"lengths": EPISODE_LENGTH_MEAN.name, "returns": EPISODE_RETURN_MEAN.name}
    arrays = {names[name]: np.array(each) for name, each in columns.items()}
    count = len(next(iter(columns.values())))
    return Series(np.arange(count), np.zeros(count), arrays)


def test_the_beginning_is_the_first_update_in_which_an_episode_ended() -> None:
    nan = float("nan")
    began = playing._beginning(series(lengths=[nan, 7.0, 9.0], returns=[nan, -1.5, 3.0]))
    assert began == "; when training began, it lasted 7 steps and earned -1.5"
    assert playing._beginning(series(lengths=[nan, 7.0], returns=[2.0, nan])) == ""
    assert playing._beginning(series(lengths=[7.0])) == ""


@pytest.mark.parametrize("untrained", [False, True])
def test_a_play_is_compared_with_when_training_began(tmp_path: Path, untrained: bool) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    table = MetricsTable(folder.metrics)
    metrics = {EPISODE_LENGTH_MEAN.name: 7.0, EPISODE_RETURN_MEAN.name: -1.5}
    table.append("walker", env_steps=10, wall_time=1.0, metrics=metrics)
    table.flush()
    policies = {
        "walker": result(scores([3.0], [15], [TERMINATED])),
        "runner": result(scores([3.0], [15], [TERMINATED])),
        "sleeper": result(scores([], [], [])),
    }
    lasted = "an episode lasted 15 steps and earned 3.0"
    began = "; when training began, it lasted 7 steps and earned -1.5"
    played = EvaluationResult(reason="complete", seconds=1.0, policies=policies)
    lines = list(playing._lines(folder, played, PlayOptions(untrained=untrained)))
    assert lines[-2:] == [
        f"walker: {lasted}{'' if untrained else began}",
        f"runner: {lasted}",
    ]


def test_without_a_table_of_metrics_nothing_is_compared(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    policies = {"walker": result(scores([3.0], [15], [TERMINATED]))}
    played = EvaluationResult(reason="complete", seconds=1.0, policies=policies)
    *_, last = playing._lines(folder, played, PlayOptions())
    assert last == "walker: an episode lasted 15 steps and earned 3.0"


@pytest.mark.parametrize("is_in_folder", [True, False])
def test_a_recording_is_named_as_the_user_would_and_shown_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_in_folder: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create(tmp_path, "walk")
    config = load_config(None, [LAUNCH])
    folder.recordings.mkdir()
    file = (folder.recordings if is_in_folder else tmp_path) / "play.gif"
    recordings = Recordings(file, config.simulators.launch, episodes=1, speed=None)
    assert list(playing.ending(folder, config, recordings, launch=None)) == []
    file.write_bytes(bytes(3 * 1024))
    rewritten: list[RunFolder] = []
    monkeypatch.setattr(playing, "rewrite_report", rewritten.append)
    lines = list(playing.ending(folder, config, recordings, launch=None))
    assert lines == [
        f"recorded {file.relative_to(tmp_path)} (3 KiB): open it in a browser",
        *([f"shown in {folder.report}, too"] if is_in_folder else []),
        f"next, returns over many episodes: entrain evaluate {folder.path}",
    ]
    assert rewritten == ([folder] if is_in_folder else [])


def test_a_policy_that_the_run_has_not_is_refused_with_the_one_that_is_meant() -> None:
    policies = cast("Any", {"walker": None, "runner": None})
    playing._require_behaviour("walker", policies)
    playing._require_behaviour(None, policies)
    with pytest.raises(
        ConfigError, match=r"no policy 'walkr' \(it has: walker, runner\); did you mean 'walker'\?"
    ):
        playing._require_behaviour("walkr", policies)
    with pytest.raises(ConfigError, match=r"\(it has: walker, runner\)$"):
        playing._require_behaviour("x", policies)


def test_one_copy_listens_apart_from_a_run_that_still_trains() -> None:
    config = load_config(
        None,
        [
            'simulators.launch=[{command: "entrain-env walker", count: 4}]',
            "server.address=localhost:5005",
            "server.websocket=localhost:5006",
        ],
    )
    seen = playing._to_look_at(config, None, None)
    assert [entry.count for entry in seen.simulators.launch] == [1]
    assert (seen.server.address, seen.server.websocket) == ("localhost:0", "localhost:0")
    there = playing._to_look_at(config, None, "localhost:5005")
    assert (there.server.address, there.server.websocket) == ("localhost:5005", "localhost:5006")
    other = playing._to_look_at(config, "./walker --fast", None)
    assert other.simulators.launch[0].command == "./walker --fast"
    with pytest.raises(ConfigError, match=r"--launch '' is no command"):
        playing._to_look_at(config, "", None)


def test_a_game_of_ml_agents_writes_no_recording(tmp_path: Path) -> None:
    game = cast("Any", SimpleNamespace(unity=object(), simulators=SimpleNamespace(launch=())))
    folder, options = RunFolder.create(tmp_path, "walk"), cast("Any", SimpleNamespace(episodes=1))
    with pytest.raises(ConfigError, match=r"--record play\.gif: a game of ML-Agents shows"):
        playing._recordings(folder, game, options, PlayOptions(record=Path("play.gif")))
    assert playing._recordings(folder, game, options, PlayOptions()) is None


def test_a_recording_in_the_run_s_folder_makes_that_folder(tmp_path: Path) -> None:
    folder, options = RunFolder.create(tmp_path, "walk"), cast("Any", SimpleNamespace(episodes=3))
    look = PlayOptions(record=folder.recordings / "play.gif", speed=30.0)
    recordings = playing._recordings(folder, load_config(None, [LAUNCH]), options, look)
    assert folder.recordings.is_dir()
    assert recordings is not None
    (name,) = recordings._files
    assert playing._environment_of(recordings)(name) == {
        "ENTRAIN_MAX_COUNT": "1",
        "ENTRAIN_RECORD": str(look.record),
        "ENTRAIN_RECORD_EPISODES": "3",
        "ENTRAIN_RECORD_FPS": "30",
    }
    assert playing._environment_of(None)(name) == {"ENTRAIN_MAX_COUNT": "1"}
