"""Programs that are compared in turns: all of them live, one plays, the others rest.

So each starts once, and what else goes on in the machine meets all of them alike. A round is a
rollout of 2,048 env steps with its update.
"""

import contextlib
import csv
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.runs import ENTRAIN

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".build" / "peers"
ROUND_STEPS = 2048
WARM_UP = 2
"""Rounds before the first turn."""

LOOK_S = 0.05
LIMIT_S = 300.0
"""As long a start, or a turn, may take."""


class MissingError(Exception):
    """A contender cannot play here; the message says why."""


@dataclass(frozen=True)
class Absence:
    """Why a contender has no values."""

    why: str
    is_fault: bool = False
    """Whether it should have had some."""


class Contender(Protocol):
    """One side of a comparison. Owned by one thread."""

    def wait_until_ready(self) -> int:
        """Let it warm up and come to rest; the gradient steps of each of its rounds."""
        ...

    def play(self, rounds: int) -> Sequence[float]:
        """Play on for so many rounds; env steps/s of each."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def environment() -> Mapping[str, str]:
    """One thread for each process's arithmetic."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


def peer_python(name: str) -> Path:
    """The Python of a peer's virtual environment; MissingError if it is not installed."""
    python = PEERS / name / "bin" / "python"
    if not (PEERS / name / "installed").exists():
        raise MissingError(f"{name} is not installed; `make peers` installs it")
    return python


class Peer:
    """A program of `benchmarks/peers`, which rests by itself between rounds."""

    def __init__(self, name: str, *options: str) -> None:
        """Start it. MissingError if it is not installed."""
        self._name = name
        python = peer_python(name)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- closed in `close`
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.peers.{name.replace('-', '_')}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            # What torch compiles: kept for the next time, and apart from what others compile.
            env={**environment(), "TORCHINDUCTOR_CACHE_DIR": str(PEERS / name / "compiled")},
        )

    def wait_until_ready(self) -> int:
        """See `Contender`."""
        hello = self._answer()
        assert isinstance(hello, dict)
        return int(hello["gradient_steps"])

    def play(self, rounds: int) -> Sequence[float]:
        """See `Contender`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{rounds}\n")
        self._process.stdin.flush()
        seconds = self._answer()
        assert isinstance(seconds, list)
        return [ROUND_STEPS / each for each in seconds]

    def close(self) -> None:
        """See `Contender`."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _answer(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"{self._name} ended:\n{self._log.read()[-3000:]}")
        return json.loads(line)


def peer_rate(name: str, steps: int, *options: str) -> float:
    """Median env steps/s of a peer that starts, warms up, and plays to so many steps."""
    peer = Peer(name, *options)
    try:
        peer.wait_until_ready()
        return statistics.median(peer.play(max(1, steps // ROUND_STEPS - WARM_UP)))
    finally:
        peer.close()


class Entrain:
    """A trainer and the simulators that it starts, with gRPC between them.

    The whole run is stopped and continued by signals. Only rounds that began and ended within one
    turn count.
    """

    def __init__(self, config: Path, *settings: str) -> None:
        """Start the run, in a folder of its own."""
        self._scratch = tempfile.TemporaryDirectory()
        folder = Path(self._scratch.name)
        self._metrics = folder / "run" / "metrics.csv"
        self._log_file = folder / "log.txt"
        words = [word for setting in settings for word in ("--set", setting)]
        with self._log_file.open("w") as log:
            self._process = subprocess.Popen(
                [
                    *ENTRAIN,
                    "train",
                    str(config),
                    f"--runs-directory={folder}",
                    "--name=run",
                    "--set=server.address=localhost:0",
                    *words,
                ],
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def wait_until_ready(self) -> int:
        """See `Contender`."""
        self._until(lambda: len(self._ends()) > WARM_UP)
        self._signal(signal.SIGSTOP)
        return round(float(self._rows()[-1]["update/minibatches"]))

    def play(self, rounds: int) -> Sequence[float]:
        """See `Contender`."""
        begun = time.time()
        self._signal(signal.SIGCONT)
        self._until(lambda: len(rounds_since(begun, self._ends())) >= rounds)
        self._signal(signal.SIGSTOP)
        return [ROUND_STEPS / each for each in rounds_since(begun, self._ends())]

    def close(self) -> None:
        """See `Contender`."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._scratch.cleanup()

    def _ends(self) -> Sequence[float]:
        return [float(row["wall_time"]) for row in self._rows()]

    def _rows(self) -> Sequence[Mapping[str, str]]:
        if not self._metrics.exists():
            return []
        # A row that is being written has no end of line yet.
        whole = self._metrics.read_text().rpartition("\n")[0]
        return list(csv.DictReader(whole.splitlines()))

    def _until(self, is_so: Callable[[], bool]) -> None:
        limit = time.monotonic() + LIMIT_S
        while not is_so():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(
                    f"the run ended, or made no progress:\n{self._log_file.read_text()[-3000:]}"
                )
            time.sleep(LOOK_S)

    def _signal(self, number: signal.Signals) -> None:
        for process in family(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)


def rounds_since(begun: float, ends: Sequence[float]) -> Sequence[float]:
    """Seconds of the rounds that began and ended after `begun`, from the times when rounds end."""
    later = [end for end in ends if end > begun]
    return [after - before for before, after in itertools.pairwise(later)]


def family(process: int) -> Iterator[int]:
    """The process, and all that it has started."""
    yield process
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield from family(int(child))


@contextlib.contextmanager
def alive(
    starts: Mapping[str, Callable[[], Contender]],
) -> Iterator[tuple[Mapping[str, Contender], Mapping[str, Absence]]]:
    """Those that can play, ready and at rest; and why each other one cannot."""
    playing: dict[str, Contender] = {}
    absent: dict[str, Absence] = {}
    with contextlib.ExitStack() as stack:
        for name, start in starts.items():
            try:
                playing[name] = start()
            except MissingError as error:
                absent[name] = Absence(str(error))
                continue
            stack.callback(playing[name].close)
        steps: dict[str, int] = {}
        for name in list(playing):
            try:
                steps[name] = playing[name].wait_until_ready()
            except RuntimeError as error:
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                absent[name] = Absence(f"{name} failed: {str(error).splitlines()[0]}", True)
                del playing[name]
        if len(set(steps.values())) > 1:
            raise RuntimeError(f"gradient steps of a round differ: {steps}; make them equal")
        yield playing, absent
