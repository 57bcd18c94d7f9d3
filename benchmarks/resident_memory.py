"""Resident memory over thousands of updates: by hand and by torch, with `policy_lag` 0 and 1.

A small policy learns to balance 64 balls from rollouts of 128 steps, in process, each setting in a
process of its own. Memory counts without what is a file's, such as libraries' code.

    python -m benchmarks.resident_memory --updates 3000
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.in_process import EnvironmentBatches, InlineExecutor, make_trainer, run

AGENTS, STEPS = 64, 128
EARLY = 500
"""Updates after which memory should have settled."""

SETTINGS = {
    "by hand": (),
    "by hand, policy_lag: 1": ("policy_lag=1",),
    "by torch": ("algorithm.update=torch",),
    "by torch, policy_lag: 1": ("algorithm.update=torch", "policy_lag=1"),
    "LSTM by hand": ("network.memory.kind=lstm", "network.memory.size=16"),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    arguments = parser.parse_args()
    most = arguments.updates
    looks = sorted({min(look, most) for look in (10, 100, EARLY, most // 2, most)})
    print("| resident MiB after updates |", " | ".join(f"{look:,}" for look in looks), "|")
    print("|---" * (1 + len(looks)) + "|")
    for name in arguments.settings:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            mib = process.submit(resident_after, looks, SETTINGS[name]).result()
        print(f"| {name} |", " | ".join(f"{each:.1f}" for each in mib), "|", flush=True)


def resident_after(looks: Sequence[int], options: Sequence[str]) -> list[float]:
    """MiB after each of so many updates."""
    from entrain.config.load import load_config
    from entrain.policy.actor_critic import ActorCritic
    from entrain_envs.simulators.balance_ball import BalanceBall

    environment = BalanceBall(count=AGENTS)
    (spec,) = environment.behaviours
    options = (
        f"total_steps={STEPS * looks[-1]}",
        f"rollout_steps={STEPS}",
        "algorithm.num_epochs=1",
        *options,
    )
    config = load_config(None, [f"policies.{spec.name}.{option}" for option in options])
    policy = ActorCritic(spec, config.policies[spec.name], seed=1)
    watcher = Watcher(looks)
    with make_executor(policy.config.policy_lag) as executor:
        trainer = make_trainer(policy, seed=1, recorder=watcher, executor=executor)
        run(trainer, EnvironmentBatches(environment, seed=1, is_over=lambda: trainer.is_complete))
    return watcher.mib


def make_executor(policy_lag: int) -> Executor:
    """As in a run, a thread, if an update is to run beside the collecting."""
    return ThreadPoolExecutor(1) if policy_lag else InlineExecutor()


class Watcher:
    """Looks at memory after some of the updates."""

    def __init__(self, looks: Sequence[int]) -> None:
        self._looks = looks
        self._updates = 0
        self.mib: list[float] = []

    def record(self, update: object) -> None:
        """Count an update."""
        del update
        self._updates += 1
        if self._updates in self._looks:
            self.mib.append(resident_mib())

    def note_completion(self) -> None:
        """Nothing."""


def resident_mib() -> float:
    """Of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon")


if __name__ == "__main__":
    main()
