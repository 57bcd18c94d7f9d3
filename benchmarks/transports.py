"""Processor time of one exchange over each transport, trainer and simulator, all threads, in turns.

    python -m benchmarks.transports [--rounds 5] [--count 1] [--exchanges 8000]

The trainer collects and hardly learns. Each measurement is the difference of two runs of different
length, so that starting and ending cancel out. The operating system counts.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

CONFIG = """
server: {{address: "{address}"{more}}}
policies:
  "*":
    total_steps: {steps}
    rollout_steps: 4096
    algorithm: {{minibatch_size: 4096, num_epochs: 1}}
"""

PORT = 50871
"""The first of two that are free, it is hoped."""

TRANSPORTS = ("unix socket", "TCP", "WebSocket")


def where(transport: str, folder: Path) -> tuple[str, str, str]:
    """server.address, further options of `server`, and what the simulator dials."""
    if transport == "unix socket":
        return f"unix:{folder}/s", "", f"unix:{folder}/s"
    address = f"127.0.0.1:{PORT}"
    if transport == "TCP":
        return address, "", address
    return f"unix:{folder}/s", f', websocket: "127.0.0.1:{PORT + 1}"', f"ws://127.0.0.1:{PORT + 1}"


def seconds(transport: str, count: int, exchanges: int) -> tuple[float, float]:
    """What the processes of trainer and simulator spend in one whole run."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        address, more, to_dial = where(transport, folder)
        text = CONFIG.format(address=address, more=more, steps=exchanges * count)
        (folder / "c.yaml").write_text(text)
        python = [sys.executable, "-m"]
        simulator = ["--count", str(count), "--connect", to_dial]
        commands = (
            [*python, "entrain", "train", f"{folder}/c.yaml", "--runs-directory", name],
            [*python, "entrain_envs", "gymnasium", "CartPole-v1", *simulator],
        )
        started = [
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for command in commands
        ]
        spent = []
        for process in started:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, f"{process.args!r} ended with {process.returncode}"
            spent.append(usage.ru_utime + usage.ru_stime)
        return spent[0], spent[1]


def cost(transport: str, count: int, exchanges: int) -> tuple[float, float]:
    """Milliseconds an exchange: of the trainer, of the simulator."""
    short = exchanges // 4
    few, many = seconds(transport, count, short), seconds(transport, count, exchanges)
    return tuple(1e3 * (b - a) / (exchanges - short) for a, b in zip(few, many, strict=True))  # type: ignore[return-value]


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1, help="environments of the simulator")
    parser.add_argument("--exchanges", type=int, default=8000)
    options = parser.parse_args()
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in TRANSPORTS}
    for _ in range(options.rounds):
        for name in TRANSPORTS:
            costs[name].append(cost(name, options.count, options.exchanges))
        print(
            "   ".join(f"{n} {c[-1][0]:.3f} {c[-1][1]:.3f}" for n, c in costs.items()), flush=True
        )
    for name, each in costs.items():
        trainer, simulator = (statistics.median(column) for column in zip(*each, strict=True))
        print(f"{name}: trainer {trainer:.3f}, simulator {simulator:.3f} ms an exchange")


if __name__ == "__main__":
    main()
