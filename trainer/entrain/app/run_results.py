"""Writes the results of a run that has ended: the report, and its policies as ONNX."""

import logging

from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, DiskError, MissingExtraError, describe
from entrain.run.export import export_policy
from entrain.run.folder import RunFolder
from entrain.run.report import write_report
from entrain.run.summary import Outcome, RunSummary

logger = logging.getLogger(__name__)


def write_results(folder: RunFolder, run: TrainingRun, outcome: Outcome, *, exports: bool) -> None:
    """Write report and exports. Best effort: failures are logged, never raised."""
    try:
        write_report(folder, run.summary(outcome))
    except Exception as error:
        _log_failure("no report", error)
    for behaviour, policy in run.policies.items() if exports else ():
        metadata = metadata_of(
            folder, behaviour, env_steps=run.trainers[behaviour].progress.env_steps
        )
        try:
            export_policy(policy, folder.policy(behaviour), metadata=metadata)
        except Exception as error:
            _log_failure(f"policy '{behaviour}' is not exported", error)


def _log_failure(consequence: str, error: Exception) -> None:
    level = logging.WARNING if isinstance(error, MissingExtraError) else logging.ERROR
    logger.log(level, "%s: %s", consequence, describe(error))
    logger.debug("%s", consequence, exc_info=error)


def metadata_of(folder: RunFolder, behaviour: str, *, env_steps: int) -> dict[str, str]:
    """Returns what an exported policy says of where it comes from."""
    return {"run": folder.name, "behaviour": behaviour, "env_steps": str(env_steps)}


def exit_code_of(outcome: Outcome, config: RunConfig) -> int:
    """Returns what the process of a run that ended like this ends with."""
    return config.stopped_exit_code if outcome == "stopped" else 0


def is_complete(folder: RunFolder) -> bool:
    """Whether the folder has the results of a run that was completed."""
    try:
        return RunSummary.load(folder.summary).outcome == "completed"
    except ConfigError:
        return False


def require_whole(folder: RunFolder) -> None:
    """DiskError if the folder was deleted as the run ended: then nothing of it can be resumed."""
    has_checkpoint = folder.checkpoints.is_dir() and any(folder.checkpoints.iterdir())
    if not (folder.config.is_file() and has_checkpoint):
        raise DiskError(
            f"{folder.path} was deleted, at least in part, as the run ended: it has no "
            "configuration or no checkpoint, and cannot be resumed"
        )
