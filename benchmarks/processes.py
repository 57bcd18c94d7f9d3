"""From which length of a step on `entrain-env --processes 2` pays.

Eight copies of an environment that takes a given processor time a step are stepped in one process
and in two, in turns, without a trainer. Beside the wall time of a step stands the processor time
that it took in all processes beyond that of the environments themselves. Wall time means something
only where two cores have nothing else to do.

    python -m benchmarks.processes [--step-ms 1 4 16] [--processes 2] [--pairs 8]
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.servers import processor_seconds
from entrain_envs.command_line import parser
from entrain_envs.environment import Environment
from entrain_envs.making import make_groups
from entrain_envs.timestep import ActionBatch

COUNT, OBSERVED, ACTED = 8, 17, 6
"""Copies, and the numbers of a HalfCheetah."""


class Busy(gymnasium.Env[Any, Any]):
    """Takes `step_ms` of a processor's time a step."""

    observation_space = spaces.Box(-np.inf, np.inf, (OBSERVED,))
    action_space = spaces.Box(-1.0, 1.0, (ACTED,))

    def __init__(self, step_ms: float) -> None:
        self._step_s = step_ms / 1000.0
        self._observation = np.zeros(OBSERVED, np.float32)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        return self._observation, {}

    def step(self, _action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        until_s = time.thread_time() + self._step_s
        while time.thread_time() < until_s:
            pass
        return self._observation, 0.0, False, False, {}


# This module is imported again where it was run as a program.
if "Busy-v0" not in gymnasium.registry:
    gymnasium.register("Busy-v0", entry_point="benchmarks.processes:Busy")


def busy_copies(step_ms: float, processes: int) -> Environment:
    """Eight of them, which take `step_ms` a step together."""
    line = ["gymnasium", "benchmarks.processes:Busy-v0", "--connect", "localhost:1"]
    line += ["--count", str(COUNT), "--processes", str(processes)]
    line += ["--kwargs", f'{{"step_ms": {step_ms / COUNT}}}']
    (environment,) = make_groups(parser().parse_args(line))
    environment.reset(seed=1, parameters={})
    return environment


def spent_s() -> float:
    """Processor time of this process and of those it started."""
    ids = [os.getpid(), *(each.pid or 0 for each in multiprocessing.active_children())]
    return sum(map(processor_seconds, ids))


def step_ms(environment: Environment, steps: int) -> tuple[float, float]:
    """Wall and processor time of a step in milliseconds."""
    (spec,) = environment.behaviours
    actions = ActionBatch(
        np.zeros((COUNT, ACTED), np.float32), np.zeros((COUNT, 0), np.int32), policy_version=0
    )
    began_s, before_s = time.perf_counter(), spent_s()
    for _ in range(steps):
        environment.step({spec.name: actions})
    return (
        1e3 * (time.perf_counter() - began_s) / steps,
        1e3 * (spent_s() - before_s) / steps,
    )


def measure(length_ms: float, processes: int, pairs: int) -> None:
    """Print medians for steps of this length."""
    environments = {number: busy_copies(length_ms, number) for number in (1, processes)}
    taken: Mapping[int, list[tuple[float, float]]] = {number: [] for number in environments}
    steps = max(20, int(400 / length_ms))
    for environment in environments.values():
        step_ms(environment, steps)
    for _ in range(pairs):
        for number, environment in environments.items():
            taken[number].append(step_ms(environment, steps))
    for environment in environments.values():
        environment.close()
    print(f"a step of {COUNT} copies takes {length_ms:g} ms", flush=True)
    for number, pair in taken.items():
        wall, processor = (statistics.median(column) for column in zip(*pair, strict=True))
        beyond = processor - length_ms
        print(f"  {number} process(es): wall {wall:.2f} ms, processor {beyond:.2f} ms beyond it")
    ratios = [one[0] / more[0] for one, more in zip(*taken.values(), strict=True)]
    print(f"  {processes} are {statistics.median(ratios):.2f} times as fast as one", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--step-ms", type=float, nargs="+", default=[1.0, 4.0, 16.0])
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--pairs", type=int, default=8)
    chosen = options.parse_args(arguments)
    for length_ms in chosen.step_ms:
        measure(length_ms, chosen.processes, chosen.pairs)


if __name__ == "__main__":
    main()
