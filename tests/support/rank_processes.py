"""Ranks of a run as processes, as torchrun would start them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from support.command import ENTRAIN
from support.ports import free_port

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
"""Of a run of balls: {folder}, {port}, {python} and {total_steps} are to be filled in."""

RESUMED_S = 240.0
"""Starting all of a run's processes takes a minute on a busy machine."""


class Ranks:
    """Processes, as torchrun would start them."""

    def __init__(self, size: int, folder: Path, *arguments: str) -> None:
        self.logs = [folder / f"{rank}.log" for rank in range(size)]
        port = str(free_port())
        self.processes = []
        for rank, log in enumerate(self.logs):
            environment = {
                **os.environ,
                "RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            }
            with log.open("a") as out:
                command = [sys.executable, "-c", ENTRAIN, *arguments]
                self.processes.append(
                    subprocess.Popen(command, stdout=out, stderr=out, env=environment)
                )

    def until(self, words: str) -> None:
        """Wait until rank 0 has said so."""
        self._until(lambda: words in self.logs[0].read_text())

    def until_saved(self, run: Path) -> None:
        """Wait until the run in this folder has a checkpoint."""
        self._until(lambda: any(run.glob("checkpoints/[!.]*/manifest.json")))

    def _until(self, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + 120.0
        while not is_so():
            assert time.monotonic() < until_s, self.logs[0].read_text()
            assert all(each.poll() is None for each in self.processes), self.logs[0].read_text()
            time.sleep(0.1)

    def codes(self, within_s: float) -> list[int]:
        """Exit codes, by rank."""
        return [process.wait(within_s) for process in self.processes]


@contextmanager
def ranks(size: int, folder: Path, *arguments: str) -> Iterator[Ranks]:
    """So many ranks with these arguments of the command; killed after the block."""
    started = Ranks(size, folder, *arguments)
    try:
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()


def two_ranks(folder: Path, *arguments: str) -> AbstractContextManager[Ranks]:
    """See `ranks`."""
    return ranks(2, folder, *arguments)
