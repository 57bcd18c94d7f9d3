"""HalfCheetah-v5, PPO: entrain end to end through gRPC beside Stable-Baselines3 in process.

The same work on both sides: 8 environments x 256 steps, minibatch 64, 10 epochs, 64x64 tanh, one
torch thread. Runs in turns (ours, theirs, ours, ...); the figure is the ratio of medians.

    python -m benchmarks.beside_sb3 --pairs 3 --steps 40960
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import MissingError, peer_rate
from benchmarks.runs import FinishedRun, print_time_shares, train

CONFIG = Path(__file__).parent / "configs" / "halfcheetah_8x256.yaml"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40960)
    arguments = parser.parse_args()
    ours: list[FinishedRun] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        for pair in range(arguments.pairs):
            ours.append(
                train(
                    CONFIG,
                    Path(scratch) / f"run-{pair}",
                    f"policies.HalfCheetah-v5.total_steps={arguments.steps}",
                    "server.address=localhost:0",
                )
            )
            try:
                theirs.append(peer_rate("sb3", arguments.steps))
            except MissingError as error:
                sys.exit(str(error))
            print(
                f"pair {pair}: entrain {ours[-1].steady_rate():,.0f}, "
                f"SB3 {theirs[-1]:,.0f} env steps/s",
                flush=True,
            )
        report(ours, theirs)


def report(ours: Sequence[FinishedRun], theirs: Sequence[float]) -> None:
    """Print where our time goes, medians, and last their ratio."""
    print_time_shares(ours)
    mine = statistics.median(run.steady_rate() for run in ours)
    peer = statistics.median(theirs)
    print(f"median: entrain {mine:,.0f}, SB3 {peer:,.0f} env steps/s")
    print(f"ratio {mine / peer:.2f}")


if __name__ == "__main__":
    main()
