"""Processes that learn one policy together, and what each of them has at the end.

Run as a script this is one rank. Results come back as arrays in a file; nothing is pickled.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.ppo import PPO
from entrain.algorithms.surrogates import make_surrogate
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, EntropyTargetConfig, MemoryConfig, NetworkConfig
from entrain.experience import Rollout
from entrain.ranks import ALONE, DistributedRanks, GlooGroup, Group, Ranks
from entrain.tensor_fields import map_tensors
from made_rollouts import HYBRID, PLAIN_BONUS, made_policy, made_rollout
from recurrent_cases import behind, in_float64, move

Results: TypeAlias = Mapping[str, npt.NDArray[Any]]
TIMEOUT_S = 240.0
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
PLAIN = NetworkConfig(hidden_sizes=(8,))
LSTM = NetworkConfig(
    hidden_sizes=(6,), memory=MemoryConfig(kind="lstm", size=4, sequence_length=5, burn_in=2)
)
TARGET = EntropyConfig(objective="soft_return", coefficient=0.02, target=EntropyTargetConfig())


@dataclass(frozen=True)
class Case:
    """A policy that learns from columns, of which the first rank has those before `cut`."""

    lengths: tuple[int, ...]
    cut: int
    network: NetworkConfig = PLAIN
    entropy: EntropyConfig = PLAIN_BONUS
    updates: int = 2
    minibatch_size: int = 10_000
    target_kl: float = 0.0
    advantage_normalization: str = "minibatch"
    surrogate: Literal["joint", "per_dimension"] = "joint"
    late: float = 0.0
    """Of the steps, those that are late."""

    policy_lag: int = 0
    """1: an older policy acted."""

    update: Literal["auto", "torch"] = "auto"
    """Gradients by hand, where that can be, or by torch."""

    is_in_order: bool = False
    """Whether steps are not shuffled, so that a minibatch is the same steps however they are
    divided over ranks: equally long columns, of which each minibatch is some rows."""

    def columns(self, rank: int, num_ranks: int) -> slice:
        """Of one of `num_ranks` ranks."""
        if num_ranks == 1:
            return slice(0, len(self.lengths))
        return (slice(0, self.cut), slice(self.cut, len(self.lengths)))[rank]


EQUAL = (20, 17, 20, 17)
CASES = {
    "one update": Case(EQUAL, 2, updates=1),
    "ten updates": Case(EQUAL, 2, updates=10),
    "one update by torch": Case(EQUAL, 2, updates=1, update="torch"),
    "ten updates by torch": Case(EQUAL, 2, updates=10, update="torch"),
    "minibatches by torch": Case((24,) * 4, 2, minibatch_size=32, is_in_order=True, update="torch"),
    "minibatches": Case((24,) * 4, 2, minibatch_size=32, is_in_order=True),
    "behind": Case(EQUAL, 2, updates=2, policy_lag=1),
    "lstm behind, no step on one": Case((20, 17, 0, 0), 2, LSTM, TARGET, policy_lag=1),
    "rollout": Case(EQUAL, 2, entropy=TARGET, advantage_normalization="rollout"),
    "per dimension": Case(EQUAL, 2, surrogate="per_dimension"),
    "early end": Case(EQUAL, 2, entropy=TARGET, target_kl=2e-4),
    "late": Case(EQUAL, 2, entropy=TARGET, late=0.4),
    "late, by torch": Case(EQUAL, 2, late=0.4, update="torch"),
    "late, rollout": Case((20, 17, 3), 2, late=0.8, advantage_normalization="rollout"),
    "late, all": Case(EQUAL, 2, entropy=TARGET, late=1.0),
    "lstm, one update": Case(EQUAL, 2, LSTM, updates=1),
    "lstm, ten updates": Case(EQUAL, 2, LSTM, updates=10),
    "100 and 37 steps": Case((50, 50, 20, 17), 2, entropy=TARGET),
    "lstm, 100 and 37 steps": Case((50, 50, 20, 17), 2, LSTM, TARGET, target_kl=2e-5),
    "no step on one": Case((20, 17, 0, 0), 2),
    "lstm, no step on one": Case((20, 17, 0, 0), 2, LSTM, TARGET),
    "no column on one": Case((20, 17), 2, entropy=TARGET),
    "shuffled": Case((50, 50, 20, 17), 2, minibatch_size=32),
    "shuffled, lstm": Case((50, 50, 9, 0), 2, LSTM, minibatch_size=32),
    "shuffled, fewer steps than minibatches": Case((50, 50, 2), 2, minibatch_size=20),
}


def learn(case: Case, ranks: Ranks, rank: int, num_ranks: int) -> dict[str, npt.NDArray[Any]]:
    """Learn in float64 from this rank's columns; the state at the end, and each update's metrics.

    The rollouts are those that the initial weights made: every rank can make all of them.
    """
    options: dict[str, Any] = {
        "network": case.network,
        "entropy": case.entropy,
        "policy_lag": case.policy_lag,
    }
    acting = made_policy(HYBRID, **options)
    # All ranks but the first begin with other weights, which they must not keep.
    learning = made_policy(HYBRID, seed=rank, **options).double()
    if case.policy_lag:
        move(learning, seed=rank)
    config = PPOConfig(
        minibatch_size=case.minibatch_size,
        num_epochs=3,
        learning_rate=3e-3,
        target_kl=case.target_kl,
        advantage_normalization=case.advantage_normalization,  # type: ignore[arg-type]
        max_grad_norm=0.05,
        surrogate=case.surrogate,
        update=case.update,
    )
    ppo = PPO(
        learning,
        config,
        discount=0.9,
        seed=100 + rank,
        device=torch.device("cpu"),
        ranks=ranks,
    )
    found: dict[str, npt.NDArray[Any]] = {}
    for update in range(case.updates):
        rollout = in_float64(
            made_rollout(
                acting,
                case.lengths,
                seed=update,
                filler=float("nan"),
                late=case.late,
                rollout_type=make_surrogate(config).rollout_type,
            )
        )
        own = columns_of(rollout, case.columns(rank, num_ranks))
        if case.policy_lag:
            own = behind(own)
        # Ranks need not have come equally far; the least counts.
        metrics = ppo.update(own, progress=(update + rank) / 20)
        found |= {f"metric/{update}/{name}": np.array(value) for name, value in metrics.items()}
    state = ppo.state()
    for part in ("policy", "optimizer"):
        for name, value in flat(state[part]).items():
            found[f"{part}/{name}"] = np.asarray(value)
    found["temperature"] = np.array(list(state["temperature"].values()))
    return found


def columns_of(rollout: Rollout, columns: slice) -> Rollout:
    """Some columns of a rollout."""
    return map_tensors(rollout, lambda tensor: tensor[:, columns])


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings as one, with paths for names."""
    leaves: dict[str, Any] = {}
    for name, value in state.items():
        if isinstance(value, Mapping):
            leaves |= {f"{name}/{path}": leaf for path, leaf in flat(value).items()}
        else:
            leaves[name] = value
    return leaves


