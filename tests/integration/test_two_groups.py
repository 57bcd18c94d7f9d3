"""Runs whose simulators have two Steps in flight: they repeat, survive cuts and restarts, count.

All go through gRPC. What is compared is compared bit for bit.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.state import State
from entrain_envs.client import TrainerClient
from entrain_envs.connection import Connection, Destination
from entrain_envs.copies import Copies
from entrain_envs.environment import Driver, Environment, Report
from entrain_envs.errors import BrokenStreamError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.wire import trainer_pb2 as pb
from live_run import Moment, config_from, differences, newest, train
from scripted_trainer import NeverSilent

CONFIG = """
seed: 3
server: {{address: "unix:{socket}", lockstep: {lockstep}, max_unanswered_steps: {allowed}}}
simulators: {{expect: {expect}}}
policies:
  pole:
    total_steps: {total_steps}
    normalize_rewards: true
    rollout_steps: 120
    algorithm: {{minibatch_size: 60, num_epochs: 2}}
    {options}
"""

PLAIN = "network: {hidden_sizes: [8]}"

LSTM = """
    network:
      hidden_sizes: [8]
      previous_action: true
      memory: {kind: lstm, size: 6, sequence_length: 5, burn_in: 2}
    policy_lag: 1
"""


def poles(count: int, groups: int) -> Sequence[Environment]:
    return [
        GymnasiumEnvironment(lambda: gymnasium.make("CartPole-v1"), behaviour="pole", part=part)
        for part in Copies.all(count).divided(groups)
    ]


MOST_CUTS = 6
"""Of one simulator's streams: some 50 of its 70 messages, so that the last ones arrive."""


class Cut(NeverSilent):
    """A stream that breaks: with its n-th answer lost, or before the trainer has sent it."""

    def __init__(self, connection: Connection, cuts: list[str], *, after: int) -> None:
        self._connection = connection
        self._left = after
        self._cuts = cuts
        self._is_lost = len(cuts) % 2 == 0

    def send(self, request: pb.ConnectRequest) -> None:
        self._connection.send(request)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        self._left -= 1
        if self._left == 0 and not self._is_lost:
            raise self._cut("cut before the answer")
        response = self._connection.receive(timeout_s=timeout_s)
        if self._left == 0:
            raise self._cut("cut, and the answer lost")
        return response

    def _cut(self, words: str) -> BrokenStreamError:
        self._cuts.append(words)
        return BrokenStreamError(words)

    def end(self, *, timeout_s: float) -> None:
        self._connection.end(timeout_s=timeout_s)


def cutting(address: str, every: int) -> Callable[[], Connection]:
    """Opens streams that break after so many messages, one way and the other; later ones do not,
    for one that breaks as the trainer says that it is done waits for it in vain.
    """
    cuts: list[str] = []

    def open_stream() -> Connection:
        stream = Destination(address=address).open()
        if len(cuts) == MOST_CUTS:
            return stream
        return Cut(stream, cuts, after=every + len(cuts) % 3)

    return open_stream


@contextmanager
def simulators(
    address: str,
    groups: Mapping[str, Sequence[Environment]],
    open_stream: Mapping[str, Callable[[], Connection]] | None = None,
) -> Iterator[dict[str, Report]]:
    """Simulators by name, each in a thread; yields what will hold their reports."""
    reports: dict[str, Report] = {}
    threads = []
    for name, environments in groups.items():
        client = TrainerClient(
            address,
            environments[0].behaviours,
            simulator=name,
            reconnect_s=30.0,
            max_unanswered_steps=2,
            open_connection=(open_stream or {}).get(name),
        )

        def run(name: str, driver: Driver) -> None:
            reports[name] = driver.run()

        threads.append(threading.Thread(target=run, args=(name, Driver(environments, client))))
    for thread in threads:
        thread.start()
    try:
        yield reports
    finally:
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive(), "a simulator did not end with its trainer"


