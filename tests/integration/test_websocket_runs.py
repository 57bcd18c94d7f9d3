"""A whole run whose simulators dial over WebSocket, on the port of its page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from support.command import ENTRAIN

CONFIG = """
name: socket
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s"}}
simulators:
  launch:
    - command: [sh, -c, "exec {python} -m entrain_envs balance-ball --connect $ENTRAIN_WEBSOCKET"]
policies:
  ball:
    total_steps: 200
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the command that is launched needs sh")
def test_launched_simulators_are_told_where_to_dial_over_websocket(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.format(folder=tmp_path, python=sys.executable))
    where = ["--websocket", "localhost:0", "--http", "localhost:0"]
    ended = subprocess.run(
        [sys.executable, "-c", ENTRAIN, "train", str(tmp_path / "c.yaml"), *where],
        capture_output=True,
        text=True,
        timeout=100.0,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    log = RunFolder.existing(tmp_path / "runs" / "socket").log.read_text()
    assert "simulators that speak WebSocket dial ws://localhost:" in log
    assert "simulator-0@127.0.0.1 joined" in log or "simulator-0@::1 joined" in log
    assert "completed after" in log
