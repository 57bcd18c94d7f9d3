"""HalfCheetah-v5, PPO: entrain end to end through gRPC beside Stable-Baselines3 in process.

The same work on both sides: 8 environments x 256 steps, minibatch 64, 10 epochs, 64x64 tanh, one
torch thread. Runs in turns (ours, theirs, ours, ...); the figure is the ratio of medians.

    python -m benchmarks.beside_sb3 --pairs 3 --steps 40960
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.runs import FinishedRun, print_time_shares, train

CONFIG = Path(__file__).parent / "configs" / "halfcheetah_8x256.yaml"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40960)
    parser.add_argument("--peer-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer_only:
        print(peer_rate(arguments.steps))
        return
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
            theirs.append(separate_peer_rate(arguments.steps))
            print(
                f"pair {pair}: entrain {ours[-1].steady_rate():,.0f}, "
                f"SB3 {theirs[-1]:,.0f} env steps/s"
            )
        report(ours, theirs)


def report(ours: list[FinishedRun], theirs: list[float]) -> None:
    """Print medians, their ratio, and where our time goes."""
    mine = statistics.median(run.steady_rate() for run in ours)
    peer = statistics.median(theirs)
    print(f"median: entrain {mine:,.0f}, SB3 {peer:,.0f} env steps/s, ratio {mine / peer:.2f}")
    print_time_shares(ours)


def separate_peer_rate(steps: int) -> float:
    """The peer in a process of its own, so that neither inherits the other's threads or caches."""
    command = [sys.executable, "-m", "benchmarks.beside_sb3", "--peer-only", "--steps", str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peer_rate(steps: int) -> float:
    """Median env steps/s of SB3's PPO over its rollout-and-update rounds, the first left out."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    torch.set_num_threads(1)
    begun: list[float] = []

    class Rounds(BaseCallback):  # type: ignore[misc]
        def _on_rollout_start(self) -> None:
            begun.append(time.perf_counter())

        def _on_step(self) -> bool:
            return True

    environments = VecNormalize(make_vec_env("HalfCheetah-v5", n_envs=8, seed=1))
    model = PPO("MlpPolicy", environments, n_steps=256, batch_size=64, n_epochs=10, device="cpu")
    model.learn(steps, callback=Rounds())
    begun.append(time.perf_counter())
    rounds = [after - before for before, after in itertools.pairwise(begun[1:])]
    return 8 * 256 / statistics.median(rounds)


if __name__ == "__main__":
    main()
