"""The commands train, resume, evaluate and export.

Each function blocks until it is done and returns the exit code; errors are EntrainError.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from entrain.app.acting import serve_policies
from entrain.app.acting_games import config_to_act
from entrain.app.build import (
    load_policies,
    make_evaluation_participants,
    make_front,
)
from entrain.app.command_words import CommandWords, words_of_entrain
from entrain.app.evaluation import EvaluationRun
from entrain.app.evaluation_options import EvaluationOptions
from entrain.app.evaluation_results import EvaluationResult
from entrain.app.exporting import Form
from entrain.app.folder_keeper import FolderKeeper
from entrain.app.lessons import lessons_to_play
from entrain.app.observing import RunObserver
from entrain.app.process import prepare_process
from entrain.app.rank_lead import Lead, begin_together, follow, launcher_of, leading
from entrain.app.rank_place import place_of_process
from entrain.app.run_hooks import RunHooks
from entrain.app.run_results import (
    exit_code_of,
    is_complete,
    metadata_of,
    require_whole,
    write_results,
)
from entrain.app.showing import all_of, serving, show_on
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.app.starting import config_to_use, newest_if_any
from entrain.app.surroundings import Surroundings, surroundings_of
from entrain.app.training import TrainingRun
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
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.durable import replace_file
from entrain.run.export import export_policy
from entrain.run.folder import RunFolder
from entrain.run.history import History
from entrain.run.json_lines import fields, is_json_logged
from entrain.run.json_policy import export_json
from entrain.run.lock import RunLock
from entrain.run.summary import Outcome
from entrain.unity.models.export import export_model
from entrain.unity.results.listing import files_of_learn

logger = logging.getLogger(__name__)


def train(
    config: RunConfig, *, resume_or_start: bool = False, listening: Sequence[str] = ()
) -> int:
    """Make a run folder, and train until the run is complete or asked to stop.

    Args:
        config: every option.
        resume_or_start: if the folder of that name exists, go on with the run in it.
        listening: PATH=VALUE of where this sitting listens: a run that goes on listens there too.
    """
    place = place_of_process()
    if place is not None and place.rank:
        return follow(place, given=config)
    with leading(place) as lead:
        return _train(config, lead, resume_or_start=resume_or_start, listening=listening)


def _train(
    config: RunConfig, lead: Lead | None, *, resume_or_start: bool, listening: Sequence[str]
) -> int:
    if resume_or_start:
        folder, is_new = RunFolder.named(config.runs_directory, config.name)
    else:
        folder, is_new = RunFolder.create(config.runs_directory, config.name), True
    try:
        with folder.lock() as lock:
            config = config_to_use(folder, config, listening)
            restored = newest_if_any(folder, config)
            return train_in(folder, config, lock, restored=restored, lead=lead)
    except EntrainError:
        if is_new:
            folder.remove_if_nothing_came_of_it()
        raise


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with the run in folder `run` from its newest valid checkpoint."""
    place = place_of_process()
    if place is not None and place.rank:
        return follow(place, given=None)
    with leading(place) as lead:
        folder = RunFolder.existing(run)
        config = load_config(folder.config, overrides)
        with folder.lock() as lock:
            restored = _load_newest(folder, config, purpose="going on from")
            return train_in(folder, config, lock, restored=restored, lead=lead)


def evaluate(
    run: Path,
    overrides: Sequence[str],
    options: EvaluationOptions,
    *,
    table: Path | None = None,
    as_json: bool = False,
    address: str | None = None,
) -> int:
    """Let the trained policies of folder `run` act in simulators, and print what they came to.

    Args:
        run: its folder.
        overrides: of its configuration.
        options: how to act, and when to end.
        table: file for a row of each episode; None takes the one in the run's folder.
        as_json: print for programs, not for people.
        address: where to listen; None: where the run does, and at free ports for games that it
            launches.
    """
    folder = RunFolder.existing(run)
    if table is not None and not table.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {table}: {table.parent} is no folder; make it first")
    config = config_to_act(folder.config, overrides, address=address)
    folder.keep_logs_of_evaluation()
    restored = _load_newest(folder, config, purpose="evaluating")
    policies = load_policies(config, restored)
    prepare_process(threads=config.threads)
    lessons = lessons_to_play(config, restored, options.lessons)
    participants = make_evaluation_participants(config, policies, lessons)
    with stop_on_signals("ending the evaluation") as request:
        front = make_front(config, participants, run_id=f"{folder.name}-evaluation")
        evaluation = EvaluationRun(config, policies, participants, front, options)
        try:
            asyncio.run(serve_policies(config, folder, evaluation, front, request))
        finally:
            # Also if it fails, unless it did so before anything was earned.
            if evaluation.has_begun or sys.exception() is None:
                about = {"run": str(run), "trained_steps": restored.step, **asdict(options)}
                _print_result(evaluation.result, about if as_json else None)
                path = folder.evaluation_episodes if table is None else table
                _write_table(evaluation.result, path)
    return 0


