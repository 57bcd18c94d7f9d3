"""A training run with a good citizen in it, for tests that attack the run from outside.

Two forms: on the test's event loop (short), and as the program `entrain train` in a process of its
own under a limit on its memory (long). Both end by holding the citizen's counts against the run's.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pytest

from entrain.app.training import TrainingRun
from entrain.config.load import to_yaml
from entrain.run.folder import RunFolder
from entrain.run.log_lines import logging_to
from live_run import config_from, train
from support.citizen import Citizen
from support.ports import free_port

CONFIG = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s", grace_s: 0.2{server}}}
policies:
  ball:
    total_steps: 1000000000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 400
    algorithm: {{minibatch_size: 200, num_epochs: 1}}
  "*":
    total_steps: 1000000000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 400
    algorithm: {{minibatch_size: 200, num_epochs: 1}}
"""
"""The citizen's policy is `ball`; a guest may bring anything else."""

SELDOM_LEARNING = "rollout_steps: 100000".join(CONFIG.rsplit("rollout_steps: 400", 1))
"""The same, but guests act for long before anything is learned from them."""

LONGEST_WAIT_S = 5.0
"""Nobody who keeps the rules waits longer for an answer, whatever others do."""

MIB = 2**20

GRPC, WEBSOCKET = "gRPC", "WebSocket"
"""The transports over which a run is attacked."""

over_both = pytest.mark.parametrize("transport", [GRPC, WEBSOCKET])
"""A test that attacks over each of them."""

over_both_in_turn = pytest.mark.parametrize(
    "transport", [GRPC, pytest.param(WEBSOCKET, marks=pytest.mark.hostile)]
)
"""The same, but over WebSocket only with the long forms."""


class GoodOne(Protocol):
    """Somebody who keeps the rules, in a thread, and counts; `Citizen`, or a game."""

    longest_wait_s: float

    @property
    def exchanges(self) -> int: ...

    @property
    def opened(self) -> int: ...

    @property
    def closed(self) -> int: ...

    @property
    def dropped(self) -> int: ...

    def start(self) -> None: ...

    def leave(self) -> None: ...


