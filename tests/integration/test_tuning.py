"""`entrain tune` as a process: killed, gone on with, stopped; its runs are stand-ins."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrain.run.lock_owner import Owner
from support.command import is_running, says, until
from support.served_runs import STAND_IN

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes")

TUNE = """
import functools
import sys
from entrain.tune import service
faster = {"program": (sys.executable, sys.argv[1]), "every_s": 0.05}
service.TuneOptions = functools.partial(service.TuneOptions, **faster)
from entrain import cli
sys.exit(cli.main(sys.argv[2:]))
"""

SETTINGS = """\
name: ball
simulators: {launch: [{command: entrain-env balance-ball}]}
search:
  trials: 2
  parallel: 2
  options:
    policies.*.algorithm.learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""


class Bench:
    """A folder in which a file is tuned by processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words = folder / "words.txt"
        (folder / "ball.yaml").write_text(SETTINGS)

    @contextlib.contextmanager
    def tuned(self) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-c", TUNE, str(STAND_IN), "tune", "ball.yaml"]
        with self.words.open("ab") as words:
            process = subprocess.Popen(command, cwd=self.folder, stdout=words, stderr=words)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10.0)

    def run(self, trial: int) -> Path:
        return self.folder / "runs" / "ball-tuning" / "runs" / f"trial-{trial:03d}"

    def owner(self, trial: int) -> int:
        """The process that has a trial's run; 0 if none has."""
        path = self.run(trial) / "run.lock"
        owner = Owner.read(path.read_bytes()) if path.exists() else None
        return 0 if owner is None or owner.is_gone else owner.pid

    def begun(self, trial: int) -> int:
        log = self.run(trial) / "log.txt"
        return log.read_text().count("begun") if log.exists() else 0


def test_a_tuning_that_is_killed_doubles_no_run_and_one_that_is_stopped_leaves_none(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    with bench.tuned() as first:
        until(lambda: bench.begun(0) == bench.begun(1) == 1)
        owners = [bench.owner(0), bench.owner(1)]
        first.kill()
        first.wait(10.0)
    try:
        assert all(map(is_running, owners))
        with bench.tuned() as second:
            until(lambda: says(bench.words, "trial 1 goes on"))
            second.send_signal(signal.SIGINT)
            assert second.wait(60.0) == 0
        assert not any(map(is_running, owners))
    finally:
        for trial in (0, 1):
            if bench.owner(trial):
                os.kill(bench.owner(trial), signal.SIGKILL)
    assert [bench.begun(0), bench.begun(1)] == [1, 1]
    assert says(bench.words, "to go on: entrain tune ball.yaml")
