"""The settings of each run of a trial, as files that say which runs should exist now."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from entrain.config.load import validated
from entrain.config.run import RunConfig
from entrain.config.source import Origin, Source
from entrain.config.yaml_text import write_yaml
from entrain.run.durable import replace_file
from entrain.supervise.files import SettingsFile, settings_file

_OF_A_TRIAL = Origin("a trial", (1, 0), "")


class TrialFiles:
    """The files of those runs that should live, out of all in a folder. Owned by the event loop."""

    def __init__(self, path: Path) -> None:
        """In this folder; none should live yet."""
        self._path = path
        self._wanted: set[str] = set()

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self._path

    def want(self, names: Iterable[str]) -> None:
        """These runs should live."""
        self._wanted.update(names)

    def drop(self, names: Iterable[str]) -> None:
        """These should live no more; their files stay."""
        self._wanted.difference_update(names)

    def look(self) -> Mapping[str, SettingsFile]:
        """Returns {name of the run: its file} of those that should live."""
        return {name: settings_file(self._path / f"{name}.yaml") for name in sorted(self._wanted)}


def write_settings(settings: Source, path: Path, *, seed: int) -> RunConfig:
    """Write the settings of one run; ConfigError if the values that a trial chose do not agree.

    Args:
        settings: with the values that the trial chose; they are left as they are.
        path: of the file.
        seed: of the run.
    """
    config = validated(settings)
    values = {**settings.values, "seed": seed}
    # Several runs live side by side, so each takes whatever ports are free.
    if config.server.websocket is not None:
        values["server"] = {**values["server"], "websocket": "localhost:0"}
    if config.unity is not None:
        values["unity"] = {**(values["unity"] or {}), "port": 0}
    replace_file(path, write_yaml(values))
    return validated(Source(values, _OF_A_TRIAL))
