"""A rank of two that is killed: the other one ends within a bound, and both can go on after it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.ports import free_port, free_ports

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


class Ranks:
    """Two processes, as torchrun would start them."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.logs = [folder / f"{rank}.log" for rank in range(2)]
        port = str(free_port())
        self.processes = []
        for rank, log in enumerate(self.logs):
            environment = {
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            }
            with log.open("a") as out:
                command = [sys.executable, "-m", "entrain", *arguments]
                self.processes.append(
                    subprocess.Popen(command, stdout=out, stderr=out, env=environment)
                )

    def until(self, words: str) -> None:
        """Wait until rank 0 has said so."""
        until_s = time.monotonic() + 120.0
        while words not in self.logs[0].read_text():
            assert time.monotonic() < until_s, self.logs[0].read_text()
            assert all(each.poll() is None for each in self.processes), self.logs[0].read_text()
            time.sleep(0.1)

    def codes(self) -> list[int]:
        return [process.wait(END_S) for process in self.processes]


@contextmanager
def ranks(folder: Path, *arguments: str) -> Iterator[Ranks]:
    started = Ranks(folder, *arguments)
    try:
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()


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
    with ranks(tmp_path, "train", str(settings)) as started:
        started.until("update 2:")
        started.processes[rank].send_signal(signal.SIGKILL)
        codes = started.codes()
        assert codes[rank] == -signal.SIGKILL
        assert codes[1 - rank] == 9
        words = started.logs[1 - rank].read_text()
        assert f"rank {rank}" in words
        assert "was lost: its connection closed" in words
    more = ("resume", str(tmp_path / "runs" / "killed"), "--set", "policies.*.total_steps=3000")
    with ranks(tmp_path, *more) as resumed:
        assert resumed.codes() == [0, 0], resumed.logs[0].read_text()
    assert "completed after 3,000 env steps" in resumed.logs[0].read_text()
