"""Two ranks as torchrun starts them: two processes of the command, which learn one policy."""

import sys
from pathlib import Path

from support.ports import free_ports
from support.rank_processes import two_ranks

SETTINGS = """
name: both
runs_directory: {folder}/runs
server: {{address: "localhost:{port}", lockstep: true}}
simulators:
  launch:
  - {{command: "{python} -m entrain_envs balance-ball --count 3 --connect {{address}}", count: 2}}
policies:
  "*":
    total_steps: 600
    rollout_steps: 300
    network: {{hidden_sizes: [8]}}
    algorithm: {{num_epochs: 1}}
"""
END_S = 120.0


def test_two_processes_learn_one_policy_and_end(tmp_path: Path) -> None:
    settings = tmp_path / "run.yaml"
    settings.write_text(SETTINGS.format(folder=tmp_path, port=free_ports(2), python=sys.executable))
    run = tmp_path / "runs" / "both"
    with two_ranks(tmp_path, "train", str(settings)) as started:
        assert started.codes(END_S) == [0, 0], started.logs[0].read_text()
        first, other = (log.read_text() for log in started.logs)
    assert "completed after 600 env steps" in first
    assert "[rank 1] " in other
    assert "[rank " not in first
    own = (run / "ranks" / "both-rank-1" / "log.txt").read_text()
    assert "all 2 ranks are there; this is rank 1" in own
