"""An evaluation of an environment without ends says how it goes, and ends with what was earned."""

import csv
import json
import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from entrain.app import commands, evaluation, reporting, sittings
from entrain.app.evaluation_options import EvaluationOptions
from entrain.config.load import load_config
from entrain.errors import ConfigError, NoSimulatorError
from entrain.run.folder import RunFolder
from entrain_envs.timestep import ActionBatch, StepType
from live_run import simulators
from toy_environments import FREE, Floats, Toy

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s"}}
policies: {{toy: {{total_steps: 100, rollout_steps: 100, network: {{hidden_sizes: [4]}}}}}}
"""


class Forever(Toy):
    """Pays 0.5 a step and never ends; it may send this process a signal at a step."""

    def __init__(self, *, stop_at: int = 0) -> None:
        super().__init__(FREE, num_agents=2, observation_size=1)
        self._stop_at = stop_at
        self._steps = 0

    def seen(self) -> Floats:
        return np.zeros((self.num_agents, 1), np.float32)

    def act(self, actions: ActionBatch) -> tuple[Floats, np.ndarray]:
        self._steps += 1
        if self._steps == self._stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        reward = np.full(self.num_agents, 0.5, np.float32)
        return reward, np.full(self.num_agents, StepType.MID, np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A policy that was trained for 100 steps."""
    folder = tmp_path_factory.mktemp("forever")
    path = folder / "toy.yaml"
    path.write_text(CONFIG.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sittings, "write_results", lambda *_, **__: None)
        with simulators(f"unix:{folder}/s", {"trains": Forever()}):
            assert commands.train(load_config(path, [])) == 0
    return RunFolder(folder / "runs" / "run")


def test_training_says_once_that_no_episode_has_ended_and_what_that_means(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "entrain")
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    monkeypatch.setattr(reporting, "ENDLESS_STEPS", 15)
    path = tmp_path / "toy.yaml"
    path.write_text(
        CONFIG.format(folder=tmp_path).replace("rollout_steps: 100", "rollout_steps: 34")
    )
    with simulators(f"unix:{tmp_path}/s", {"trains": Forever()}):
        assert commands.train(load_config(path, [])) == 0
    updates = [line for line in caplog.messages if line.startswith("update ")]
    assert all("no episode has ended yet, reward 0.5 per step" in line for line in updates)
    told = [line for line in caplog.messages if "one runs for" in line]
    assert len(told) == 1
    assert "the simulator must send TERMINATED or TRUNCATED" in told[0]
    assert "policy 'toy': no episode has ended, so there is no return" in caplog.text


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_it_ends_at_its_limit_of_steps_with_what_unfinished_episodes_earned(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulators(f"unix:{run.path.parents[1]}/s", {"shows": Forever()}):
        assert commands.evaluate(run.path, [], EvaluationOptions(episodes=1, max_steps=60)) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:-1] == [
        "toy: no episode ended",
        "toy: 2 unfinished episodes: return 15.00 +- 0.00 so far, length 30.0, reward 0.5 per step",
    ]
    assert told[-1].startswith("not complete: the limit on steps was reached (--max-steps), after ")
    assert rows(run.evaluation_episodes) == [
        {
            "policy": "toy",
            "episode": str(number),
            "simulator": "shows",
            "return": "15.0",
            "length": "30",
            "ending": "unfinished",
        }
        for number in (1, 2)
    ]


def test_ctrl_c_ends_it_with_what_was_earned_so_far_as_json_in_a_file_of_ones_own(
    run: RunFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with simulators(f"unix:{run.path.parents[1]}/s", {"shows": Forever(stop_at=50)}):
        code = commands.evaluate(
            run.path, [], EvaluationOptions(episodes=1), table=tmp_path / "it.csv", as_json=True
        )
    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["reason"] == "stopped"
    unfinished = told["policies"]["toy"]["unfinished"]
    assert unfinished["episodes"] == 2
    assert unfinished["length_mean"] >= 49
    assert unfinished["reward_per_step"] == 0.5
    assert [row["ending"] for row in rows(tmp_path / "it.csv")] == ["unfinished"] * 2


def test_it_says_how_it_goes_and_ends_at_its_limit_of_time(
    run: RunFolder,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "entrain")
    monkeypatch.setattr(evaluation, "TELL_S", 0.05)
    monkeypatch.setattr(evaluation, "LOOK_S", 0.01)
    with simulators(f"unix:{run.path.parents[1]}/s", {"shows": Forever()}):
        options = EvaluationOptions(episodes=1, max_seconds=0.5)
        assert commands.evaluate(run.path, [], options) == 0
    assert "the limit on time was reached" in capsys.readouterr().out
    assert any("toy: 0 of 2 episodes ended; " in line for line in caplog.messages)


def test_before_a_simulator_comes_it_says_what_it_waits_for(
    run: RunFolder,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "entrain")
    monkeypatch.setattr(evaluation, "TELL_S", 0.05)
    monkeypatch.setattr(evaluation, "LOOK_S", 0.01)
    with pytest.raises(NoSimulatorError):
        commands.evaluate(run.path, ["simulators.wait_s=0.2"], EvaluationOptions(episodes=1))
    assert any("waiting for simulators on unix:" in line for line in caplog.messages)
    assert capsys.readouterr().out == ""


def test_a_table_that_cannot_be_written_is_told_before_anything_runs(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="is no folder; make it first"):
        commands.evaluate(run.path, [], EvaluationOptions(), table=Path("/no/where/it.csv"))
