"""Two ranks of a run as processes, as torchrun would start them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import free_port


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
def two_ranks(folder: Path, *arguments: str) -> Iterator[Ranks]:
    """Two ranks with these arguments of the command; killed after the block."""
    started = Ranks(folder, *arguments)
    try:
        yield started
    finally:
        for process in started.processes:
            process.kill()
            process.wait()
