"""Processor time of an exchange over each transport: trainer and simulator, all threads.

In turns, and as in `exchange`: the trainer is `entrain train` as a user runs it, and learns nothing
meanwhile. The simulator is the SDK's client in this process. By the operating system's accounts, so
that a loaded machine changes little.

    python -m benchmarks.transports --agents 1 64 --rounds 8
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.exchange import CONFIG, SPEC, WARM, Rows, processor_s
from entrain_envs.client import TrainerClient

TRANSPORTS = ("unix socket", "TCP", "WebSocket")


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Simulator:
    """One that is connected to a trainer of its own."""

    def __init__(self, client: TrainerClient, trainer: int, agents: int) -> None:
        """Send the first rows; `trainer` is its process id."""
        self._client, self._trainer = client, trainer
        self._rows = Rows(agents, np.random.default_rng(1))
        client.exchange({SPEC.name: self._rows.first()})

    def spend(self, messages: int) -> tuple[float, float]:
        """Microseconds of processor time an exchange: of the trainer, of this end."""
        steps = [{SPEC.name: self._rows.next()} for _ in range(messages)]
        trainer_s, own_s = processor_s(self._trainer), time.process_time()
        for step in steps:
            self._client.exchange(step)
        spent = processor_s(self._trainer) - trainer_s, time.process_time() - own_s
        return 1e6 * spent[0] / messages, 1e6 * spent[1] / messages


@contextmanager
def simulator(transport: str, agents: int) -> Iterator[Simulator]:
    """A simulator that dials its trainer over this transport, within the block."""
    with TemporaryDirectory() as runs:
        Path(runs, "c.yaml").write_text(CONFIG)
        port = free_port()
        folder = ["--runs-directory", runs]
        listening, to_dial = {
            "unix socket": (["--address", f"unix:{runs}/s"], f"unix:{runs}/s"),
            "TCP": (["--address", f"127.0.0.1:{port}"], f"127.0.0.1:{port}"),
            "WebSocket": (
                ["--address", f"unix:{runs}/s", "--websocket", f"127.0.0.1:{port}"],
                f"ws://127.0.0.1:{port}",
            ),
        }[transport]
        process = subprocess.Popen(
            [sys.executable, "-m", "entrain", "train", f"{runs}/c.yaml", *folder, *listening],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            with TrainerClient(to_dial, [SPEC], simulator="carts", reconnect_s=0) as client:
                client.connect()
                yield Simulator(client, process.pid, agents)
        finally:
            process.kill()
            process.wait()


def measure(agents: int, *, messages: int, rounds: int) -> None:
    """Print microseconds of trainer and simulator over each transport, and medians."""
    with ExitStack() as stack:
        ends: Mapping[str, Simulator] = {
            name: stack.enter_context(simulator(name, agents)) for name in TRANSPORTS
        }
        for end in ends.values():
            end.spend(WARM)
        rows: list[dict[str, tuple[float, float]]] = []
        for _ in range(rounds):
            rows.append({name: end.spend(messages) for name, end in ends.items()})
            latest = (f"{name} {a:.0f} and {b:.0f}" for name, (a, b) in rows[-1].items())
            print(f"{agents} agents, us: {', '.join(latest)}", flush=True)
    for name in TRANSPORTS:
        trainer, own = (statistics.median(row[name][part] for row in rows) for part in (0, 1))
        ratio = statistics.median(row[name][0] / row["TCP"][0] for row in rows)
        print(
            f"{agents} agents, median: {name} trainer {trainer:.0f} us ({ratio:.2f} x TCP), "
            f"simulator {own:.0f} us"
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--messages", type=int, default=1000, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    for agents in options.agents:
        measure(agents, messages=options.messages, rounds=options.rounds)


if __name__ == "__main__":
    main()
