"""A run with samplers and a curriculum: it moves on, it tells, and it resumes exactly."""

import csv
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from entrain.app.lessons import lessons_to_play
from entrain.app.training import TrainingRun
from entrain.errors import ConfigError
from entrain.run.folder import RunFolder
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import Moment, config_from, differences, newest, simulators, train

CONFIG = """
seed: 7
server: {{address: "localhost:{port}", lockstep: true}}
simulators: {{expect: 2}}
environment_parameters:
  gravity: {{kind: gaussian, mean: 9.81, standard_deviation: 0.5}}
  platform_size:
    kind: curriculum
    lessons:
      - name: large
        value: 6
        completion: {{behaviour: ball, threshold: -1, min_episodes: 3, require_reset: true}}
      - name: medium
        value: {{kind: uniform, low: 4, high: 6}}
        completion: {{behaviour: ball, measure: progress, threshold: 0.6}}
      - name: small
        value: 3
policies:
  ball:
    total_steps: 900
    rollout_steps: 300
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


class Remembering(BalanceBall):
    """Remembers the parameters that its episodes begin with."""

    def __init__(self) -> None:
        super().__init__(count=3)
        self.told: list[Mapping[str, float]] = []

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self.told.append(dict(parameters))
        super().set_parameters(parameters)


async def run_with_stops(folder: Path, stops: Sequence[Moment]) -> tuple[TrainingRun, Any, Any]:
    """The run, its last checkpoint and what its simulators were told."""
    folder.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    config = config_from(CONFIG.format(port=port), folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    environments = {name: Remembering() for name in ("alpha", "beta")}
    with simulators(f"localhost:{port}", environments):
        for sitting, moment in enumerate(stops):
            outcome, _ = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == "stopped"
        outcome, run = await train(config, run_folder, resumed=bool(stops))
        assert outcome == "completed"
    return run, newest(run_folder), environments


def at(steps: int) -> Callable[[TrainingRun], bool]:
    return lambda run: run.env_steps >= steps


async def test_a_run_moves_on_and_one_that_is_stopped_moves_on_alike(tmp_path: Path) -> None:
    run, straight, environments = await run_with_stops(tmp_path / "straight", [])
    _, stopped, _ = await run_with_stops(tmp_path / "stopped", [at(100), at(560)])
    for part in ("curricula", "policies"):
        one, other = ({**each.state[part]} for each in (straight, stopped))
        found = [line for line in differences(one, other) if "progress" not in line]
        assert found == []
    for told in (environments["alpha"].told, environments["beta"].told):
        sizes = [each["platform_size"] for each in told]
        assert sizes[0] == 6
        assert sizes[-1] == 3
        middle = [size for size in sizes if size not in (6, 3)]
        assert middle
        assert all(4 <= size <= 6 for size in middle)
        assert len({each["gravity"] for each in told}) > 10
    assert environments["alpha"].told[0] != environments["beta"].told[0]
    summary = run.summary("completed")
    assert summary.lessons == {"platform_size": "'small' (3 of 3)"}
    with (tmp_path / "straight" / "runs" / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    completed = [float(row["environment/lessons_completed/platform_size"]) for row in rows]
    assert completed == sorted(completed)
    assert completed[-1] == 2

    config = config_from(CONFIG.format(port=1), tmp_path)
    assert lessons_to_play(config, straight, []) == {"platform_size": 2}
    assert lessons_to_play(config, straight, ["platform_size=large"]) == {"platform_size": 0}
    assert lessons_to_play(config, straight, ["platform_size=2"]) == {"platform_size": 1}
    for wrong in ("platform_size=huge", "platform_size=4", "gravity=1", "large"):
        with pytest.raises(ConfigError, match=f"--lesson {wrong}: "):
            lessons_to_play(config, straight, [wrong])
