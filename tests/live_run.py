"""A training run and its simulators in one process, over real sockets on loopback, for tests.

The trainer runs on the test's event loop, each simulator in a thread of its own, as a program of a
user's would in a process of its own. Simulators outlive the trainer, and come back to the next one.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from entrain.app.launcher import Launcher
from entrain.app.observing import RunObserver
from entrain.app.run_hooks import RunHooks
from entrain.app.training import TrainingRun
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.run.summary import Outcome
from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver, Environment, Report
from entrain_envs.greeting import Welcome

Moment = Callable[[TrainingRun], bool]
"""Says, asked again and again, whether it is time to stop."""


def config_from(text: str, folder: Path) -> RunConfig:
    """The configuration that `text`, YAML, describes."""
    path = folder / "config.yaml"
    path.write_text(text)
    return load_config(path, [])


async def train(
    config: RunConfig,
    folder: RunFolder,
    *,
    stop_at: Moment | None = None,
    resumed: bool = False,
    look_s: float = 0.001,
    observer: RunObserver | None = None,
) -> tuple[Outcome, TrainingRun]:
    """One sitting of a run, until it is complete or the moment to stop has come.

    Args:
        config: of the run.
        folder: of the run.
        stop_at: says when to stop.
        resumed: whether it goes on from the newest checkpoint.
        look_s: how often `stop_at` is asked at most. Asking whenever nothing else is to be done
            takes the interpreter from simulators that are threads of this process.
        observer: is told what happens.
    """
    restored = newest(folder) if resumed else None
    run = TrainingRun(
        config,
        folder,
        LogDisplay(),
        launcher=lambda _address: Launcher([], environment={}),
        restored=restored,
        hooks=RunHooks(observer=observer),
    )
    stop = asyncio.Event()
    watcher = asyncio.create_task(_set_at(run, stop_at, stop, look_s))
    try:
        outcome = await run.run(stop)
    finally:
        watcher.cancel()
    return outcome, run


async def _set_at(
    run: TrainingRun, moment: Moment | None, stop: asyncio.Event, look_s: float
) -> None:
    while moment is not None and not stop.is_set():
        if moment(run):
            stop.set()
        await asyncio.sleep(look_s)


def newest(folder: RunFolder) -> Loaded:
    """The newest checkpoint of a run."""
    return CheckpointStore(folder.checkpoints, keep=3).load_newest()


@contextmanager
def simulators(
    address: str,
    environments: Mapping[str, Environment],
    *,
    reconnect_s: float = 30.0,
    make_client: Callable[..., TrainerClient] = TrainerClient,
) -> Iterator[Sequence[Report]]:
    """Simulators by name, each in a thread, which end when the trainer says that it is done.

    Yields a list that holds their own counts after the block.
    """
    reports: list[Report] = []
    threads = []
    for name, environment in environments.items():
        client = make_client(
            address, environment.behaviours, simulator=name, reconnect_s=reconnect_s
        )
        driver = Driver(environment, client)
        threads.append(threading.Thread(target=lambda d=driver: reports.append(d.run())))
    for thread in threads:
        thread.start()
    try:
        yield reports
    finally:
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive(), "a simulator did not end with its trainer"


@contextmanager
def judged_simulators(
    address: str, players: Mapping[str, Environment], *, judges: Mapping[str, Environment]
) -> Iterator[None]:
    """Simulators that are learned from, which dial once all those of evaluations have joined.

    A short run is over before one that finds nobody at first dials again.
    """
    have_joined = {name: threading.Event() for name in judges}
    of_judges = partial(JudgeClient, role="evaluation", have_joined=have_joined)
    of_players = partial(PlayerClient, awaits=have_joined)
    with (
        simulators(address, players, make_client=of_players),
        simulators(address, judges, make_client=of_judges),
    ):
        yield


class JudgeClient(TrainerClient):
    """Says when it has joined."""

    def __init__(
        self, *arguments: Any, have_joined: Mapping[str, threading.Event], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._has_joined = have_joined[options["simulator"]]

    def connect(self) -> Welcome:
        """As any client does."""
        welcome = super().connect()
        self._has_joined.set()
        return welcome


class PlayerClient(TrainerClient):
    """Joins after all judges."""

    def __init__(
        self, *arguments: Any, awaits: Mapping[str, threading.Event], **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._awaits = awaits

    def connect(self) -> Welcome:
        """As any client does, a little later."""
        for name, has_joined in self._awaits.items():
            assert has_joined.wait(60.0), f"{name} has not joined for evaluations"
        return super().connect()


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two states differ, bit for bit; empty if nowhere."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return [f"{path}: {sorted(one)} against {sorted(other)}"]
        return [line for key in one for line in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{path}/{i}")]
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        same = same and one.tobytes() == other.tobytes()
        return [] if same else [f"{path}: {one.dtype}{list(one.shape)} differs"]
    same = type(one) is type(other) and one == other
    return [] if same else [f"{path}: {one!r} against {other!r}"]
