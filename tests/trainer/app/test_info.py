"""What `entrain info` shows of an installation and of a run."""

import json
import os
import subprocess
import sys
import time
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
from entrain.run.summary import Outcome, PolicySummary, RunSummary

pytestmark = pytest.mark.usefixtures("logging_as_before")

METRICS = """\
behaviour,env_steps,wall_time,rollout/episode_return_last_100,rollout/reward_per_step,\
time/env_steps_per_second,time/seconds
walker,2048,1001.000,10.0,0.5,1000.0,1.0
walker,4096,1002.000,20.0,0.5,1000.0,2.0
runner,100,1002.500,,0.25,50.0,2.5
walker,5000,1003.000,212.44,0.5,1000.0,3.0
"""
"""The run started at 1000."""


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


def save_summary(
    folder: RunFolder, outcome: Outcome, *, ended_at: float, seconds: float = 4.0
) -> None:
    RunSummary(
        name="walk",
        outcome=outcome,
        started_at=1000.0,
        ended_at=ended_at,
        seconds=seconds,
        simulators=(),
        software=(),
        policies={
            "walker": PolicySummary(
                progress=Progress(env_steps=10_003), total_steps=10_000, ledger={}
            )
        },
        counters={},
    ).save(folder.summary)


def state_of(folder: RunFolder, *, now_s: float = 1010.0) -> list[str]:
    """The lines below "state"."""
    lines = list(describe_run(folder.path, clock=lambda: now_s))
    return [line.strip() for line in lines[lines.index("state") + 1 : lines.index("progress")]]


def test_an_installation_is_told_with_versions_and_devices() -> None:
    lines = list(describe_installation())
    assert lines[0] == f"entrain {entrain.__version__}"
    for beginning in ("entrain-envs 0.", "torch 2.", "grpcio 1.", "Python 3.", "devices: CPU"):
        assert any(line.startswith(beginning) for line in lines), beginning


def test_a_new_run_has_neither_progress_nor_checkpoints(folder: RunFolder) -> None:
    lines = list(describe_run(folder.path))
    assert lines[0] == str(folder.path)
    assert lines[-4:] == ["progress", "  no update yet", "checkpoints", "  none"]
    assert lines[-5].strip() == "stopped; entrain resume " + f"{folder.path} goes on"


def test_a_run_of_entrain_learn_is_told_in_its_words(folder: RunFolder) -> None:
    (folder.path / "configuration.yaml").write_text("behaviors: {}")
    model = folder.path / "walker" / "walker-10.onnx"
    model.parent.mkdir()
    model.write_text("a model")
    lines = list(describe_run(folder.path))
    assert lines[1].split()[:3] == ["walker/", "1", "checkpoint"]
    stopped = next(line for line in lines if line.strip().startswith("stopped; "))
    assert stopped.endswith(
        f" --run-id={folder.name} --results-dir={folder.path.parent} --resume goes on"
    )


