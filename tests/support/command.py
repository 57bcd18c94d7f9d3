"""The command `entrain` as a process of its own, and short runs of the balance ball for it."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ENTRAIN = """
import sys
from entrain import cli
from entrain.app import run_results
from entrain.run import report
run_results.export_policy = lambda *arguments, **options: None
report.draw_plots = lambda series: []
sys.exit(cli.main(sys.argv[1:]))
"""
"""The command, without what takes longer than all the rest and has tests of its own."""

BALL = f"{sys.executable} -m entrain_envs balance-ball --count 2"

RUN = """
runs_directory: {folder}/runs
server: {{address: "{address}"{server}}}
simulators: {{{simulators}}}
checkpoints: {{every_steps: 100000}}
policies:
  ball:
    total_steps: {total_steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: {num_epochs}}}
"""


def write_run(
    folder: Path,
    *,
    launch: str = "",
    address: str = "",
    server: str = "",
    total_steps: int = 600,
    num_epochs: int = 1,
) -> Path:
    """A configuration file; launches that command, or waits for others."""
    path = folder / "ball.yaml"
    simulators = f'launch: [{{command: "{launch}"}}]' if launch else "wait_s: 60"
    path.write_text(
        RUN.format(
            folder=folder,
            address=address or "localhost:0",
            server=server,
            simulators=simulators,
            total_steps=total_steps,
            num_epochs=num_epochs,
        )
    )
    return path


def until(is_true: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Wait for another process; there is no event to wait for."""
    deadline_s = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline_s, "what was waited for did not come"
        time.sleep(0.01)


def says(log: Path, *words: str) -> bool:
    """Whether all of these are in that file by now."""
    text = log.read_text() if log.exists() else ""
    return all(word in text for word in words)


def is_running(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    status = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def entrain(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process of its own; its words go to `folder`/words.txt."""
    with (folder / "words.txt").open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRAIN, *arguments],
            cwd=folder,
            stdout=words,
            stderr=words,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10.0)
