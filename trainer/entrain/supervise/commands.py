"""Reads each file of a directory, and makes the command that it asks for: `entrain train FILE`.

The run is named after its file. Where it listens and where its folder is, the supervisor decides,
whatever the file says of that.
"""

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entrain.app.starting import compare
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.native.address import WILDCARDS, TcpAddress, check_exposure
from entrain.run.folder import RunFolder
from entrain.supervise.files import SettingsFile

ENTRAIN = (sys.executable, "-m", "entrain")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The configuration in one file, or what is wrong with it."""

    config: RunConfig | None
    """None if something is wrong with it."""

    problem: str = ""
    """In the words of `entrain train`."""

    note: str = ""
    """How it differs from the run that is there, in those of --resume-or-start."""


class Commands:
    """See the module. Any thread may ask."""

    def __init__(
        self,
        runs_directory: Path,
        *,
        host: str,
        page_host: str | None,
        settings: Sequence[str] = (),
        environment: Sequence[str] = (),
        program: Sequence[str] = ENTRAIN,
    ) -> None:
        """For runs in this folder.

        Args:
            runs_directory: where run folders are made.
            host: that simulators dial.
            page_host: where the pages of the runs listen; None: as their files say.
            settings: PATH=VALUE for all runs, which count more than their files.
            environment: the same as the environment has it, which runs inherit.
            program: that is `entrain`.
        """
        self.runs_directory = runs_directory
        self.host = host
        self._page_host = page_host
        self._settings = tuple(settings)
        self._environment = tuple(environment)
        self._program = tuple(program)

    def folder(self, name: str) -> RunFolder:
        """Of the run of that name."""
        return RunFolder(self.runs_directory / name)

    def address(self, port: int) -> str:
        """Where a run listens with this port."""
        return str(TcpAddress(self.host, port))

    def to_dial(self, port: int) -> str:
        """The address that simulators dial: of this machine by its name, if all of it listens.

        "" for port 0, of which only the run itself knows what it became.
        """
        if port == 0:
            return ""
        host = socket.gethostname() if self.host in WILDCARDS else self.host
        return str(TcpAddress(host, port))

    def read(self, file: SettingsFile) -> Reading:
        """Returns what the file says; never raises."""
        try:
            if file.path.is_dir() or file.is_regular or not file.path.exists():
                config = self._load(file)
                check_exposure(TcpAddress(self.host, 0), config.server)
            else:
                return Reading(config=None, problem=f"{file.path} is a pipe or device, no file")
        except ConfigError as error:
            return Reading(config=None, problem=str(error))
        return self._compared(file, config)

    def _load(self, file: SettingsFile) -> RunConfig:
        overrides = self._overrides(file.name, port=0)
        config = load_config(file.path, overrides)
        if config.server.websocket is None or self._page_host is None:
            return config
        return load_config(file.path, [*overrides, *self._listening(port=0, has_websocket=True)])

    def _compared(self, file: SettingsFile, config: RunConfig) -> Reading:
        folder = self.folder(file.name)
        try:
            if not folder.config.is_file():
                return Reading(config=config)
            has_websocket = config.server.websocket is not None
            listening = self._listening(port=0, has_websocket=has_websocket)
            comparison = compare(folder, config, listening)
        except ConfigError as error:
            return Reading(config=config, note=str(error))
        return Reading(config=config, note=comparison.refusal or comparison.warning)

    def read_all(self, files: Sequence[SettingsFile]) -> Sequence[Reading]:
        """Returns what each of them says."""
        return [self.read(file) for file in files]

    @property
    def page_host(self) -> str | None:
        """Where the pages of the runs listen; None: as their files say."""
        return self._page_host

    def train(
        self, file: SettingsFile, port: int, page_port: int = 0, *, has_websocket: bool = False
    ) -> Sequence[str]:
        """The command that starts a run, or goes on with it; page port 0 is any free one.

        Simulators that speak WebSocket, if its file wants any, share the port of its page.
        """
        listening = ["--address", self.address(port)]
        if self._page_host is not None:
            page = str(TcpAddress(self._page_host, page_port))
            listening += ["--http", page, *(["--websocket", page] if has_websocket else [])]
        return [
            *self._program,
            "train",
            str(file.path),
            "--resume-or-start",
            *("--name", file.name, "--runs-directory", str(self.runs_directory)),
            *listening,
            *(word for setting in self._settings for word in ("--set", setting)),
        ]

    def _overrides(self, name: str, *, port: int) -> list[str]:
        where = {"name": name, "runs_directory": str(self.runs_directory)}
        return [*self._environment, *self._settings, *_set(where), *self._listening(port=port)]

    def _listening(self, *, port: int, has_websocket: bool = False) -> list[str]:
        where = {"server.address": self.address(port)}
        if self._page_host is not None:
            where["http.address"] = str(TcpAddress(self._page_host, 0))
            if has_websocket:
                where["server.websocket"] = where["http.address"]
        return _set(where)


def _set(values: dict[str, str]) -> list[str]:
    return [f"{path}={json.dumps(it)}" for path, it in values.items()]
