"""A run of two ranks that is resumed in another way than it was begun."""

import shutil
import signal
import sys
from pathlib import Path

import pytest

from support.ports import free_ports
from support.rank_processes import RESUMED_S, SETTINGS, ranks, two_ranks

pytestmark = pytest.mark.hostile


def test_at_other_ports_and_with_another_seed_it_goes_on_and_with_other_ranks_it_does_not(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "run.yaml"
    port = free_ports(2)
    settings.write_text(
        SETTINGS.format(folder=tmp_path, port=port, python=sys.executable, total_steps=10_000_000)
    )
    run = str(tmp_path / "runs" / "killed")
    with two_ranks(tmp_path, "train", str(settings)) as started:
        started.until("update 2:")
        started.processes[1].send_signal(signal.SIGTERM)
        assert started.codes(RESUMED_S) == [0, 0]
    with ranks(1, tmp_path, "resume", run) as alone:
        assert alone.codes(RESUMED_S) == [3]
        assert "torchrun --nproc-per-node 2 -m entrain resume" in last_line(alone.logs[0])
    with ranks(3, tmp_path, "resume", run) as three:
        assert three.codes(RESUMED_S) == [3, 3, 3]
        # Each says it once, and nothing else is asked of who has the wrong number.
        assert all("is of a run of 2 ranks" in last_line(log) for log in three.logs)
        assert not any("Traceback" in log.read_text() for log in three.logs)
    other = free_ports(2)
    # What a rank keeps for itself is no part of the checkpoint.
    shutil.rmtree(Path(run) / "ranks")
    settings_now = ("seed=9", "policies.*.total_steps=3000", f"server.address=localhost:{other}")
    changed = [word for setting in settings_now for word in ("--set", setting)]
    with two_ranks(tmp_path, "resume", run, *changed) as resumed:
        assert resumed.codes(RESUMED_S) == [0, 0], resumed.logs[0].read_text()
    said = resumed.logs[0].read_text()
    assert f"listening on localhost:{other}" in said
    assert "completed after 3,000 env steps" in said


def last_line(log: Path) -> str:
    """What a rank said last."""
    return log.read_text().splitlines()[-1]
