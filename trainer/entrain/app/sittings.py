"""A sitting of a training run: all that one process does, from locking the folder to the results.

The commands of the terminal and the functions of Python both train by these.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from rich.console import Console

from entrain.app.command_words import CommandWords, words_of_entrain
from entrain.app.folder_keeper import FolderKeeper
from entrain.app.given import NOTHING, Given
from entrain.app.observing import RunObserver
from entrain.app.process import prepared_process
from entrain.app.rank_lead import Lead, begin_together, launcher_of
from entrain.app.run_hooks import RunHooks
from entrain.app.run_results import (
    exit_code_of,
    is_complete,
    require_whole,
    write_results,
)
from entrain.app.showing import all_of, serving, show_on
from entrain.app.signals import StopRequest
from entrain.app.starting import config_to_use, load_newest, newest_if_any
from entrain.app.surroundings import Surroundings, surroundings_of
from entrain.app.training import TrainingRun
from entrain.app.training_result import TrainingResult
from entrain.config.changes import require_effect
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import (
    ConfigError,
    DiskError,
    EntrainError,
    InUseError,
    RankFailedError,
    RankLostError,
)
from entrain.run.checkpoint import Loaded
from entrain.run.folder import RunFolder
from entrain.run.history import History
from entrain.run.json_lines import fields, is_json_logged
from entrain.run.lock import RunLock
from entrain.run.summary import Outcome
from entrain.unity.results.listing import files_of_learn

logger = logging.getLogger(__name__)


def begin(
    config: RunConfig,
    *,
    resume_or_start: bool = False,
    listening: Sequence[str] = (),
    lead: Lead | None = None,
    given: Given = NOTHING,
) -> TrainingResult:
    """Make a run folder, and train until the run is complete or asked to stop.

    Args:
        config: every option.
        resume_or_start: if the folder of that name exists, go on with the run in it.
        listening: PATH=VALUE of where this sitting listens: a run that goes on listens there too.
        lead: of the other ranks of the run; None for a run of one.
        given: by a Python program.
    """
    if resume_or_start:
        folder, is_new = RunFolder.named(config.runs_directory, config.name)
    else:
        folder, is_new = RunFolder.create(config.runs_directory, config.name), True
    try:
        with folder.lock() as lock:
            config = config_to_use(folder, config, listening)
            restored = newest_if_any(folder, config)
            return train_in(folder, config, lock, restored=restored, lead=lead, given=given)
    except EntrainError:
        if is_new:
            folder.remove_if_nothing_came_of_it()
        raise


def go_on(
    run: Path, overrides: Sequence[str], *, lead: Lead | None = None, given: Given = NOTHING
) -> TrainingResult:
    """Go on with the run in folder `run` from its newest valid checkpoint.

    Args:
        run: its folder.
        overrides: of its configuration, each PATH=VALUE.
        lead: see `begin`.
        given: likewise.
    """
    folder = RunFolder.existing(run)
    config = _changed(folder, overrides)
    with folder.lock() as lock:
        restored = load_newest(folder, config, purpose="going on from")
        return train_in(folder, config, lock, restored=restored, lead=lead, given=given)


def _changed(folder: RunFolder, overrides: Sequence[str]) -> RunConfig:
    """The settings of a run with changes; ConfigError if they do not fit."""
    try:
        config = load_config(folder.config, overrides)
    except ConfigError:
        # The options of the old kind would all be mistakes, and none is the user's.
        for each in overrides:
            if each.partition("=")[0].endswith("algorithm.kind"):
                raise ConfigError(
                    f"--set {each}: a run that goes on keeps its algorithm; begin another run, "
                    f"with initial_weights: {folder.path} in the policy to take over what was "
                    "learned"
                ) from None
        raise
    if overrides:
        require_effect(load_config(folder.config, []), config)
    return config


def train_in(
    folder: RunFolder,
    config: RunConfig,
    lock: RunLock,
    *,
    restored: Loaded | None,
    observer: RunObserver | None = None,
    words: CommandWords | None = None,
    exports: bool = True,
    lead: Lead | None = None,
    given: Given = NOTHING,
) -> TrainingResult:
    """Train in a folder that is locked, until the run is complete or asked to stop.

    Args:
        folder: gets all files of the run.
        config: every option.
        lock: of the folder.
        restored: what the run goes on from; None begins it.
        observer: is told what happens.
        words: of the command; None for those of `entrain train`.
        exports: whether a complete run's policies are written as ONNX, which takes seconds.
        lead: of the other ranks of the run; None for a run of one.
        given: by a Python program.
    """
    num_ranks = 1 if lead is None else lead.meeting.place.size
    words = words or words_of_entrain(folder.path, num_ranks=num_ranks)
    with (
        prepared_process(threads=config.threads),
        surroundings_of(config, folder, given) as around,
    ):
        part = begin_together(lead, config, folder, restored)
        run = TrainingRun(
            part.config,
            folder,
            around.display,
            launcher=lambda address: launcher_of(
                part, folder, address, around.request, given.environments
            ),
            restored=part.restored,
            hooks=RunHooks(
                keeper=FolderKeeper(folder, lock, config=to_yaml(config)),
                observer=all_of(observer, around.progress, around.page, around.observers.watching),
                environments=given.environments,
                another_policy=words.another_policy,
            ),
            together=part.together,
        )
        if run.is_finished:
            with run.reporting:
                return _say_finished(folder, run, around.console, words, exports=exports)
        run.checkpointing.on_saved = around.observers.note_checkpoint
        around.observers.is_resumed = restored is not None
        result = _train_one_sitting(run, config, folder, around, exports=exports)
    require_whole(folder)
    _describe(folder, result.outcome, around.console, words)
    return result


def _train_one_sitting(
    run: TrainingRun, config: RunConfig, folder: RunFolder, around: Surroundings, *, exports: bool
) -> TrainingResult:
    """Train until the run ends or is asked to; then write the results, and tell of the end."""
    show_on(around.page, run, around.request, around.console)
    # Only now: a configuration that does not fit the checkpoint must not replace the old one.
    _write_config(folder, config)
    around.observers.begin()
    history = History(folder.history)
    with history.sitting(lambda: run.env_steps):
        beside = serving(around.page)
        outcome = _run_until_asked(run, around.request, folder, beside, exports=exports)
    code = exit_code_of(outcome, config)
    summary = run.summary(outcome)
    # A user who stops a run waits for it, and the run will go on.
    exports = exports and outcome != "stopped"
    around.display.message(f"writing the report{' and the policies' if exports else ''}")
    write_results(folder, run, outcome, exports=exports)
    history.note("ended", outcome=outcome, exit_code=code, env_steps=run.env_steps)
    around.notices.end(outcome, summary, exit_code=code)
    around.observers.end(outcome, env_steps=summary.env_steps)
    return TrainingResult.of(folder.path, summary, run.returns, exit_code=code)


def _describe(folder: RunFolder, outcome: Outcome, console: Console, words: CommandWords) -> None:
    """Say what is in the folder, and how a stopped run goes on."""
    if is_json_logged():
        logger.info("%s is the run's folder", folder.path, extra=fields(run=str(folder.path)))
        return
    others = files_of_learn(folder.path)
    for line in folder.describe(resume=words.resume, others=others):
        console.print(line, highlight=False, soft_wrap=True)
    if outcome == "stopped":
        console.print(
            f"stopped; go on with: {words.resume}{words.export}",
            highlight=False,
            soft_wrap=True,
        )


def _say_finished(
    folder: RunFolder, run: TrainingRun, console: Console, words: CommandWords, *, exports: bool
) -> TrainingResult:
    """Start nothing; write what is missing, if the run was killed after its last checkpoint."""
    if not is_complete(folder):
        write_results(folder, run, "completed", exports=exports)
    summary = run.summary("completed")
    reached = summary.reached
    train_on = f"{words.resume} --set stop_at=null" if reached else words.train_on
    console.print(
        f"{folder.path} is finished: {run.env_steps:,} env steps, "
        f"{reached or 'nothing is left to do'}\nto train on: {train_on}",
        highlight=False,
        soft_wrap=True,
    )
    return TrainingResult.of(folder.path, summary, run.returns, exit_code=0)


def _write_config(folder: RunFolder, config: RunConfig) -> None:
    """Write the configuration, unless the file says the same: a user may have edited it."""
    if not folder.config.is_file() or load_config(folder.config, []) != config:
        folder.write_config(to_yaml(config))


def _run_until_asked(
    run: TrainingRun,
    request: StopRequest,
    folder: RunFolder,
    beside: AbstractAsyncContextManager[None],
    *,
    exports: bool,
) -> Outcome:
    """Train, and do what is to be done `beside`; leave results of what was learned if it fails."""

    async def train() -> Outcome:
        async with beside:
            return await run.run(request.event())

    try:
        return asyncio.run(train())
    except (DiskError, InUseError):
        # There is no room for results, or the folder is another trainer's.
        raise
    except EntrainError as error:
        if run.trainers:
            # The ranks of a run end together, and at once.
            exports = exports and not isinstance(error, RankLostError | RankFailedError)
            write_results(folder, run, "failed", exports=exports)
        raise
