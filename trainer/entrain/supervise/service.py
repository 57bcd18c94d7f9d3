"""The life of `entrain serve`: lock, page, the supervisor's steps, what is done beside them."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from entrain.app.signals import StopRequest, stop_on_signals
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.config.variables import arguments_of
from entrain.errors import ConfigError, EntrainError, InUseError
from entrain.native.address import TcpAddress, parse_address
from entrain.run.json_lines import fields, is_json_logged
from entrain.run.lock import RunLock
from entrain.run.log_lines import logging_to
from entrain.supervise import charts
from entrain.supervise.cleaning import Cleaner, Limits, may_be_deleted
from entrain.supervise.commands import ENTRAIN, Commands
from entrain.supervise.facts import Chart, ServiceFacts
from entrain.supervise.files import Directory
from entrain.supervise.notify import ServiceManager
from entrain.supervise.places import Places
from entrain.supervise.records import RecordFile
from entrain.supervise.runs_page import RunsPage, open_page
from entrain.supervise.standings import Axis, Standings
from entrain.supervise.supervisor import Rules, Supervisor

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""Between two steps of the supervisor."""

READ_S = 2.0
"""Between two looks into the folders of runs."""

CLEAN_S = 60.0


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of `entrain serve`."""

    directory: Path
    runs_directory: Path | None = None
    host: str = "localhost"
    page: str | None = None
    """HOST:PORT; None: no page."""

    settings: Sequence[str] = ()
    """PATH=VALUE, for all runs and for the page."""

    rules: Rules
    limits: Limits = field(default_factory=Limits)
    program: Sequence[str] = ENTRAIN
    every_s: float = EVERY_S


class Service:
    """A supervisor and what is shown of it. Owned by the event loop."""

    def __init__(self, options: ServeOptions, places: Places) -> None:
        """Nothing runs yet; ConfigError if the state cannot be taken up."""
        self._options = options
        self._places = places
        page_host = None
        if options.page is not None:
            page_host = _tcp(options.page).host
        self._commands = Commands(
            places.runs_directory,
            host=options.host,
            page_host=page_host,
            settings=options.settings,
            environment=arguments_of(os.environ),
            program=options.program,
        )
        self.supervisor = Supervisor(
            Directory(options.directory),
            RecordFile(places.state),
            self._commands,
            options.rules,
            output=places.output,
        )
        self._standings = Standings()
        self._cleaner = Cleaner(places.runs_directory, options.limits)
        self._manager = ServiceManager()
        self._is_ending = False

    # A source of what the page shows

    def facts(self) -> ServiceFacts:
        """See `facts.Source`."""
        now_s = time.monotonic()
        runs = sorted(self.supervisor.runs.values(), key=lambda run: (run.living is None, run.name))
        return ServiceFacts(
            directory=str(self._options.directory),
            is_ready=self.supervisor.can_read and not self._is_ending,
            ports=str(self._options.rules.ports),
            at_once=self._options.rules.at_once,
            runs=[
                self._standings.of(
                    run, now_s=now_s, address=self._commands.to_dial(run.record.port)
                )
                for run in runs
            ],
        )

    def chart(self, metric: str, policy: str, axis: Axis) -> Chart:
        """See `facts.Source`."""
        policies = self._standings.policies()
        policy = policy or (policies[0] if policies else "")
        lines = self._standings.lines(metric, policy, axis)
        return Chart(
            metric=metric,
            policy=policy,
            policies=policies,
            lines=lines,
            groups=charts.groups(lines, self._standings.likenesses()),
        )

    # Its life

    async def run(self, stop: asyncio.Event, lock: RunLock, page: RunsPage | None) -> None:
        """Supervise until `stop`; then have all runs save and end. InUseError: see `RunLock`."""
        async with _serving(page), self._beside():
            await self.supervisor.step()
            logger.info("%s is served: %s", self._options.directory, self._status())
            self._manager.ready()
            while not stop.is_set():
                await _wait(stop, self._options.every_s)
                lock.check(reads=False)
                self._keep(lock)
                if not stop.is_set():
                    await self.supervisor.step()
                self._manager.alive(self._status())
            self._is_ending = True
            self._manager.stopping()
            await self.supervisor.stop(
                every_s=self._options.every_s, beat=lambda: self._manager.alive(self._status())
            )

    def _status(self) -> str:
        runs = self.supervisor.runs
        return f"{len(self.supervisor.living)} of {len(runs)} runs live"

    def _keep(self, lock: RunLock) -> None:
        """Have the lock again after its folder was deleted, once there is a folder again."""
        if lock.is_in_place or not self._places.runs_directory.is_dir():
            return
        with contextlib.suppress(OSError):
            self._places.output.mkdir(parents=True, exist_ok=True)
            try:
                lock.restore()
            except InUseError:
                raise
            except EntrainError as error:
                logger.debug("the lock is not had again: %s", error)

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._read_folders(), name="read folders")]
        if self._cleaner.is_needed:
            tasks.append(asyncio.create_task(self._clean(), name="clean"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_folders(self) -> None:
        while True:
            await self._guarded(self._read_once, "the folders of runs cannot be read")
            await asyncio.sleep(READ_S)

    async def _read_once(self) -> None:
        await asyncio.to_thread(self._standings.look, list(self.supervisor.runs.values()))

    async def _clean(self) -> None:
        while True:
            await self._guarded(self._clean_once, "old runs cannot be deleted")
            await asyncio.sleep(CLEAN_S)

    async def _clean_once(self) -> None:
        runs = list(self.supervisor.runs.values())
        ended = [run for run in runs if may_be_deleted(run)]
        for run in ended:
            run.is_being_deleted = True
        try:
            deleted = await asyncio.to_thread(self._cleaner.clean, ended)
        finally:
            for run in ended:
                run.is_being_deleted = False
        for run in deleted:
            run.note_record(rest="deleted", words="", port=0)

    async def _guarded(self, work: Callable[[], object], consequence: str) -> None:
        """Do what must never end the supervisor, whatever is wrong with it."""
        try:
            done = work()
            if asyncio.iscoroutine(done):
                await done
        except Exception:
            logger.exception("%s", consequence)


def serve(options: ServeOptions) -> int:
    """Supervise the runs of a directory until asked to stop; returns the exit code."""
    if os.name != "posix":
        raise ConfigError(
            "entrain serve needs signals, which this system does not have: it runs on Linux and "
            "macOS (in WSL, too)"
        )
    if not options.directory.is_dir():
        raise ConfigError(
            f"{options.directory} is no folder; name the one with the settings files in it"
        )
    config = _config_of_page(options)
    places = Places(options.directory, options.runs_directory)
    places.make()
    console = Console()
    with (
        places.lock() as lock,
        stop_on_signals("all runs save and stop") as request,
        logging_to(places.log),
    ):
        service = Service(options, places)
        service.supervisor.find_again()
        if options.page is None:
            asyncio.run(_run(service, request, lock, None))
            return 0
        with open_page(config, places, service) as page:
            _say(page, console)
            asyncio.run(_run(service, request, lock, page))
    return 0


async def _run(
    service: Service, request: StopRequest, lock: RunLock, page: RunsPage | None
) -> None:
    await service.run(request.event(), lock, page)


def _config_of_page(options: ServeOptions) -> RunConfig:
    settings = [*arguments_of(os.environ), *options.settings]
    if options.page is not None:
        settings.append(f'http.address="{options.page}"')
    return load_config(None, settings)


def _tcp(text: str) -> TcpAddress:
    address = parse_address(text, option="--http")
    if not isinstance(address, TcpAddress):
        raise ConfigError(f"--http is '{address}'; browsers need HOST:PORT")
    return address


def _say(page: RunsPage, console: Console) -> None:
    """Where the page is. What lets a browser in is shown to people, and never logged."""
    logger.info("the page of these runs: %s", page.url, extra=fields(page=page.url))
    if not is_json_logged():
        words = f"to open it in one browser, once: {page.url_with_code}"
        console.print(words, highlight=False, soft_wrap=True, markup=False)


@asynccontextmanager
async def _serving(page: RunsPage | None) -> AsyncIterator[None]:
    if page is None:
        yield
        return
    async with page.serving():
        yield


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
