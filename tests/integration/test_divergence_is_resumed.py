"""What came to no finite number is saved as it was before, and the run can be gone on with."""

from pathlib import Path

import pytest

from entrain.app import commands
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import TrainingDivergedError
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from entrain.state import State
from live_run import differences, newest, simulators
from toy_environments import DiscreteBandit

RUN = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s", lockstep: true}}
policies:
  toy:
    total_steps: 256
    network: {{hidden_sizes: [8]}}
    rollout_steps: 64
    algorithm: {{minibatch_size: 32, num_epochs: 2, learning_rate: {learning_rate}}}
"""
FAR_TOO_HIGH, FINE = "1e30", "0.01"
LOWER = f"policies.toy.algorithm.learning_rate={FINE}"


@pytest.fixture(autouse=True)
def _no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has tests of its own, and takes longer than all the rest."""
    monkeypatch.setattr(commands, "export_policy", lambda *_arguments, **_options: None)
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])


def config_of(folder: Path, *, learning_rate: str) -> RunConfig:
    """The configuration of a run in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(RUN.format(folder=folder, learning_rate=learning_rate))
    return load_config(path, [])


def diverged_in(folder: Path) -> RunFolder:
    """The folder of a run that has just diverged."""
    with pytest.raises(TrainingDivergedError, match="resume with a lower learning_rate"):
        commands.train(config_of(folder, learning_rate=FAR_TOO_HIGH))
    return RunFolder(folder / "runs" / "run")


def learned(folder: RunFolder) -> State:
    """What the newest checkpoint holds of the policy, without how long it took."""
    return {**newest(folder).state["policies"]["0"]["trainer"], "progress": None}


def bandit() -> DiscreteBandit:
    return DiscreteBandit([1.0, 0.0, 0.0], num_agents=16)


def test_resumed_with_a_lower_learning_rate_it_ends_as_if_it_had_been_low_from_the_start(
    tmp_path: Path,
) -> None:
    # The first update diverges, so all that was learned until then is nothing.
    straight, diverged = tmp_path / "straight", tmp_path / "diverged"
    with simulators(f"unix:{straight}/s", {"a": bandit()}):
        assert commands.train(config_of(straight, learning_rate=FINE)) == 0
    expected = learned(RunFolder(straight / "runs" / "run"))
    with simulators(f"unix:{diverged}/s", {"a": bandit()}):
        folder = diverged_in(diverged)
        assert RunSummary.load(folder.summary).outcome == "failed"
        assert commands.resume(folder.path, [LOWER]) == 0
    assert RunSummary.load(folder.summary).outcome == "completed"
    assert differences(learned(folder), expected) == []


def test_what_diverges_again_pushes_no_older_checkpoint_out(tmp_path: Path) -> None:
    with simulators(f"unix:{tmp_path}/s", {"a": bandit()}):
        folder = diverged_in(tmp_path)
        saved = CheckpointStore(folder.checkpoints, keep=3).paths
        for _ in range(2):
            with pytest.raises(TrainingDivergedError, match="update 1 of policy 'toy'"):
                commands.resume(folder.path, [])
            assert CheckpointStore(folder.checkpoints, keep=3).paths == saved
        assert len(saved) == 1
        assert commands.resume(folder.path, [LOWER]) == 0
