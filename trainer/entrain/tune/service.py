"""The life of `entrain tune`: settings, checks, lock, the tuner's steps, the report at the end."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.console import Console

from entrain.app.processors import available_processors
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.config.differences import differences
from entrain.config.load import load_config, read_settings, to_yaml, validated
from entrain.config.run import RunConfig
from entrain.config.search import SearchConfig
from entrain.config.source import Source
from entrain.config.variables import is_variable
from entrain.errors import ConfigError
from entrain.native.address import TcpAddress, parse_address
from entrain.run.durable import replace_file
from entrain.run.lock import RunLock
from entrain.run.log_lines import logging_to
from entrain.supervise import ports, processes
from entrain.supervise.commands import ENTRAIN, Commands
from entrain.supervise.records import RecordFile
from entrain.supervise.supervisor import Rules, Supervisor
from entrain.tune.checks import checked_space, search_of
from entrain.tune.folder import TuningFolder, listed
from entrain.tune.report import write_report
from entrain.tune.space import Space
from entrain.tune.study import Direction, Study
from entrain.tune.trial_files import TrialFiles
from entrain.tune.tuner import Tuner, TuningRules
from entrain.tune.values import direction_of, metric_of, require_policy

logger = logging.getLogger(__name__)

IS_POSIX = os.name == "posix"

EVERY_S = 0.5
"""Between two steps of the tuner."""

_MAY_CHANGE = (
    ("search", "trials"),
    ("search", "parallel"),
    ("server", "address"),
    ("server", "websocket"),
    ("http",),
    ("notify",),
    ("observers",),
    ("checkpoints",),
)
"""Beginnings of the paths of options on which no result depends: they may change on the way."""


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The command line of `entrain tune`."""

    file: Path
    overrides: Sequence[str] = ()
    """PATH=VALUE, and variables of the environment."""

    program: Sequence[str] = ENTRAIN
    """That trains one run."""

    start: Callable[..., processes.Living] = field(default=processes.start)
    every_s: float = EVERY_S
    processors: int = field(default_factory=available_processors)


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The settings of a tuning, checked: nothing is begun."""

    settings: Source
    config: RunConfig
    search: SearchConfig
    space: Space
    metric: str
    direction: Direction
    folder: TuningFolder

    @classmethod
    def read(cls, options: TuneOptions) -> "Tuning":
        """Read and check the file; ConfigError if something is wrong."""
        settings = read_settings(options.file, options.overrides)
        config = validated(settings)
        search = search_of(config, settings.whole)
        metric = metric_of(config, search)
        require_policy(config, search, settings)
        return cls(
            settings=settings,
            config=config,
            search=search,
            space=checked_space(settings, config),
            metric=metric,
            direction=direction_of(metric, search, settings),
            folder=TuningFolder.of(config),
        )

    def study(self) -> Study:
        """Open the study, or begin it; MissingExtraError without Optuna."""
        return Study(self.folder.study, self.search, self.space, direction=self.direction)


def tune(options: TuneOptions) -> int:
    """Try values until there were as many trials as are wanted, or asked to stop.

    Returns the exit code.
    """
    if not IS_POSIX:
        raise ConfigError(
            "entrain tune needs signals, which this system does not have: it runs on Linux and "
            "macOS (in WSL, too)"
        )
    tuning = Tuning.read(options)
    tuning.folder.make()
    with (
        tuning.folder.lock() as lock,
        stop_on_signals("all runs save and stop; the same command goes on") as request,
        logging_to(tuning.folder.log),
        _only_warnings_of("entrain.supervise"),
    ):
        _require_same(tuning)
        study = tuning.study()
        tuner = make_tuner(tuning, study, options)
        tuner.find_again()
        to_go_on = [f"to go on: entrain tune {options.file}"]
        try:
            is_done = asyncio.run(_run(tuner, request, lock, every_s=options.every_s))
        except ConfigError:
            # Too many trials have failed: what those before came to is wanted all the same.
            show(tuning, study, next_=to_go_on)
            raise
        show(tuning, study, next_=() if is_done else to_go_on)
    return 0


def report(options: TuneOptions) -> int:
    """Show how a tuning stands, and write its report; returns the exit code."""
    tuning = Tuning.read(options)
    if not tuning.folder.study.is_file():
        raise ConfigError(
            f"{tuning.folder.path} holds no tuning yet{listed(tuning.config.runs_directory)}; "
            f"begin it with: entrain tune {options.file}"
        )
    if tuning.folder.settings.is_file():
        _compare(tuning)
    show(tuning, tuning.study())
    return 0


def show(tuning: Tuning, study: Study, *, next_: Sequence[str] = ()) -> None:
    """Write the report of a tuning, and print how it stands and what may be done next."""
    console = Console()
    lines = write_report(
        study, tuning.folder, tuning.config, metric=tuning.metric, settings=tuning.settings
    )
    for line in [*lines, *next_]:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@contextlib.contextmanager
def _only_warnings_of(name: str) -> Iterator[None]:
    """Log no more of the processes of runs: what becomes of trials says it already."""
    log = logging.getLogger(name)
    before = log.level
    if not logging.getLogger("entrain").isEnabledFor(logging.DEBUG):
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


async def _run(tuner: Tuner, request: StopRequest, lock: RunLock, *, every_s: float) -> bool:
    """Step until all is done, or asked to stop; returns whether all is done."""
    stop = request.event()
    try:
        while not stop.is_set():
            await tuner.step()
            if tuner.is_done:
                return True
            lock.check(reads=False)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stop.wait()
        return False
    finally:
        await tuner.stop(every_s=min(every_s, 0.1))


def make_tuner(
    tuning: Tuning,
    study: Study,
    options: TuneOptions,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Tuner:
    """Returns what tunes; nothing is begun. `clock` gives seconds that never jump."""
    folder, search = tuning.folder, tuning.search
    files = TrialFiles(folder.trials)
    parallel = parallel_runs(tuning, options.processors)
    supervisor = Supervisor(
        files,
        RecordFile(folder.state),
        Commands(
            folder.runs,
            host="localhost",
            page_host=page_host(tuning.config),
            program=options.program,
        ),
        Rules(ports=ports.ANY, at_once=parallel),
        output=folder.output,
        clock=clock,
        start=partial(options.start, environment=_environment(os.environ)),
    )
    rules = TuningRules(
        trials=search.trials,
        parallel=parallel,
        seeds=search.seeds,
        first_seed=tuning.config.seed,
        metric=tuning.metric,
        policy=search.policy,
    )
    return Tuner(study, folder, files, supervisor, rules)


def parallel_runs(tuning: Tuning, processors: int) -> int:
    """Returns how many runs are to live at a time."""
    config = tuning.config
    launched = [*config.simulators.launch]
    if config.evaluation is not None:
        launched += config.evaluation.simulators(config.simulators.launch)
    simulators = sum(it.count for it in launched) + config.num_games
    default = max(1, processors // (1 + simulators))
    wanted = tuning.search.parallel
    if wanted is not None and wanted > processors:
        logger.warning(
            "search.parallel is %d, and there are %d processors: runs wait for each other",
            wanted,
            processors,
        )
    return default if wanted is None else wanted


def page_host(config: RunConfig) -> str | None:
    """Returns where the pages of runs listen, at any free port; None if they have none."""
    if config.http.address is None:
        return None
    address = parse_address(config.http.address, option="http.address")
    assert isinstance(address, TcpAddress)
    return address.host


def _environment(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Those of a run: without options, which are in its file and would count more than that."""
    return {name: value for name, value in variables.items() if not is_variable(f"{name}=")}


def _require_same(tuning: Tuning) -> None:
    """Remember the settings; ConfigError if the tuning was begun with others."""
    folder = tuning.folder
    if not folder.settings.is_file():
        replace_file(folder.settings, to_yaml(tuning.config))
        return
    _compare(tuning)


def _compare(tuning: Tuning) -> None:
    """ConfigError if the tuning was begun with other settings."""
    folder = tuning.folder
    kept = load_config(folder.settings, [])
    found = [
        each
        for each in differences(tuning.config, kept)
        if not any(each.path[: len(path)] == path for path in _MAY_CHANGE)
    ]
    if found:
        words = "; ".join(map(str, found[:5]))
        raise ConfigError(
            f"{folder.path} was begun with other settings: {words}. Trials with these could not be "
            "compared with those; tune under another name (--set name=NAME), or go on with the "
            "settings as they were. search.trials and search.parallel may change"
        )
