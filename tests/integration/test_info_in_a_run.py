"""`entrain-env gymnasium --info`: values of a real environment, wherever a run shows them."""

import asyncio
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from entrain.app import commands
from entrain.app.evaluation_options import EvaluationOptions
from entrain.run.episode_table import read_episodes
from entrain.run.folder import RunFolder
from entrain.run.plots import draw_statistics
from entrain.run.table import read_metrics
from entrain_envs import command_line
from entrain_envs.environment import Environment
from entrain_envs.making import make_environment
from live_run import config_from, simulators, train

CONFIG = """
server: {{address: "unix:{folder}/s"}}
policies:
  FrozenLake-v1:
    total_steps: 400
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""

COMMAND = """gymnasium FrozenLake-v1 --connect unix:{folder}/s
--wrapper gymnasium.wrappers:RecordEpisodeStatistics
--info prob --info episode/l=histogram --info episode/r@end=sum"""


def lake_of(folder: Path) -> Environment:
    """As the command makes it."""
    options = command_line.parser().parse_args(COMMAND.format(folder=folder).split())
    return make_environment(options)


def test_they_are_in_tensorboard_both_tables_the_log_the_report_and_evaluations(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    config = config_from(CONFIG.format(folder=tmp_path), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "lake")
    with simulators(f"unix:{tmp_path}/s", {"lake": lake_of(tmp_path)}):
        outcome, _ = asyncio.run(train(config, folder))
    assert outcome == "completed"

    series = read_metrics(folder.metrics)["FrozenLake-v1"]
    prob, length = (series.columns[f"statistics/{name}"] for name in ("prob", "episode/l"))
    # A step slips sideways in two of three cases; a reset is certain.
    assert ((prob > 1 / 3) & (prob < 1)).all()
    np.testing.assert_allclose(length, series.columns["rollout/episode_length_mean"])
    returns = series.columns["rollout/episode_return_mean"] * series.columns["rollout/episodes"]
    np.testing.assert_allclose(series.columns["statistics/episode/r"], returns)

    shown = EventAccumulator(str(folder.events("FrozenLake-v1")), {"histograms": 0})
    shown.Reload()
    assert [it.value for it in shown.Scalars("statistics/prob")] == pytest.approx(prob.tolist())
    counts = [it.histogram_value.num for it in shown.Histograms("statistics/episode/l")]
    assert counts == series.columns["rollout/episodes"].tolist()

    # One copy, so what it reported last when an episode ended is of that episode.
    rows = [row for row in read_episodes(folder.episodes) if row["ending"] != "dropped"]
    reported = [json.loads(row["statistics"]) for row in rows]
    assert [it["episode/l"] for it in reported] == [float(row["length"]) for row in rows]
    assert [it["episode/r"] for it in reported] == [float(row["return"]) for row in rows]

    (first, *_) = [text for text in caplog.messages if text.startswith("update 1")]
    assert f"prob {prob[0]:.4g}" in first
    titles = {plot.title for plot in draw_statistics(series)}
    assert titles == {"prob", "episode/l", "episode/r"}

    folder.write_config((tmp_path / "config.yaml").read_text())
    with simulators(f"unix:{tmp_path}/s", {"lake": lake_of(tmp_path)}):
        options = EvaluationOptions(episodes=3)
        assert commands.evaluate(folder.path, [], options, as_json=True) == 0
    evaluated = json.loads(capsys.readouterr().out)["policies"]["FrozenLake-v1"]
    assert list(evaluated["statistics"]) == ["prob", "episode/l", "episode/r"]
    assert 1 / 3 < evaluated["statistics"]["prob"] < 1
