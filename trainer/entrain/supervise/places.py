"""Where everything of a directory of runs is: the folder of runs, and in it the supervisor's own.

DIR/walk.yaml             a run that should exist
DIR/runs/walk/            its folder
DIR/runs/.serve/          state.json, serve.lock, log.txt, page.json, output/walk.txt
"""

from pathlib import Path

from entrain.errors import InUseError
from entrain.run.folder import not_made
from entrain.run.lock import RunLock
from entrain.run.lock_probe import Hold, look_at

RUNS = "runs"


class Places:
    """See the module."""

    def __init__(self, directory: Path, runs_directory: Path | None = None) -> None:
        """For this directory of files; without `runs_directory`, runs are in it."""
        self.directory = directory
        self.runs_directory = directory / RUNS if runs_directory is None else runs_directory
        self._own = self.runs_directory / ".serve"
        self.state = self._own / "state.json"
        self.lock_file = self._own / "serve.lock"
        self.log = self._own / "log.txt"
        self.page = self._own / "page.json"
        """Where the page is, and its tokens: for its owner alone."""
        self.output = self._own / "output"
        """Holds what runs print: NAME.txt."""

    @property
    def is_served(self) -> bool:
        """Whether a supervisor has it now."""
        return look_at(self.lock_file).hold is Hold.HELD

    @property
    def was_served(self) -> bool:
        """Whether a supervisor ever had it."""
        return self.state.is_file()

    def make(self) -> None:
        """Make the folders; ConfigError or DiskError if they cannot be made."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_made(self.runs_directory, error) from error

    def lock(self) -> RunLock:
        """Lock out other supervisors; InUseError if one is there."""
        try:
            return RunLock(self.lock_file)
        except InUseError:
            owner = look_at(self.lock_file).owner or "another process"
            raise InUseError(
                f"{self.directory} is served already, by {owner}: its page is named in "
                f"{self.log}. Stop that one first (SIGTERM: its runs save and stop), or serve "
                "another directory"
            ) from None
