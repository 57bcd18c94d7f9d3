"""Asks launched simulators to record what they show, and looks whether they did.

Rendering is the simulator's: it alone knows what its world looks like. Variables tell it what to
write (ENTRAIN_RECORD, a file; ENTRAIN_RECORD_EPISODES; ENTRAIN_RECORD_FPS) and to run no more than
one copy of its environment (ENTRAIN_MAX_COUNT). entrain-env obeys them, and any simulator may.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from entrain.config.launch import LaunchConfig
from entrain.errors import ConfigError

ONE_COPY: Mapping[str, str] = {"ENTRAIN_MAX_COUNT": "1"}
"""Variables of every simulator that is launched to be looked at."""

Stamp = tuple[int, int, int] | None
"""What changes when a file is written again; None if there is none."""


class Recordings:
    """One file for each launched simulator, and whether it was written since this was made."""

    def __init__(
        self, path: Path, launch: Sequence[LaunchConfig], *, episodes: int, speed: float | None
    ) -> None:
        """Decide who writes what.

        Args:
            path: the file; with several simulators, each one's name is added to the file's.
            launch: the simulators, each launched once.
            episodes: that each is to record.
            speed: steps to show in a second; None leaves it to the simulator.

        Raises:
            ConfigError: no simulator is launched that could record, or the folder is missing.
        """
        if not launch:
            raise ConfigError(
                f"--record {path}: this run launches no simulator that could be told to record; "
                "name one (--launch 'entrain-env ...'), or start it yourself with --record FILE"
            )
        path = path.absolute()
        if not path.parent.is_dir():
            raise ConfigError(f"cannot record to {path}: {path.parent} is no folder; make it first")
        self._files = {
            f"{options.name}-0": path
            if len(launch) == 1
            else path.with_stem(f"{path.stem}-{options.name}")
            for options in launch
        }
        self._asked = {"ENTRAIN_RECORD_EPISODES": str(episodes)}
        if speed is not None:
            self._asked["ENTRAIN_RECORD_FPS"] = f"{speed:g}"
        self._before = {file: _stamp(file) for file in self._files.values()}

    def environment_of(self, simulator: str) -> Mapping[str, str]:
        """Returns the variables that tell this simulator what to record."""
        return {"ENTRAIN_RECORD": str(self._files[simulator]), **self._asked}

    def written(self) -> Sequence[Path]:
        """Returns the files that are there now and were not, or not like this, before."""
        return [
            file
            for file in self._files.values()
            if _stamp(file) is not None and _stamp(file) != self._before[file]
        ]

    def require_all(self, logs: Path) -> None:
        """Raise ConfigError if a simulator wrote nothing; `logs` has what simulators printed."""
        missing = [name for name, file in self._files.items() if file not in self.written()]
        if missing:
            name = missing[0]
            raise ConfigError(
                f"{name} wrote no {self._files[name]}: simulators render themselves. entrain-env "
                f"does; its words are in {logs / f'{name}.log'}. Another simulator must write an "
                "animation to the file that the variable ENTRAIN_RECORD names, and end it when "
                "it is told that the run is over"
            )


def _stamp(file: Path) -> Stamp:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
