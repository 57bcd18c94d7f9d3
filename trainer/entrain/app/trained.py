"""Evaluates the policies of a trained run, plays them, or exports them.

The commands of the terminal and the functions of Python both do it by these.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from entrain.app.acting import serve_policies
from entrain.app.acting_games import config_to_act
from entrain.app.build import load_policies, make_evaluation_participants, make_front
from entrain.app.evaluation import EvaluationRun
from entrain.app.evaluation_options import EvaluationOptions, Which
from entrain.app.evaluation_results import EvaluationResult
from entrain.app.exporting import Form
from entrain.app.given import NOTHING, Given
from entrain.app.lessons import lessons_to_play
from entrain.app.process import prepared_process
from entrain.app.run_results import metadata_of
from entrain.app.signals import stop_on_signals
from entrain.app.starting import load_chosen
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain.run.durable import replace_file
from entrain.run.export import export_policy
from entrain.run.folder import RunFolder
from entrain.run.json_policy import export_json
from entrain.unity.models.export import export_model

logger = logging.getLogger(__name__)


def evaluated(
    run: Path,
    overrides: Sequence[str],
    options: EvaluationOptions,
    *,
    table: Path | None = None,
    address: str | None = None,
    given: Given = NOTHING,
    tell: Callable[[EvaluationResult, int], None] = lambda *_: None,
) -> EvaluationResult:
    """Let the trained policies of folder `run` act in simulators.

    Args:
        run: its folder.
        overrides: of its configuration.
        options: how to act, and when to end.
        table: file for a row of each episode; None takes the one in the run's folder.
        address: where to listen; None: where the run does, and at free ports for games that it
            launches.
        given: by a Python program.
        tell: called with the results and the env steps of training, also if an error ends it.
    """
    folder = RunFolder.existing(run)
    if table is not None and not table.absolute().parent.is_dir():
        raise ConfigError(f"cannot write {table}: {table.parent} is no folder; make it first")
    config = config_to_act(folder.config, overrides, address=address)
    folder.keep_logs_of_evaluation()
    restored = load_chosen(folder, config, options.checkpoint, purpose="evaluating")
    policies = load_policies(config, restored)
    lessons = lessons_to_play(config, restored, options.lessons)
    participants = make_evaluation_participants(config, policies, lessons)
    stopping = (
        stop_on_signals("ending the evaluation")
        if given.request is None
        else nullcontext(given.request)
    )
    with prepared_process(threads=config.threads), stopping as request:
        front = make_front(config, participants, run_id=f"{folder.name}-evaluation")
        evaluation = EvaluationRun(config, policies, participants, front, options)
        try:
            served = serve_policies(
                config, folder, evaluation, front, request, environments=given.environments
            )
            asyncio.run(served)
        finally:
            # Also if it fails, unless it did so before anything was earned.
            if evaluation.has_begun or sys.exception() is None:
                tell(evaluation.result, restored.step)
                path = folder.evaluation_episodes if table is None else table
                _write_table(evaluation.result, path)
    return evaluation.result


def _write_table(result: EvaluationResult, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        replace_file(path, result.table())
    except OSError as error:
        logger.warning("%s cannot be written: %s", path, error.strerror or error)
    else:
        logger.info("a row for each episode: %s", path)


def exported(
    run: Path,
    output: Path | None = None,
    *,
    form: Form = "onnx",
    checkpoint: Which = "newest",
) -> Iterator[tuple[str, Path]]:
    """Write the trained policies of folder `run`; yields each behaviour and its file, once written.

    Args:
        run: its folder.
        output: another folder to write to than the run's own.
        form: unity is ONNX as games built with ML-Agents load it.
        checkpoint: whose weights are written.
    """
    folder = RunFolder.existing(run)
    # The run may have learned on a device that this machine lacks; exporting needs none.
    config = load_config(folder.config, ["device=cpu"])
    restored = load_chosen(folder, config, checkpoint, purpose="exporting")
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
        yield behaviour, path
