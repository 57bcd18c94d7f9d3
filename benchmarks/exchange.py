"""Processor time of the trainer for one exchange, beside a bare echo's server, all threads.

The trainer is `entrain train` as a user runs it; it records what it is sent, and learns nothing in
the time that is measured. The simulator sends made-up rows of a CartPole (4 numbers, 2 choices);
each agent's episode ends with every fiftieth step on average. The echo carries the same bytes.
Both in turns, by the operating system's accounts, so that a loaded machine changes little.

    python -m benchmarks.exchange --agents 1 64 --pairs 8
    python -m benchmarks.exchange --other ../other-clone/.venv/bin
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from benchmarks.servers import serving
from benchmarks.serving import echoed
from entrain_envs.client import TrainerClient
from entrain_envs.codec import encode_timesteps
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

SPEC = BehaviourSpec(
    name="cart",
    observations=(ObservationSpec(name="vector", shape=(4,)),),
    action=ActionSpec(branches=(2,)),
)
EPISODE_STEPS = 50
WARM = 500
"""Messages before those that are measured."""

Cost: TypeAlias = Callable[[int], float]
"""Of so many messages: microseconds of processor time for one."""

CONFIG = """
policies:
  "*":
    total_steps: 1000000000
    normalize_observations: true
    ppo: {rollout_steps: 10000000}
"""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Rows:
    """What one simulator sends."""

    agents: int
    generator: np.random.Generator

    def first(self) -> TimestepBatch:
        """The first row of each agent."""
        return self._rows(np.arange(self.agents), np.full(self.agents, StepType.FIRST))

    def next(self) -> TimestepBatch:
        """An outcome for each agent, and where its episode ended the first row of the next."""
        agent_id = np.arange(self.agents)
        ends = self.generator.random(self.agents) < 1 / EPISODE_STEPS
        step_type = np.where(ends, StepType.TERMINATED, StepType.MID)
        begun = agent_id[ends]
        return self._rows(
            np.concatenate([agent_id, begun]),
            np.concatenate([step_type, np.full(len(begun), StepType.FIRST)]),
        )

    def _rows(self, agent_id: np.ndarray, step_type: np.ndarray) -> TimestepBatch:
        return TimestepBatch.of(
            SPEC,
            agent_id=agent_id,
            step_type=step_type,
            reward=(step_type != StepType.FIRST).astype(np.float32),
            observation={"vector": self.generator.random((len(agent_id), 4), np.float32)},
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--messages", type=int, default=2000, help="of each measurement")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--bin", type=Path, default=Path(sys.executable).parent)
    parser.add_argument("--other", type=Path, help="of another version, measured in turns")
    a = parser.parse_args()
    for agents in a.agents:
        with ExitStack() as stack:
            costs = {"echo": stack.enter_context(echo(agents))}
            for name, folder in (("this", a.bin), ("other", a.other)):
                if folder is not None:
                    costs[name] = stack.enter_context(trainer(folder, agents))
            measure(agents, costs, messages=a.messages, pairs=a.pairs)


def measure(agents: int, costs: Mapping[str, Cost], *, messages: int, pairs: int) -> None:
    """Print microseconds a message of each server, and medians of ratios to the first."""
    for cost in costs.values():
        cost(WARM)
    lines = []
    for _ in range(pairs):
        lines.append({name: cost(messages) for name, cost in costs.items()})
        shown = ", ".join(f"{name} {us:.1f} us" for name, us in lines[-1].items())
        print(f"{agents} agents: {shown}", flush=True)
    first = next(iter(costs))
    for name in costs:
        us = statistics.median(line[name] for line in lines)
        ratio = statistics.median(line[name] / line[first] for line in lines)
        print(f"{agents} agents, median: {name} {us:.1f} us, {ratio:.2f} x {first}")


@contextmanager
def echo(agents: int) -> Iterator[Cost]:
    """Of an echo's server: what it takes for one message."""
    part = encode_timesteps(SPEC, Rows(agents, np.random.default_rng(1)).next())
    message = pb.ConnectRequest(step=pb.Step(sequence=1, behaviours=[part])).SerializeToString()
    with serving("echo") as server, echoed(server.address) as round_trip:
        yield lambda count: processor_us(server.pid, lambda: round_trip(message), count)


@contextmanager
def trainer(folder: Path, agents: int) -> Iterator[Cost]:
    """Of the trainer of the version whose commands are in `folder`, the same."""
    rows = Rows(agents, np.random.default_rng(1))
    with (
        training(folder) as (pid, address),
        TrainerClient(address, [SPEC], simulator="carts", reconnect_s=0) as client,
    ):
        client.exchange({SPEC.name: rows.first()})
        yield lambda count: processor_us(
            pid, lambda: client.exchange({SPEC.name: rows.next()}), count
        )


@contextmanager
def training(folder: Path) -> Iterator[tuple[int, str]]:
    """A trainer in a process of its own: its id and address."""
    with tempfile.TemporaryDirectory() as runs:
        config, address = Path(runs, "c.yaml"), f"unix:{runs}/s"
        config.write_text(CONFIG)
        process = subprocess.Popen(
            [
                folder / "entrain",
                "train",
                config,
                "--address",
                address,
                "--runs-directory",
                runs,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            while not Path(runs, "s").exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the trainer ended with {process.returncode}")
                time.sleep(0.05)
            yield process.pid, address
        finally:
            process.kill()
            process.wait()


def processor_us(pid: int, round_trip: Callable[[], object], count: int) -> float:
    """Microseconds of processor time that a process takes for one of `count` round trips."""
    began = processor_s(pid)
    for _ in range(count):
        round_trip()
    return 1e6 * (processor_s(pid) - began) / count


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has taken, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