def learn_in_order(case: Case, ranks: Ranks, rank: int, num_ranks: int) -> Results:
    """`learn`, with steps in their order if the case says so."""
    shuffle = torch.randperm
    if case.is_in_order:
        torch.randperm = lambda n, **_: torch.arange(n)
    try:
        return learn(case, ranks, rank, num_ranks)
    finally:
        torch.randperm = shuffle


def learn_alone(case: Case) -> Results:
    """One process with the steps of all."""
    return learn_in_order(case, ALONE, 0, 1)


def run_ranks(folder: Path, num_ranks: int = 2) -> list[Results]:
    """Start processes that learn together; what each found, by part: a case, or one of `PARTS`.

    They are killed after `TIMEOUT_S`.
    """
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": LOOPBACK, "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:
        processes = []
        for rank in range(num_ranks):
            log = stack.enter_context((folder / f"{rank}.log").open("w"))
            options = (f"--rank={rank}", f"--num-ranks={num_ranks}", f"--folder={folder}")
            processes.append(
                subprocess.Popen(
                    [sys.executable, __file__, *options],
                    stderr=log,
                    env=environment,
                )
            )
        try:
            for rank, process in enumerate(processes):
                code = process.wait(TIMEOUT_S)
                assert code == 0, (folder / f"{rank}.log").read_text()
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return [arrays_in(folder / f"{rank}.npz") for rank in range(num_ranks)]