def _print_result(result: EvaluationResult, about: Mapping[str, object] | None) -> None:
    """Print to stdout: as JSON, if `about` says what is to stand before the results."""
    console = Console()
    if about is not None:
        text = json.dumps({**about, **result.for_programs()}, allow_nan=False)
        console.out(text, highlight=False)
        return
    for line in result.lines():
        console.out(line, highlight=False)


def _write_table(result: EvaluationResult, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        replace_file(path, result.table())
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error.strerror or error)
    else:
        logger.info("a row for each episode: %s", path)


def export(run: Path, output: Path | None, *, form: Form = "onnx") -> int:
    """Write the trained policies of folder `run`, to its own folder or to `output`.

    Args:
        run: its folder.
        output: another folder to write to.
        form: unity is ONNX as games built with ML-Agents load it.
    """
    folder = RunFolder.existing(run)
    # The run may have learned on a device that this machine lacks; exporting needs none.
    config = load_config(folder.config, ["device=cpu"])
    restored = _load_newest(folder, config, purpose="exporting")
    console = Console()
    for behaviour, policy in load_policies(config, restored).items():
        path = folder.model(behaviour) if form == "unity" else folder.policy(behaviour)
        if form == "json":
            path = path.with_name(f"{folder.stem(behaviour)}.json")
        if output is not None:
            path = output / path.name
        write = {"onnx": export_policy, "unity": export_model, "json": export_json}[form]
        metadata = metadata_of(folder, behaviour, env_steps=restored.step)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(policy, path, metadata=metadata)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror or error}; choose a folder with --output"
            ) from error
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


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
) -> int:
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

    Returns:
        The exit code.
    """
    prepare_process(threads=config.threads)
    num_ranks = 1 if lead is None else lead.meeting.place.size
    words = words or words_of_entrain(folder.path, num_ranks=num_ranks)
    with surroundings_of(config, folder) as around:
        part = begin_together(lead, config, folder, restored)
        run = TrainingRun(
            part.config,
            folder,
            around.display,
            launcher=lambda address: launcher_of(part, folder, address, around.request),
            restored=part.restored,
            hooks=RunHooks(
                keeper=FolderKeeper(folder, lock, config=to_yaml(config)),
                observer=all_of(observer, around.progress, around.page),
                another_policy=words.another_policy,
            ),
            together=part.together,
        )
        if run.is_finished:
            return _say_finished(folder, run, around.console, words, exports=exports)
        outcome = _train_one_sitting(run, config, folder, around, exports=exports)
    require_whole(folder)
    _describe(folder, outcome, around.console, words)
    return exit_code_of(outcome, config)


def _train_one_sitting(
    run: TrainingRun, config: RunConfig, folder: RunFolder, around: Surroundings, *, exports: bool
) -> Outcome:
    """Train until the run ends or is asked to; then write the results, and tell of the end."""
    show_on(around.page, run, around.request, around.console)
    # Only now: a configuration that does not fit the checkpoint must not replace the old one.
    _write_config(folder, config)
    history = History(folder.history)
    with history.sitting(lambda: run.env_steps):
        beside = serving(around.page)
        outcome = _run_until_asked(run, around.request, folder, beside, exports=exports)
    # A user who stops a run waits for it, and the run will go on.
    exports = exports and outcome != "stopped"
    around.display.message(f"writing the report{' and the policies' if exports else ''}")
    write_results(folder, run, outcome, exports=exports)
    code = exit_code_of(outcome, config)
    history.note("ended", outcome=outcome, exit_code=code, env_steps=run.env_steps)
    around.notices.end(outcome, run.summary(outcome), exit_code=code)
    return outcome


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
) -> int:
    """Start nothing; write what is missing, if the run was killed after its last checkpoint."""
    if not is_complete(folder):
        write_results(folder, run, "completed", exports=exports)
    console.print(
        f"{folder.path} is finished: {run.env_steps:,} env steps, nothing is left to do\n"
        f"to train on: {words.train_on}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


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


def _load_newest(folder: RunFolder, config: RunConfig, *, purpose: str) -> Loaded:
    loaded = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep).load_newest()
    logger.info("%s %s", purpose, loaded.path)
    return loaded
