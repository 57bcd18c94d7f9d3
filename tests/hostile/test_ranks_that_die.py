"""A rank of two that is killed: the other one ends within a bound, and both can go on after it."""

import signal
import sys
from pathlib import Path

import pytest

from support.ports import free_ports
from support.rank_processes import two_ranks

pytestmark = pytest.mark.hostile

SETTINGS = """
name: killed
runs_directory: {folder}/runs
server: {{address: "localhost:{port}", lockstep: true}}
simulators:
  launch:
  - {{command: "{python} -m entrain_envs balance-ball --count 3 --connect {{address}}", count: 2}}
policies:
  "*":
    total_steps: {total_steps}
    rollout_steps: 600
    network: {{hidden_sizes: [16, 16]}}
"""
END_S = 60.0
"""Bound of the end; a busy machine takes most of it for the report."""

RESUMED_S = 240.0
"""The export as ONNX at the end alone takes half a minute on a busy machine."""


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_the_other_ends_with_the_reason_and_all_can_go_on(
    tmp_path: Path, rank: int
) -> None:
    settings = tmp_path / "run.yaml"
    settings.write_text(
        SETTINGS.format(
            folder=tmp_path, port=free_ports(2), python=sys.executable, total_steps=10_000_000
        )
    )
    with two_ranks(tmp_path, "train", str(settings)) as started:
        started.until("update 2:")
        started.until_saved(tmp_path / "runs" / "killed")
        started.processes[rank].send_signal(signal.SIGKILL)
        codes = started.codes(END_S)
        assert codes[rank] == -signal.SIGKILL
        assert codes[1 - rank] == 9
        words = started.logs[1 - rank].read_text()
        assert f"rank {rank}" in words
        assert "was lost: its connection closed" in words
    more = ("resume", str(tmp_path / "runs" / "killed"), "--set", "policies.*.total_steps=3000")
    with two_ranks(tmp_path, *more) as resumed:
        assert resumed.codes(RESUMED_S) == [0, 0], resumed.logs[0].read_text()
    assert "completed after 3,000 env steps" in resumed.logs[0].read_text()
