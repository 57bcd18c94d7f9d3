"""`entrain serve` with real runs, while they and it are killed again and again."""

import csv
import os
import signal
from pathlib import Path

import pytest

from entrain.errors import ConfigError
from entrain.run.folder import RunFolder
from entrain.run.lock_owner import Owner
from entrain.run.summary import RunSummary
from support.command import BALL, entrain, says, until

RUN = """
seed: {seed}
simulators: {{launch: [{{command: "{command}"}}]}}
policies:
  ball:
    total_steps: 8000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


def trainer(folder: RunFolder) -> int:
    """The process that has the run; 0 if none has."""
    path = folder.lock_file
    owner = Owner.read(path.read_bytes()) if path.exists() else None
    return 0 if owner is None or owner.is_gone else owner.pid


def rows(folder: RunFolder) -> list[int]:
    if not folder.metrics.exists():
        return []
    with folder.metrics.open() as file:
        return [int(row["env_steps"] or 0) for row in csv.DictReader(file) if row["env_steps"]]


def is_completed(folder: RunFolder) -> bool:
    try:
        return RunSummary.load(folder.summary).outcome == "completed"
    except ConfigError:
        return False


@pytest.mark.hostile
@pytest.mark.timeout(600)
def test_runs_that_are_killed_with_their_supervisor_complete_all_the_same(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    folders = [RunFolder(lab / "runs" / f"ball-{seed}") for seed in (1, 2)]
    for seed, folder in enumerate(folders, start=1):
        (lab / f"{folder.path.name}.yaml").write_text(RUN.format(seed=seed, command=BALL))
    serve = ("serve", str(lab), "--no-page", "--ports", "50700-50799", "--at-once", "2")
    log = lab / "runs" / ".serve" / "log.txt"
    with entrain(*serve, folder=tmp_path) as first:
        until(lambda: all(len(rows(folder)) > 2 for folder in folders), timeout_s=120.0)
        first.kill()
        first.wait(10.0)
        survivor = trainer(folders[1])
        os.kill(trainer(folders[0]), signal.SIGKILL)
    with entrain(*serve, folder=tmp_path) as second:
        until(lambda: says(log, f"ball-2 lives on as process {survivor}"))
        until(lambda: trainer(folders[0]) > 0)
        os.kill(survivor, signal.SIGKILL)
        until(lambda: all(map(is_completed, folders)), timeout_s=300.0)
        until(lambda: says(log, "ball-1 is completed", "ball-2 is completed"))
        second.terminate()
        assert second.wait(60.0) == 0
    for folder in folders:
        assert RunSummary.load(folder.summary).env_steps == 8000
        steps = rows(folder)
        # No row is there twice, and none is left of what was learned again.
        assert steps == sorted(set(steps))
    assert not any(map(trainer, folders))
