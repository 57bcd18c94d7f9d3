"""What `entrain info` shows of an installation and of a run."""

from pathlib import Path

import numpy as np
import pytest

import entrain
from entrain.app.info import describe_installation, describe_run
from entrain.cli import main
from entrain.config.load import to_yaml
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.progress import Progress
from entrain.run.summary import PolicySummary, RunSummary

pytestmark = pytest.mark.usefixtures("logging_as_before")

METRICS = """\
behaviour,env_steps,wall_time,rollout/episode_return_mean
walker,2048,1.000,10.0
walker,4096,2.000,212.44
runner,100,2.500,
walker,5000,3.000,
"""


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path, "walk")
    config = RunConfig(
        policies={"walker": PolicyConfig(total_steps=10_000), "runner": PolicyConfig()}
    )
    folder.write_config(to_yaml(config))
    return folder


def save(folder: RunFolder, *steps: int) -> list[Path]:
    store = CheckpointStore(folder.checkpoints, keep=10)
    return [store.save({"weight": np.zeros(3)}, step=step) for step in steps]


def test_an_installation_is_told_with_versions_and_devices() -> None:
    lines = list(describe_installation())
    assert lines[0] == f"entrain {entrain.__version__}"
    for beginning in ("entrain-envs 0.", "torch 2.", "grpcio 1.", "Python 3.", "devices: CPU"):
        assert any(line.startswith(beginning) for line in lines), beginning


def test_a_new_run_has_neither_progress_nor_checkpoints(folder: RunFolder) -> None:
    lines = list(describe_run(folder.path))
    assert lines[0] == str(folder.path)
    assert lines[-4:] == ["progress", "  no update yet", "checkpoints", "  none"]


def test_progress_is_told_of_every_behaviour(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    lines = list(describe_run(folder.path))
    assert "  walker: 5,000 of 10,000 env steps (50%) after 3 updates, mean return 212.4" in lines
    assert "  runner: 100 of 1,000,000 env steps (0%) after 1 update" in lines


def test_what_is_not_done_is_not_yet_100_percent(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS.replace("5000", "9999"), encoding="utf-8")
    assert "  walker: 9,999 of 10,000 env steps (99%)" in "\n".join(describe_run(folder.path))


@pytest.mark.parametrize(
    ("ended_at", "told"),
    [(4.0, "10,003 of 10,000 env steps (100%) after 3 updates"), (2.5, "5,000 of 10,000")],
    ids=["the run has ended", "it ended once and goes on"],
)
def test_steps_behind_the_last_update_count_once_the_run_has_ended(
    folder: RunFolder, ended_at: float, told: str
) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    RunSummary(
        name="walk",
        outcome="completed",
        started_at=0.0,
        ended_at=ended_at,
        seconds=4.0,
        simulators=(),
        software=(),
        policies={
            "walker": PolicySummary(
                progress=Progress(env_steps=10_003), total_steps=10_000, ledger={}
            )
        },
        counters={},
    ).save(folder.summary)
    assert f"  walker: {told}" in "\n".join(describe_run(folder.path))


def test_of_the_checkpoints_the_one_to_go_on_from_is_told(folder: RunFolder) -> None:
    older, newer = save(folder, 100, 200)
    assert list(describe_run(folder.path))[-2:] == [
        f"  {newer.name}  whole; entrain resume goes on from it",
        f"  {older.name}  whole",
    ]


def test_a_damaged_checkpoint_is_told_with_the_reason(folder: RunFolder) -> None:
    older, newer = save(folder, 100, 200)
    (newer / "state.json").unlink()
    assert list(describe_run(folder.path))[-2:] == [
        f"  {newer.name}  state.json is missing",
        f"  {older.name}  whole; entrain resume goes on from it",
    ]


def test_looking_changes_nothing(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    save(folder, 100)

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    before = content()
    list(describe_run(folder.path))
    assert content() == before


def test_the_command_prints_the_same(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(folder.path)]) == 0
    assert capsys.readouterr().out.splitlines() == list(describe_run(folder.path))


def test_a_folder_that_is_no_run_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