class Sitting:
    """Runs in a folder of their own each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(
        self,
        name: str,
        groups: Mapping[str, int],
        *,
        stops: Sequence[Moment] = (),
        cut_every: int = 0,
        lockstep: bool = True,
        options: str = PLAIN,
        allowed: int = 2,
    ) -> tuple[State, TrainingRun, dict[str, Report]]:
        """A run of 300 steps: its last checkpoint without what differs with time, itself, reports.

        Args:
            name: of its folder.
            groups: {simulator: its groups}; each has three environments.
            stops: when the trainer stops, to be resumed.
            cut_every: about so many messages; 0: no stream is cut.
            lockstep: whether it repeats.
            options: of its policy.
            allowed: unanswered Steps.
        """
        folder = self._folder / name
        folder.mkdir()
        address = f"unix:{folder}/s"
        text = CONFIG.format(
            socket=folder / "s",
            lockstep=str(lockstep).lower(),
            expect=len(groups),
            total_steps=300,
            options=options,
            allowed=allowed,
        )
        config = config_from(text, folder)
        run_folder = RunFolder.create(folder / "runs", "run")
        cuts = {each: cutting(address, cut_every) for each in groups} if cut_every else None
        environments = {each: poles(3, number) for each, number in groups.items()}
        with simulators(address, environments, cuts) as reports:
            for number, moment in enumerate(stops):
                outcome, _ = await train(config, run_folder, stop_at=moment, resumed=number > 0)
                assert outcome == "stopped"
            outcome, run = await train(config, run_folder, resumed=bool(stops))
        assert outcome == "completed"
        state: State = newest(run_folder).state["policies"]["0"]["trainer"]
        return {**comparable(state), "progress": None}, run, reports


def comparable(state: State) -> State:
    """Without the cells of the buffer in which no closed step is: what is there means nothing."""
    buffer = state["collector"]["buffer"]

    def closed(values: Any) -> Any:
        if isinstance(values, Mapping):
            return {name: closed(value) for name, value in values.items()}
        if not isinstance(values, np.ndarray):
            return values
        is_closed = np.arange(len(values))[:, None] < buffer["length"]
        return np.where(is_closed.reshape(is_closed.shape + (1,) * (values.ndim - 2)), values, 0)

    collector = {**state["collector"], "buffer": {**buffer, "columns": closed(buffer["columns"])}}
    return {**state, "collector": collector}


def after(env_steps: int) -> Moment:
    return lambda run: run.env_steps >= env_steps


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    return Sitting(tmp_path)


def check_counts(run: TrainingRun, reports: Mapping[str, Report]) -> None:
    """The trainer's ledger balances, and agrees with what its simulators counted."""
    ledger = run.trainers["pole"].ledger
    assert ledger.opened == ledger.closed + ledger.dropped + ledger.open
    own = reports.values()
    closed = sum(report.closed for report in own)
    assert closed <= ledger.closed <= closed + sum(report.unanswered for report in own)
    for report in own:
        assert report.opened == report.closed + report.unanswered + report.dropped


async def test_in_lockstep_a_run_repeats_and_restarts_and_cuts_change_nothing(
    sitting: Sitting,
) -> None:
    groups = {"alpha": 2, "beta": 1}
    straight, run, reports = await sitting.run("straight", groups)
    check_counts(run, reports)
    stopped, run, reports = await sitting.run("stopped", groups, stops=[after(1), after(121)])
    assert differences(straight, stopped) == []
    check_counts(run, reports)
    cut, run, reports = await sitting.run("cut", groups, cut_every=7)
    assert differences(straight, cut) == []
    assert run.summary("completed").counters["sessions_resumed"] > MOST_CUTS
    check_counts(run, reports)


async def test_with_memory_and_updates_behind_restarts_and_cuts_change_nothing(
    sitting: Sitting,
) -> None:
    groups = {"alpha": 2}
    straight, *_ = await sitting.run("straight", groups, options=LSTM)
    troubled, run, reports = await sitting.run(
        "troubled", groups, options=LSTM, stops=[after(150)], cut_every=9
    )
    assert differences(straight, troubled) == []
    check_counts(run, reports)


async def test_a_trainer_that_allows_one_is_given_what_one_group_sends(sitting: Sitting) -> None:
    one, *_ = await sitting.run("one", {"alpha": 1})
    obeying, *_ = await sitting.run("obeying", {"alpha": 2}, allowed=1)
    assert differences(one, obeying) == []


async def test_without_lockstep_cuts_and_restarts_leave_every_count_exact(sitting: Sitting) -> None:
    _, run, reports = await sitting.run(
        "run", {"alpha": 2, "beta": 2}, lockstep=False, cut_every=3, stops=[after(100)]
    )
    check_counts(run, reports)


async def test_a_simulator_that_vanishes_with_two_steps_in_flight_costs_its_open_steps_only(
    tmp_path: Path,
) -> None:
    address = f"unix:{tmp_path}/s"
    text = CONFIG.format(
        **{"socket": tmp_path / "s", "lockstep": "false", "expect": 2, "options": PLAIN},
        **{"total_steps": 400, "allowed": 2},
    ).replace("lockstep: false", "lockstep: false, grace_s: 0.0")
    config = config_from(text, tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "run")
    opened: list[Connection] = []
    gone = threading.Event()
    reports: dict[str, Report] = {}

    def open_stream() -> Connection:
        if gone.is_set():
            raise KeyboardInterrupt
        opened.append(Destination(address=address).open())
        return opened[-1]

    def vanish() -> None:
        groups = poles(4, 2)
        client = TrainerClient(
            address,
            groups[0].behaviours,
            simulator="vanishes",
            max_unanswered_steps=2,
            open_connection=open_stream,
        )
        driver = Driver(groups, client)
        try:
            driver.run()
        except KeyboardInterrupt:
            reports["vanishes"] = driver.report

    def events(run: TrainingRun) -> bool:
        if run.env_steps >= 100 and not gone.is_set():
            gone.set()
            opened[-1].end(timeout_s=0.0)
        return False

    thread = threading.Thread(target=vanish, daemon=True)
    thread.start()
    with simulators(address, {"stays": poles(3, 2)}) as stayed:
        outcome, run = await train(config, folder, stop_at=events)
    thread.join(30.0)
    assert outcome == "completed"
    assert run.summary(outcome).counters["sessions_lost"] == 1
    ledger = run.trainers["pole"].ledger
    assert (ledger.open, ledger.opened) == (0, ledger.closed + ledger.dropped)
    check_counts(run, {**stayed, **reports})
    assert reports["vanishes"].unanswered + reports["vanishes"].dropped > 0