@dataclass
class AttackedRun:
    """A run on the test's event loop, while it is attacked."""

    run: TrainingRun
    folder: RunFolder
    address: str
    citizen: GoodOne

    async def until(self, is_true: Callable[[], bool], *, within_s: float = 20.0) -> None:
        """Wait until it is; an assertion fails if that takes too long."""
        began_s = time.monotonic()
        while not is_true():
            assert time.monotonic() - began_s < within_s, "it did not come to that in time"
            await asyncio.sleep(0.005)

    async def citizen_goes_on(self, exchanges: int = 20) -> None:
        """Wait for so many more answers to the citizen."""
        before = self.citizen.exchanges
        await self.until(lambda: self.citizen.exchanges >= before + exchanges)

    @staticmethod
    async def in_thread(attack: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do what blocks, such as an attack in a process, while the run goes on."""
        return await asyncio.to_thread(attack, *arguments, **options)

    @property
    def log(self) -> str:
        """What the run's log.txt says."""
        return self.folder.log.read_text()


def where_to_dial(folder: Path, transport: str) -> tuple[str, str]:
    """The address to dial, and an option of `server` to listen there."""
    if transport == GRPC:
        return f"unix:{folder}/s", ""
    port = free_port()
    return f"ws://127.0.0.1:{port}/simulate", f'websocket: "127.0.0.1:{port}"'


@contextlib.asynccontextmanager
async def attacked_run(
    folder: Path,
    *,
    transport: str = GRPC,
    server: str = "",
    more: str = "",
    config: str = CONFIG,
    token: str = "",
    citizen_dials: str = "",
    citizen_options: Mapping[str, Any] = MappingProxyType({}),
    make_citizen: Callable[[str], GoodOne] | None = None,
) -> AsyncIterator[AttackedRun]:
    """A run, which the block attacks. After the block, the citizen's counts must be the run's.

    Args:
        folder: where everything goes; its path must be short enough for a socket.
        transport: over which it is attacked, and its citizen dials.
        server: more options of `server`, as "name: value, name: value".
        more: more options, as lines of YAML.
        config: the whole configuration, with {folder} and {server}.
        token: that the citizen shows.
        citizen_dials: another address than the run's; empty: the run's.
        citizen_options: of its client.
        make_citizen: another one, given what it may dial.
    """
    if make_citizen is None:
        make_citizen = partial(Citizen, token=token, options=citizen_options)
    address, listening = where_to_dial(folder, transport)
    text = config.format(folder=folder, server=", ".join(["", *filter(None, (listening, server))]))
    options = config_from(text + more, folder)
    run_folder = RunFolder.create(folder / "runs", "attacked")
    run_folder.write_config(to_yaml(options))
    started: list[TrainingRun] = []
    may_stop = asyncio.Event()

    def moment(run: TrainingRun) -> bool:
        started[:] = [run]
        return may_stop.is_set()

    with logging_to(run_folder.log):
        running = asyncio.create_task(train(options, run_folder, stop_at=moment, look_s=0.02))
        citizen = make_citizen(citizen_dials or address)
        citizen.start()
        try:
            while not started or not citizen.exchanges:
                assert not running.done(), running.exception()
                await asyncio.sleep(0.005)
            attacked = AttackedRun(started[0], run_folder, address, citizen)
            yield attacked
            await attacked.citizen_goes_on()
        finally:
            # Not on this thread: the citizen leaves with the next answer.
            await asyncio.to_thread(citizen.leave)
            may_stop.set()
            await running
    ledger = started[0].trainers["ball"].ledger
    check_counts({"opened": ledger.opened, "closed": ledger.closed}, citizen)
    assert (ledger.dropped, ledger.open) == (citizen.dropped, 0)


def check_counts(ledger: dict[str, int], citizen: GoodOne) -> None:
    """Hold the run's count of the policy `ball` against that of its only simulator."""
    assert (ledger["opened"], ledger["closed"]) == (citizen.opened, citizen.closed)
    assert citizen.closed > 0
    assert citizen.longest_wait_s < LONGEST_WAIT_S, f"waited {citizen.longest_wait_s:.1f} s"


@dataclass
class AttackedProgram:
    """`entrain train` in a process of its own, while it is attacked."""

    process: subprocess.Popen[bytes]
    folder: RunFolder
    address: str
    citizen: GoodOne

    @property
    def peak_mib(self) -> float:
        """The most memory that it has held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    def citizen_goes_on(self, exchanges: int = 20, *, within_s: float = 20.0) -> None:
        """Wait for so many more answers to the citizen."""
        before, began_s = self.citizen.exchanges, time.monotonic()
        while self.citizen.exchanges < before + exchanges:
            assert self.process.poll() is None, f"the trainer ended: {self.process.returncode}"
            assert time.monotonic() - began_s < within_s, "the citizen is not answered any more"
            time.sleep(0.01)

    @property
    def log(self) -> str:
        """What the run's log.txt says."""
        return self.folder.log.read_text(errors="replace")


@contextlib.contextmanager
def attacked_program(
    folder: Path,
    *,
    transport: str = GRPC,
    server: str = "",
    more: str = "",
    config: str = CONFIG,
    memory_mib: int = 12000,
    make_citizen: Callable[[str], GoodOne] = Citizen,
) -> Iterator[AttackedProgram]:
    """The same as `attacked_run`, for the program. It may map `memory_mib` (torch alone: 5,000)."""
    address, listening = where_to_dial(folder, transport)
    text = config.format(folder=folder, server=", ".join(["", *filter(None, (listening, server))]))
    (folder / "run.yaml").write_text(text + more)
    with (folder / "stdout.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "entrain", "train", str(folder / "run.yaml")],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    resource.prlimit(process.pid, resource.RLIMIT_AS, (memory_mib * MIB,) * 2)
    try:
        citizen = make_citizen(address)
        citizen.start()
        try:
            while not citizen.exchanges:
                assert process.poll() is None, (folder / "stdout.txt").read_text()
                time.sleep(0.02)
            run_folder = RunFolder.existing(folder / "runs" / "run")
            attacked = AttackedProgram(process, run_folder, address, citizen)
            yield attacked
            attacked.citizen_goes_on()
        finally:
            citizen.leave()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60.0) == 0, (folder / "stdout.txt").read_text()
    finally:
        process.kill()
        process.wait()
    summary: dict[str, Any] = json.loads(run_folder.summary.read_text())
    check_counts(summary["policies"]["ball"]["ledger"], citizen)
