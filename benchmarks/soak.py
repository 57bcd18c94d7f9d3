"""Simulators joining and leaving at random for minutes: does the ledger balance, does memory grow?

Each simulator lives for a random while in one of several processes. Its agents end episodes, leave
and come back; its stream breaks with an Act on the way and is resumed; at last it says Goodbye, or
vanishes without a word. It counts its own steps, and at the end the trainer's ledger must equal the
sum of all those counts to the unit.

    python -m benchmarks.soak --simulators 64 --minutes 5
"""

import argparse
import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.runs import ENTRAIN
from entrain_envs.client import TrainerClient
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import BrokenStreamError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

SPEC = BehaviourSpec(
    name="soak",
    observations=(ObservationSpec(name="vector", shape=(8,)),),
    action=ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0)),
)
GRACE_S = 2.0
CONFIG = f"""
name: soak
seed: 1
server: {{address: "localhost:0", grace_s: {GRACE_S}}}
simulators: {{wait_s: 60}}
policies:
  soak:
    total_steps: 1_000_000_000
    rollout_steps: 8192
    algorithm: {{minibatch_size: 1024, num_epochs: 2}}
"""


@dataclass
class Count:
    """Steps as one simulator saw them."""

    opened: int = 0
    closed: int = 0
    dropped: int = 0
    lives: int = 0
    broken_streams: int = 0
    vanished: int = 0

    def add(self, other: "Count") -> None:
        """Add up field by field."""
        for field in dataclasses.fields(self):
            total = getattr(self, field.name) + getattr(other, field.name)
            setattr(self, field.name, total)


class FragileConnection:
    """A stream that sometimes breaks after a Step was sent, before its Act is read."""

    def __init__(self, inner: Connection, dice: np.random.Generator, count: Count) -> None:
        self._inner = inner
        self._dice = dice
        self._count = count
        self._greeted = False

    def send(self, request: pb.ConnectRequest) -> None:
        self._inner.send(request)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        if self._greeted and self._dice.random() < 0.005:
            self._count.broken_streams += 1
            raise BrokenStreamError("broken on purpose")
        self._greeted = True
        return self._inner.receive(timeout_s=timeout_s)

    def end(self, *, timeout_s: float) -> None:
        self._inner.end(timeout_s=timeout_s)

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        return self._inner.inquire(request, timeout_s=timeout_s)

    def give_up(self, words: str) -> None:
        self._inner.give_up(words)

    def vanish(self) -> None:
        """Go without a Goodbye."""
        self._inner.end(timeout_s=0.0)


class Crowd:
    """Agents that end episodes, leave, and come back, with made-up observations."""

    def __init__(self, agents: int, dice: np.random.Generator) -> None:
        self._dice = dice
        self._ids = np.arange(agents, dtype=np.int64)
        self._present = np.ones(agents, np.bool_)
        self._alive = np.zeros(agents, np.bool_)

    @property
    def num_open(self) -> int:
        """Agents that were given an action whose outcome is not yet told."""
        return int(np.count_nonzero(self._alive))

    def step(self) -> TimestepBatch:
        """The next timesteps: outcomes of all living agents, beginnings of those that (re)join."""
        dice = self._dice
        alive = self._ids[self._alive]
        fate = dice.random(len(alive))
        outcome = np.full(len(alive), StepType.MID, np.uint8)
        outcome[fate < 0.02] = StepType.TERMINATED
        outcome[fate > 0.99] = StepType.TRUNCATED
        ended = alive[outcome > StepType.MID]
        self._alive[ended] = False
        self._present[ended] = dice.random(len(ended)) < 0.7
        self._present |= dice.random(len(self._present)) < 0.05
        beginning = self._ids[self._present & ~self._alive]
        self._alive[beginning] = True
        agent_id = np.concatenate([alive, beginning])
        first = np.full(len(beginning), StepType.FIRST, np.uint8)
        step_type = np.concatenate([outcome, first])
        return TimestepBatch(
            agent_id=agent_id,
            step_type=step_type,
            reward=np.where(step_type == StepType.FIRST, 0, 1).astype(np.float32),
            observation={"vector": dice.random((len(agent_id), 8), np.float32)},
            action_mask=np.zeros((len(agent_id), 0), np.bool_),
        )