def arrays_in(path: Path) -> Results:
    """All arrays of a file."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def part_of(results: Results, part: str) -> Results:
    """{name: array} of a case, or of one of `PARTS`."""
    prefix = f"{part}/"
    return {
        name.removeprefix(prefix): array
        for name, array in results.items()
        if name.startswith(prefix)
    }


def primitives(ranks: Ranks, rank: int) -> Results:
    """Each method of `Ranks`, with numbers that differ by rank."""
    x = torch.tensor([1.0, 2.0]) * (rank + 1)
    nothing = torch.full((2,), float("nan")) if rank else x
    numbers = torch.tensor([[1.0, 3.0], [5.0, 7.0, 9.0]][rank] if rank < 2 else [])
    std_mean = ranks.std_mean(numbers)
    assert std_mean is not None
    lone = ranks.std_mean(torch.ones(1 - min(rank, 1)))
    overwritten = x.clone()
    ranks.broadcast(overwritten)
    tensors: dict[str, Tensor] = {
        "mean": ranks.mean(x, weight=3 - 2 * rank),
        "mean without weight": ranks.mean(nothing, weight=1 - rank),
        "sum": ranks.sum(x),
        "x": x,
        "total": torch.tensor(ranks.total(rank + 5)),
        "std": std_mean[0],
        "mean of numbers": std_mean[1],
        "has spread": torch.tensor(lone is not None),
        "any": torch.tensor([ranks.any(rank == 1), ranks.any(False), ranks.any(True)]),
        "least": torch.tensor(ranks.least(0.25 + rank)),
        "broadcast": overwritten,
    }
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def cancelled_on_one(ranks: Ranks, rank: int) -> Results:
    """An update that only the last rank gives up, in its third minibatch."""
    policy = made_policy(HYBRID, network=PLAIN)
    ppo = PPO(
        policy,
        PPOConfig(minibatch_size=10),
        discount=0.9,
        seed=rank,
        device=torch.device("cpu"),
        ranks=ranks,
    )
    rollout = columns_of(made_rollout(policy, (20, 17, 20, 17)), slice(2 * rank, 2 * rank + 2))
    before = flat(ppo.state())
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return rank == 1 and asked == 3

    try:
        ppo.update(rollout, progress=0.0, cancelled=cancelled)
    except UpdateCancelled:
        after = flat(ppo.state())
        same = all(np.array_equal(before[name], after[name]) for name in before)
        ppo.update(rollout, progress=0.0)
        return {"asked": np.array(asked), "same": np.array(same), **_weights(ppo)}
    return {}


PARTS: Mapping[str, Callable[[Ranks, int], Results]] = {
    "primitives": primitives,
    "cancelled": cancelled_on_one,
}
"""What ranks do beside the cases; a process takes longer to start than for all of it."""


def _weights(ppo: PPO) -> Results:
    return {
        f"policy/{name}": np.asarray(value) for name, value in flat(ppo.state()["policy"]).items()
    }


def _all_ranks() -> Group:
    group = dist.group.WORLD
    assert group is not None
    return GlooGroup(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Be one rank."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--num-ranks", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parsed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{parsed.folder}/store",
        rank=parsed.rank,
        world_size=parsed.num_ranks,
        timeout=timedelta(seconds=TIMEOUT_S / 2),
    )
    ranks = DistributedRanks(_all_ranks)
    found = {
        **{name: part(ranks, parsed.rank) for name, part in PARTS.items()},
        **{
            name: learn_in_order(case, ranks, parsed.rank, parsed.num_ranks)
            for name, case in CASES.items()
        },
    }
    arrays = {f"{part}/{name}": array for part in found for name, array in found[part].items()}
    np.savez(parsed.folder / f"{parsed.rank}.npz", **arrays)  # type: ignore[arg-type]
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