def test_progress_is_told_of_every_behaviour(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    lines = list(describe_run(folder.path))
    assert (
        "  walker: 5,000 of 10,000 env steps (50%) after 3 updates, return 212.4 over the last 100 "
        "episodes" in lines
    )
    assert (
        "  runner: 100 of 1,000,000 env steps (0%) after 1 update, no episode has ended, reward "
        "0.25 per step" in lines
    )


def test_what_is_not_done_is_not_yet_100_percent(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS.replace("5000", "9999"), encoding="utf-8")
    assert "  walker: 9,999 of 10,000 env steps (99%)" in "\n".join(describe_run(folder.path))


@pytest.mark.parametrize(
    ("ended_at", "seconds", "told"),
    [
        (1004.0, 4.0, "10,003 of 10,000 env steps (100%) after 3 updates"),
        (900.0, 4.0, "10,003 of 10,000 env steps (100%) after 3 updates"),
        (1002.5, 2.5, "5,000 of 10,000"),
    ],
    ids=["the run has ended", "the clock was set back before", "it ended once and goes on"],
)
def test_steps_behind_the_last_update_count_once_the_run_has_ended(
    folder: RunFolder, ended_at: float, seconds: float, told: str
) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    save_summary(folder, "completed", ended_at=ended_at, seconds=seconds)
    assert f"  walker: {told}" in "\n".join(describe_run(folder.path))


def test_a_run_that_runs_tells_its_rate_the_time_left_and_the_last_update(
    folder: RunFolder,
) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    with folder.lock():
        lines = list(describe_run(folder.path, clock=lambda: 1010.0))
        running, times, last, dialled = state_of(folder)
    assert running.startswith("running (")
    assert str(os.getpid()) in running
    assert dialled == "simulators dial localhost:50051"
    # It started at 1000; of the runner 999,900 steps are left at 50 a second.
    assert times == "started 1970-01-01T00:16:40Z, trained for 0:10, 5:33:18 left"
    assert last == "last update: 3 of 'walker', 0:07 ago"
    assert any(
        line.endswith("over the last 100 episodes, 1,000 steps/s, 0:05 left") for line in lines
    )


def test_a_run_whose_report_is_being_written_is_ending_and_not_running(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    # A sitting before left a summary, which says nothing of the one that goes on.
    save_summary(folder, "stopped", ended_at=1004.0)
    with folder.lock():
        assert state_of(folder)[0].startswith("running (")
        save_summary(folder, "completed", ended_at=time.time())
        state, times, _ = state_of(folder)
    assert state.startswith("training has ended; the report and the policies are written (process")
    assert times == "started 1970-01-01T00:16:40Z, trained for 0:04"


@pytest.mark.parametrize("outcome", ["completed", "stopped", "failed"])
def test_a_run_that_has_ended_tells_how(folder: RunFolder, outcome: Outcome) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    with folder.lock():
        save_summary(folder, outcome, ended_at=1004.0)
    words = {"completed": "completed", "stopped": "stopped; ", "failed": "ended by an error"}
    state, times, _ = state_of(folder)
    assert state.startswith(words[outcome])
    assert times == "started 1970-01-01T00:16:40Z, trained for 0:04"


@pytest.mark.skipif(os.name != "posix", reason="a process that is killed")
def test_a_run_whose_trainer_was_killed_is_dead_and_says_how_to_go_on(folder: RunFolder) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from entrain.run.folder import RunFolder\n"
        "lock = RunFolder(Path(sys.argv[1])).lock()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder.path)], check=False)
    state, times, _ = state_of(folder)
    assert state.startswith("dead: its trainer ended without saving (")
    assert state.endswith(f"entrain resume {folder.path} goes on from the newest checkpoint")
    # Nobody trained since the last update.
    assert times == "started 1970-01-01T00:16:40Z, trained for 0:03"


def test_programs_are_told_the_same_of_a_run(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    save(folder, 100)
    assert main(["info", str(folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["state"]) == ("walk", "stopped")
    assert (told["env_steps"], told["total_steps"]) == (5100, 1_010_000)
    assert told["policies"]["walker"]["return"] == 212.44
    assert told["policies"]["runner"]["return"] is None
    assert [checkpoint["problem"] for checkpoint in told["checkpoints"]] == [None]


def test_all_runs_are_listed_the_newest_first_and_the_unreadable_ones_last(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.metrics.write_text(METRICS, encoding="utf-8")
    newer = RunFolder.create(tmp_path, "newer")
    newer.write_config(to_yaml(RunConfig(policies={"walker": PolicyConfig(total_steps=10_000)})))
    newer.metrics.write_text(
        METRICS.replace("runner", "walker").replace(",10", ",20"), encoding="utf-8"
    )
    RunFolder.create(tmp_path, "fresh").write_config(to_yaml(RunConfig()))
    broken = RunFolder.create(tmp_path, "broken")
    broken.config.write_text("polices: {}", encoding="utf-8")
    assert main(["list", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "name",
        "state",
        "env",
        "steps",
        "return",
        "started",
        "(UTC)",
        "time",
    ]
    assert lines[1].split()[:6] == ["newer", "stopped", "5k", "/", "10k", "212.4"]
    assert lines[2].split() == [
        *("walk", "stopped", "5.10k", "/", "1.01M", "212.4,", "-", "1970-01-01", "00:16", "0:03")
    ]
    assert lines[3].split() == ["fresh", "stopped", "-", "-", "-", "-"]
    assert "polices" in lines[4]
    assert main(["list", str(tmp_path), "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [run.get("name") for run in runs] == ["newer", "walk", "fresh", None]
    assert "polices" in runs[-1]["error"]


def test_a_folder_without_runs_says_so_and_one_that_is_not_there_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no run in {tmp_path}\n"
    assert main(["list", str(tmp_path / "none")]) == 2


def test_of_the_checkpoints_the_one_to_go_on_from_is_told(folder: RunFolder) -> None:
    older, newer = save(folder, 100, 200)
    assert list(describe_run(folder.path))[-2:] == [
        f"  {newer.name}  whole; the run goes on from it",
        f"  {older.name}  whole",
    ]


def test_a_damaged_checkpoint_is_told_with_the_reason(folder: RunFolder) -> None:
    older, newer = save(folder, 100, 200)
    (newer / "state.json").unlink()
    assert list(describe_run(folder.path))[-2:] == [
        f"  {newer.name}  state.json is missing",
        f"  {older.name}  whole; the run goes on from it",
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
