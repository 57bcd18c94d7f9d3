"""HalfCheetah-v5, SAC: entrain through gRPC beside Stable-Baselines3 and SBX in process.

Batches of 256, one gradient step for each env step, layers of 256 on all sides, one thread for each
process's arithmetic. In turns; the figures are ratios of medians, of env steps/s and of processor
time a step. Ours is that of trainer and simulator together, and without that of a run which ends
where learning would begin.

    python -m benchmarks.soft_peers --pairs 3 --steps 3000
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import ROOT, MissingError, environment, peer_python
from benchmarks.peers.soft import LEARNING_STARTS
from benchmarks.runs import FinishedRun, train

CONFIG = Path(__file__).parent / "configs" / "halfcheetah_sac.yaml"
LIBRARIES = ("sb3", "sbx")
ROUND_STEPS = 64
"""Env steps of an update of ours."""


@dataclass(frozen=True)
class Speed:
    """Of one turn, while learning."""

    rate: float
    """Env steps/s."""

    processor_us: float
    """Processor time of an env step and its gradient step."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000)
    arguments = parser.parse_args()
    turns: dict[str, list[Speed]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        start_s = trained(Path(scratch) / "start", 0).processor_s
        for pair in range(arguments.pairs):
            run = trained(Path(scratch) / f"run-{pair}", arguments.steps)
            ours = Speed(
                rate=run.steady_rate(skip=LEARNING_STARTS // ROUND_STEPS + 2),
                processor_us=1e6 * (run.processor_s - start_s) / arguments.steps,
            )
            turns.setdefault("entrain", []).append(ours)
            for library in LIBRARIES:
                try:
                    turns.setdefault(library, []).append(of_peer(library, arguments.steps))
                except MissingError as error:
                    del turns[library]
                    print(error)
            words = [f"{name} {each[-1].rate:,.0f} env steps/s" for name, each in turns.items()]
            print(f"pair {pair}: {', '.join(words)}", flush=True)
    report(turns)


def report(turns: dict[str, list[Speed]]) -> None:
    """Print the medians, and ours in proportion to each."""
    rates = {name: statistics.median(it.rate for it in each) for name, each in turns.items()}
    times = {
        name: statistics.median(it.processor_us for it in each) for name, each in turns.items()
    }
    for name in turns:
        print(
            f"{name}: {rates[name]:,.0f} env steps/s, {times[name]:,.0f} us of processor time; "
            f"entrain is {rates['entrain'] / rates[name]:.2f} times as quick, "
            f"by processor time {times[name] / times['entrain']:.2f}"
        )


def trained(folder: Path, steps: int) -> FinishedRun:
    """A run of ours that learns for so many steps."""
    return train(
        CONFIG,
        folder,
        f"policies.HalfCheetah-v5.total_steps={LEARNING_STARTS + steps}",
        f"policies.HalfCheetah-v5.algorithm.learning_starts={LEARNING_STARTS}",
        "server.address=localhost:0",
    )


def of_peer(library: str, steps: int) -> Speed:
    """A peer's; MissingError if it is not installed."""
    single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    printed = subprocess.run(
        [
            peer_python(library),
            "-m",
            "benchmarks.peers.soft",
            f"--library={library}",
            f"--steps={steps}",
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**environment(), "XLA_FLAGS": single},
    ).stdout
    return Speed(**json.loads(printed))


if __name__ == "__main__":
    main()