def live_once(address: str, name: str, dice: np.random.Generator, until_s: float) -> Count:
    """One simulator's life, with its own count of what happened in it."""
    count = Count(lives=1)
    destination = Destination(address=address)
    latest: list[FragileConnection] = []

    def fragile() -> FragileConnection:
        latest[:] = [FragileConnection(destination.open(), dice, count)]
        return latest[0]

    crowd = Crowd(int(dice.integers(1, 17)), dice)
    client = TrainerClient(address, [SPEC], simulator=name, open_connection=fragile)
    with client:
        client.connect()
        for _ in range(int(dice.integers(20, 2000))):
            if time.monotonic() > until_s:
                break
            timesteps = crowd.step()
            client.exchange({SPEC.name: timesteps})
            count.closed += int(np.count_nonzero(timesteps.step_type > StepType.FIRST))
            count.opened += int(np.count_nonzero(timesteps.needs_action))
        count.dropped += crowd.num_open
        if dice.random() < 0.3:
            count.vanished += 1
            latest[0].vanish()
    return count


def live_on(address: str, name: str, seed: int, until_s: float) -> Count:
    """Lives one after another, with pauses, until the time is over."""
    dice = np.random.default_rng(seed)
    count = Count()
    while time.monotonic() < until_s:
        count.add(live_once(address, name, dice, until_s))
        time.sleep(float(dice.uniform(0.0, 1.0)))
    return count


def process(address: str, first: int, simulators: int, seconds: float) -> Count:
    """Several simulators in threads of one process."""
    # Streams break on purpose here, thousands of times: no need to say so each time.
    logging.getLogger("entrain_envs").setLevel(logging.ERROR)
    until_s = time.monotonic() + seconds
    with ThreadPoolExecutor(simulators) as pool:
        lives = [
            pool.submit(live_on, address, f"soak-{first + index}", first + index, until_s)
            for index in range(simulators)
        ]
        total = Count()
        for life in lives:
            total.add(life.result())
    return total


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no VmRSS")


def watch_memory(pid: int, samples: list[float], done: threading.Event) -> None:
    """A sample every two seconds."""
    while not done.wait(2.0):
        samples.append(resident_mib(pid))


def address_of(log: Path) -> str:
    """Where the trainer listens, once its log says so."""
    for _ in range(600):
        for line in log.read_text().splitlines():
            if "listening on " in line:
                return line.split("listening on ")[1].split()[0]
        time.sleep(0.1)
    raise RuntimeError(f"the trainer did not start: {log.read_text()}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulators", type=int, default=64)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        config, log = folder / "soak.yaml", folder / "log"
        config.write_text(CONFIG)
        command = [*ENTRAIN, "train", str(config), "--runs-directory", str(folder)]
        with log.open("w") as out:
            trainer = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            samples: list[float] = []
            total = soak(arguments, address_of(log), trainer.pid, samples)
            time.sleep(2 * GRACE_S)
        finally:
            trainer.send_signal(signal.SIGTERM)
            code = trainer.wait(60)
        print(f"trainer ended with exit code {code}")
        summary = json.loads((folder / "soak" / "summary.json").read_text())
    report(total, summary, samples)


def soak(arguments: argparse.Namespace, address: str, pid: int, samples: list[float]) -> Count:
    """Let the simulators live; their counts added up."""
    done = threading.Event()
    watcher = threading.Thread(target=watch_memory, args=(pid, samples, done))
    watcher.start()
    each = arguments.simulators // arguments.processes
    seconds = arguments.minutes * 60
    context = multiprocessing.get_context("spawn")
    with context.Pool(arguments.processes) as pool:
        counts = pool.starmap(
            process,
            [(address, index * each, each, seconds) for index in range(arguments.processes)],
        )
    done.set()
    watcher.join()
    total = Count()
    for count in counts:
        total.add(count)
    return total


def report(total: Count, summary: dict[str, object], samples: list[float]) -> None:
    """Print both sides of the ledger, and memory at the beginning and the end."""
    policies = summary["policies"]
    assert isinstance(policies, dict)
    ledger = policies[SPEC.name]["ledger"]
    print(f"simulators counted: {dataclasses.asdict(total)}")
    print(f"trainer counted:    {ledger}")
    print(f"server counted:     {summary['counters']}")
    tenth = max(1, len(samples) // 10)
    early = statistics.median(samples[tenth : 3 * tenth])
    late = statistics.median(samples[-2 * tenth :])
    print(f"resident memory: {early:.0f} MiB after a tenth, {late:.0f} MiB at the end")
    mine = (total.opened, total.closed, total.dropped)
    balanced = mine == (ledger["opened"], ledger["closed"], ledger["dropped"])
    print("BALANCED to the unit" if balanced else "DOES NOT BALANCE")
    if not balanced:
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
