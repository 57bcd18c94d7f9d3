"""Reads the progress of an mlagents-learn run from its results folder, as native options."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from entrain.config.environment_parameters import CurriculumConfig, curricula
from entrain.config.run import RunConfig
from entrain.quoting import shortened

logger = logging.getLogger(__name__)

CHECKPOINT: Final = "checkpoint.pt"
"""In the folder of each behaviour."""

STATUS: Final = Path("run_logs", "training_status.json")
"""Holds, beside what scripts read, the lesson of each environment parameter."""

LARGEST_STATUS: Final = 2**24
"""Bytes; it has a line for each checkpoint."""


def is_stock_run(path: Path) -> bool:
    """Whether a run of mlagents-learn has left a checkpoint in the folder."""
    return path.is_dir() and any(path.glob(f"*/{CHECKPOINT}"))


def is_of_entrain(path: Path) -> bool:
    """Whether entrain wrote the checkpoints in the folder, in the form of mlagents-learn."""
    about = _status(path / STATUS).get("metadata")
    return isinstance(about, dict) and "entrain_version" in about


def with_stock_progress(config: RunConfig, path: Path) -> RunConfig:
    """The options with which every policy and curriculum continues the run in `path`.

    Policies without a checkpoint there begin as usual.
    """
    policies = {
        name: options.model_copy(update={"initial_weights": path, "initial_progress": True})
        if name == "*" or (path / name / CHECKPOINT).is_file()
        else options
        for name, options in config.policies.items()
    }
    for name in config.named_behaviours:
        if not policies[name].initial_progress:
            logger.warning("%s has no %s/%s: that policy begins anew", path, name, CHECKPOINT)
    parameters = {**config.environment_parameters, **_gone_on(config, _reached(path / STATUS))}
    return config.model_copy(update={"policies": policies, "environment_parameters": parameters})


def _gone_on(config: RunConfig, reached: Mapping[str, int]) -> Mapping[str, CurriculumConfig]:
    """Curricula with as many lessons completed as were reached, as far as there are so many."""
    there = curricula(config.environment_parameters)
    found = {
        name: it.model_copy(update={"completed": min(reached[name], len(it.lessons) - 1)})
        for name, it in there.items()
        if name in reached
    }
    for name, it in found.items():
        lesson = it.lessons[it.completed].name
        logger.info("environment parameter '%s' goes on in lesson '%s'", name, lesson)
    return found


def _reached(path: Path) -> Mapping[str, int]:
    """{environment parameter: number of its lesson, from 0}, as far as the file says so."""
    status = _status(path)
    numbers = {name: it.get("lesson_num") for name, it in status.items() if isinstance(it, dict)}
    return {name: it for name, it in numbers.items() if type(it) is int and it >= 0}


def _status(path: Path) -> Mapping[str, Any]:
    """The content of the status file; empty if it is missing or unreadable."""
    if not path.is_file():
        return {}
    try:
        if path.stat().st_size > LARGEST_STATUS:
            raise ValueError(f"it has more than {LARGEST_STATUS:,} bytes")
        status: Any = json.loads(path.read_bytes())
        if not isinstance(status, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = shortened(str(error), 100)
        logger.warning("%s cannot be read: %s; lessons begin with the first", path, reason)
        return {}
    return status
