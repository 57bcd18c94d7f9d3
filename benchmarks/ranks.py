"""What a rank pays for learning together: processor time of an update beside the same one alone.

    python -m benchmarks.ranks [--rows 2048] [--pairs 15]

Two processes each learn from 8,192 steps of their own, in turns together and alone, with the policy
of `benchmarks.updates` and as many rows of their own in each minibatch. Processor time is that of
the whole process, with the threads of gloo; medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch._C._distributed_c10d import FileStore

from benchmarks.updates import SPEC, UNITS, made_rollout
from entrain.algorithms.ppo import PPO
from entrain.app.rank_meeting import Meeting
from entrain.app.rank_place import RankPlace
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import NetworkConfig, PolicyConfig, algorithm_options
from entrain.policy.actor_critic import ActorCritic
from entrain.ranks import ALONE, DistributedRanks, Ranks

SIZE = 2


def make_ppo(rows: int, ranks: Ranks) -> PPO:
    """Learns with so many rows of this process in each minibatch."""
    size = rows if ranks is ALONE else rows * SIZE
    config = PolicyConfig(
        network=NetworkConfig(hidden_sizes=(UNITS, UNITS)),
        algorithm=PPOConfig(minibatch_size=size, num_epochs=10),
    )
    policy = ActorCritic(SPEC, config, seed=0)
    device = torch.device("cpu")
    options = algorithm_options(config, PPOConfig)
    return PPO(
        policy,
        options,
        discount=0.99,
        seed=1,
        device=device,
        ranks=ranks,
    )


def be_rank(rank: int, folder: Path, *, rows: int, pairs: int) -> None:
    """Measure, and print the medians on rank 0."""
    torch.set_num_threads(1)

    meeting = Meeting(RankPlace(rank, SIZE, "127.0.0.1"), FileStore(str(folder / "store"), SIZE))
    join = meeting.group("cheetah")
    rollout = made_rollout()
    together, alone = make_ppo(rows, DistributedRanks(join)), make_ppo(rows, ALONE)
    times: dict[str, list[float]] = {"together": [], "alone": []}
    steps = 0
    for pair in range(-2, pairs):
        for name, ppo in (("together", together), ("alone", alone)):
            began_s = time.process_time()
            metrics = ppo.update(rollout, progress=0.0)
            if pair >= 0:
                times[name].append(time.process_time() - began_s)
            steps = int(metrics["update/minibatches"])
    medians = {name: statistics.median(each) for name, each in times.items()}
    more = statistics.median(
        one / other - 1.0 for one, other in zip(times["together"], times["alone"], strict=True)
    )
    print(
        f"rank {rank}: {rows:,} rows, {steps} gradient steps: together "
        f"{1e3 * medians['together']:.1f} ms, alone {1e3 * medians['alone']:.1f} ms, "
        f"{1e6 * (medians['together'] - medians['alone']) / steps:.0f} us more a gradient step, "
        f"{more:+.1%} (median of pairs)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Start both ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.rank >= 0:
        be_rank(given.rank, given.folder, rows=given.rows, pairs=given.pairs)
        return
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--rows={given.rows}", f"--pairs={given.pairs}", f"--folder={folder}"]
        command = [sys.executable, "-m", "benchmarks.ranks", *options]
        environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([*command, f"--rank={rank}"], env=environment) for rank in range(SIZE)
        ]
        codes = [rank.wait() for rank in ranks]
    if any(codes):
        raise SystemExit(f"a rank failed: {codes}")


if __name__ == "__main__":
    main()
