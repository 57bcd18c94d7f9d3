"""Keeps the run folder whole, and this trainer's, while a run goes on.

People delete run folders, or their configuration, by mistake; a run that trains on without them
could never be resumed.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, DiskError
from entrain.run.disk import refused
from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock

logger = logging.getLogger(__name__)


class Keeper(Protocol):
    """Looks after the folder of a run."""

    def look(self, newest: Path | None) -> bool:
        """Write again what was deleted; returns whether a checkpoint must be, too.

        Args:
            newest: the checkpoint that was written last by this process.

        Raises:
            InUseError: another trainer has taken the folder over.
            DiskError: something was deleted and cannot be written again.
        """
        ...

    def check(self) -> None:
        """Raise InUseError if another trainer has taken the folder over."""
        ...


class ConfigKeeper(Keeper, Protocol):
    """Looks after the configuration, too."""

    def configure(self, config: RunConfig, settings: Sequence[str]) -> None:
        """The run goes on with `config`, in which `settings` are new: write it down.

        DiskError or ConfigError if it cannot be written.
        """
        ...


class Unkept:
    """Leaves the folder as it is."""

    def look(self, newest: Path | None) -> bool:  # noqa: ARG002 - see Keeper
        """Nothing is missed."""
        return False

    def check(self) -> None:
        """Nothing is known of others."""

    def configure(self, config: RunConfig, settings: Sequence[str]) -> None:
        """It is written nowhere."""


class FolderKeeper:
    """See `Keeper`. Owned by the event loop, except for `check`, which any thread may call."""

    def __init__(self, folder: RunFolder, lock: RunLock, *, config: str) -> None:
        """Look after `folder`, which `lock` is of.

        Args:
            folder: of the run.
            lock: held.
            config: the configuration of the run, as YAML.
        """
        self._folder = folder
        self._lock = lock
        self._config = config

    def __repr__(self) -> str:
        return f"<FolderKeeper of {self._folder.path}>"

    def check(self) -> None:
        """See `Keeper.check`."""
        self._lock.check()

    def configure(self, config: RunConfig, settings: Sequence[str]) -> None:
        """See `ConfigKeeper.configure`. What a user has edited in the file meanwhile stays."""
        self._config = to_yaml(config)
        try:
            text = to_yaml(load_config(self._folder.config, settings))
        except ConfigError:
            text = self._config
        self._folder.write_config(text)

    def look(self, newest: Path | None) -> bool:
        """See `Keeper.look`."""
        self._lock.check(reads=False)
        missing = self._missing(newest)
        if not missing:
            return False
        logger.error(
            "%s: deleted or moved away while the run goes on; it is written again, with the "
            "configuration and a new checkpoint. What else was in it is lost",
            missing,
        )
        try:
            self._folder.make_parts()
            if not self._lock.is_in_place:
                self._lock.restore()
            if not self._folder.config.is_file():
                self._folder.write_config(self._config)
        except OSError as error:
            raise refused(error, self._folder.path, "the run folder") from error
        except ConfigError as error:
            raise DiskError(str(error)) from error
        return True

    def _missing(self, newest: Path | None) -> str:
        """Returns the outermost part that is missing; "" if none is."""
        folder = self._folder
        if not folder.path.is_dir():
            return str(folder.path)
        for part, is_there in (
            (folder.config, folder.config.is_file()),
            (folder.checkpoints, folder.checkpoints.is_dir()),
            (newest, newest is None or newest.is_dir()),
            (folder.lock_file, self._lock.is_in_place),
        ):
            if not is_there:
                return str(part)
        return ""
