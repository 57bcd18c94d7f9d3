"""Finds the configuration and checkpoint with which `entrain train --resume-or-start` begins.

The same command may be repeated after any failure. The configuration in the run's folder counts; a
file that describes another run is refused.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from entrain.app.evaluation_options import Which
from entrain.config.differences import Difference, differences
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import CheckpointError, ConfigError
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A given configuration compared with that of a run's folder."""

    kept: RunConfig
    """Of the folder: what counts."""

    refusal: str
    """Why the one cannot go on as the other; "" if it can."""

    warning: str
    """What differs and does not count; "" if nothing does."""


def compare(folder: RunFolder, given: RunConfig, listening: Sequence[str] = ()) -> Comparison:
    """Returns how `given` differs from the run in `folder`, which has a configuration.

    Args:
        folder: of the run.
        given: that is to go on as this run.
        listening: PATH=VALUE of where this sitting listens, which counts whatever the folder has.

    Raises:
        ConfigError: that of the folder cannot be read.
    """
    kept = load_config(folder.config, listening)
    found = differences(given, kept)
    refused = [each for each in found if each.is_of_another_run]
    refusal = warning = ""
    if refused:
        refusal = (
            f"{folder.config} is of another run than what was given: {_listed(refused)}. Give the "
            "run another name, or go on with what is there: "
            f"entrain resume {folder.path}"
        )
    elif found:
        warning = (
            f"what was given differs from {folder.config}, which counts: {_listed(found)}. To "
            f"change it: entrain resume {folder.path} --set PATH=VALUE"
        )
    return Comparison(kept=kept, refusal=refusal, warning=warning)


def config_to_use(folder: RunFolder, given: RunConfig, listening: Sequence[str] = ()) -> RunConfig:
    """Returns the configuration of the run in `folder`; `given`, if the folder has none yet.

    See `compare` for what they are.

    Raises:
        ConfigError: `given` is of another run, with every difference that says so.
    """
    if not folder.config.is_file():
        return given
    comparison = compare(folder, given, listening)
    if comparison.refusal:
        raise ConfigError(comparison.refusal)
    if comparison.warning:
        logger.warning("%s", comparison.warning)
    return comparison.kept


def newest_if_any(folder: RunFolder, config: RunConfig) -> Loaded | None:
    """Returns the newest valid checkpoint; None if none was ever written.

    Raises:
        CheckpointError: there are some, and none can be used: nothing is begun anew over them.
    """
    store = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep)
    if store.paths:
        loaded = store.load_newest()
        logger.info("going on from %s", loaded.path)
        return loaded
    if folder.config.is_file():
        logger.info("%s has no checkpoint yet: the run starts from its beginning", folder.path)
    return None


def load_chosen(
    folder: RunFolder, config: RunConfig, which: Which | str, *, purpose: str
) -> Loaded:
    """Returns the checkpoint of a run whose weights are to act, and logs which it is.

    Args:
        folder: of the run.
        config: of the run.
        which: the newest, the best, or the one of a name.
        purpose: what it is for, for the log.

    Raises:
        CheckpointError: there is none, or none is whole.
    """
    if which == "newest":
        return load_newest(folder, config, purpose=purpose)
    if which != "best":
        loaded = CheckpointStore(folder.checkpoints, keep=1).load(which)
        logger.info("%s %s", purpose, loaded.path)
        return loaded
    store = CheckpointStore(folder.best, keep=1)
    if not store.paths:
        raise CheckpointError(
            f"{folder.path} has no best checkpoint, because no evaluation was made while it "
            "trained (the option evaluation says when); --checkpoint newest is the last one"
        )
    loaded = store.load_newest()
    logger.info("%s %s", purpose, loaded.path)
    return loaded


def load_newest(folder: RunFolder, config: RunConfig, *, purpose: str) -> Loaded:
    """Returns the newest valid checkpoint, and logs what it is for; CheckpointError if none is."""
    loaded = CheckpointStore(folder.checkpoints, keep=config.checkpoints.keep).load_newest()
    logger.info("%s %s", purpose, loaded.path)
    return loaded


def _listed(found: Sequence[Difference]) -> str:
    return "; ".join(str(each) for each in found)
