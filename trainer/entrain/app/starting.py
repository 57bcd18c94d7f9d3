"""Finds the configuration and checkpoint with which `entrain train --resume-or-start` begins.

The same command may be repeated after any failure. The configuration in the run's folder counts; a
file that describes another run is refused.
"""

import logging
from collections.abc import Sequence

from entrain.config.differences import Difference, differences
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder

logger = logging.getLogger(__name__)


def config_to_use(folder: RunFolder, given: RunConfig) -> RunConfig:
    """Returns the configuration of the run in `folder`; `given`, if the folder has none yet.

    Raises:
        ConfigError: `given` is of another run, with every difference that says so.
    """
    if not folder.config.is_file():
        return given
    kept = load_config(folder.config, [])
    found = differences(given, kept)
    refused = [each for each in found if each.is_of_another_run]
    if refused:
        raise ConfigError(
            f"{folder.config} is of another run than what was given: {_listed(refused)}. Give the "
            "run another name, or go on with what is there: "
            f"entrain resume {folder.path}"
        )
    if found:
        logger.warning(
            "what was given differs from %s, which counts: %s. To change it: entrain resume %s "
            "--set PATH=VALUE",
            folder.config,
            _listed(found),
            folder.path,
        )
    return kept


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


def _listed(found: Sequence[Difference]) -> str:
    return "; ".join(str(each) for each in found)
