"""The commands train, resume, evaluate and export.

Each function blocks until it is done and returns the exit code; errors are EntrainError.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from entrain.app.build import (
    listened_on,
    load_policies,
    make_evaluation_participants,
    make_front,
    make_launcher,
)
from entrain.app.evaluation import EvaluationRun, Scores
from entrain.app.launcher import Launcher
from entrain.app.process import prepare_process
from entrain.app.signals import StopRequest, stop_on_signals
from entrain.app.training import TrainingRun
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, EntrainError, MissingExtraError, describe
from entrain.policy.actor_critic import ActorCritic
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.export import export_policy
from entrain.run.folder import RunFolder
from entrain.run.live_display import display_for
from entrain.run.log_lines import logging_to
from entrain.run.report import write_report
from entrain.run.summary import Outcome

logger = logging.getLogger(__name__)


def train(config: RunConfig) -> int:
    """Make a run folder, and train until the run is complete or asked to stop."""
    folder = RunFolder.create(config.runs_directory, config.name)
    try:
        return _train(config, folder, restored=None)
    except EntrainError:
        folder.remove_if_nothing_came_of_it()
        raise


def resume(run: Path, overrides: Sequence[str]) -> int:
    """Go on with the run in folder `run` from its newest valid checkpoint."""
    folder = RunFolder.existing(run)
    config = load_config(folder.config, overrides)
    with folder.lock():
        restored = _load_newest(folder, config)
    return _train(config, folder, restored=restored)


def evaluate(run: Path, *, episodes: int, deterministic: bool, overrides: Sequence[str]) -> int:
    """Let the trained policies of folder `run` act in simulators; print returns and lengths."""
    folder = RunFolder.existing(run)
    config = load_config(folder.config, overrides)
    policies = load_policies(config, _load_newest(folder, config))
    prepare_process(threads=config.threads)
    with stop_on_signals() as request:
        scores = asyncio.run(
            _evaluate(
                config, folder, policies, request, episodes=episodes, deterministic=deterministic
            )
        )
    console = Console()
    for behaviour, score in scores.items():
        words = str(score) if len(score.returns) else "no episode ended"
        console.print(f"{behaviour}: {words}", highlight=False, soft_wrap=True)
    return 0


def export(run: Path, output: Path | None) -> int:
    """Write the trained policies of folder `run` as ONNX, to its own folder or to `output`."""
    folder = RunFolder.existing(run)
    # The run may have learned on a device that this machine lacks; exporting needs none.
    config = load_config(folder.config, ["device=cpu"])
    restored = _load_newest(folder, config)
    console = Console()
    for behaviour, policy in load_policies(config, restored).items():
        path = (
            folder.policy(behaviour) if output is None else output / folder.policy(behaviour).name
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _export_policy(policy, path, folder, behaviour, env_steps=restored.step)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror or error}; choose a folder with --output"
            ) from error
        console.print(str(path), highlight=False, soft_wrap=True)
    return 0


def _train(config: RunConfig, folder: RunFolder, *, restored: Loaded | None) -> int:
    prepare_process(threads=config.threads)
    console = Console()
    with (
        stop_on_signals() as request,
        folder.lock(),
        logging_to(folder.log),
        display_for(console) as display,
    ):
        run = TrainingRun(
            config,
            folder,
            display,
            launcher=lambda address: _launcher(config, folder, address, request),
            restored=restored,
        )
        # Only now: a configuration that does not fit the checkpoint must not replace the old one.
        _write_config(folder, config)
        try:
            outcome = asyncio.run(_run_until_asked(run, request))
        except EntrainError:
            if run.trainers:
                _write_results(folder, run, "failed")
            raise
        what = "the report" if outcome == "stopped" else "the report and the policies"
        display.message(f"writing {what}")
        _write_results(folder, run, outcome)
    for line in folder.describe():
        console.print(line, highlight=False, soft_wrap=True)
    if outcome == "stopped":
        console.print(
            f"stopped; go on with: entrain resume {folder.path}\n"
            f"its policies as they are, as ONNX: entrain export {folder.path}",
            highlight=False,
            soft_wrap=True,
        )
    return 0


def _write_config(folder: RunFolder, config: RunConfig) -> None:
    """Write the configuration, unless the file says the same: a user may have edited it."""
    if not folder.config.is_file() or load_config(folder.config, []) != config:
        folder.write_config(to_yaml(config))


async def _run_until_asked(run: TrainingRun, request: StopRequest) -> Outcome:
    return await run.run(request.event())


async def _evaluate(
    config: RunConfig,
    folder: RunFolder,
    policies: Mapping[str, ActorCritic],
    request: StopRequest,
    *,
    episodes: int,
    deterministic: bool,
) -> Mapping[str, Scores]:
    participants = make_evaluation_participants(config, policies)
    front = make_front(participants, run_id=f"{folder.name}-evaluation")
    run = EvaluationRun(
        config, policies, participants, front, episodes=episodes, deterministic=deterministic
    )
    to_dial = await front.start()
    address = listened_on(config, to_dial)
    logger.info("listening on %s", address)
    launcher = _launcher(config, folder, to_dial, request)
    try:
        await launcher.start()
        await run.run(request.event(), launcher, address)
    finally:
        await launcher.stop()
    return run.scores


def _launcher(config: RunConfig, folder: RunFolder, address: str, request: StopRequest) -> Launcher:
    """Makes the launcher, whose simulators are killed if this process has to end at once."""
    launcher = make_launcher(config, folder, address)
    request.before_force = launcher.kill
    return launcher


def _write_results(folder: RunFolder, run: TrainingRun, outcome: Outcome) -> None:
    """Write report and exports. Best effort: failures are logged, never raised."""
    try:
        write_report(folder, run.summary(outcome))
    except Exception as error:
        _log_failure("no report", error)
    if outcome == "stopped":
        # Exporting takes long, a user who stops a run waits for it, and the run will go on.
        return
    for behaviour, policy in run.policies.items():
        steps = run.trainers[behaviour].progress.env_steps
        try:
            _export_policy(policy, folder.policy(behaviour), folder, behaviour, env_steps=steps)
        except Exception as error:
            _log_failure(f"policy '{behaviour}' is not exported", error)


def _log_failure(consequence: str, error: Exception) -> None:
    level = logging.WARNING if isinstance(error, MissingExtraError) else logging.ERROR
    logger.log(level, "%s: %s", consequence, describe(error))
    logger.debug("%s", consequence, exc_info=error)


def _export_policy(
    policy: ActorCritic, path: Path, folder: RunFolder, behaviour: str, *, env_steps: int
) -> None:
    metadata = {"run": folder.name, "behaviour": behaviour, "env_steps": str(env_steps)}
    export_policy(policy, path, metadata=metadata)


def _load_newest(folder: RunFolder, config: RunConfig) -> Loaded:
    loaded = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep).load_newest()
    logger.info("going on from %s", loaded.path)
    return loaded
