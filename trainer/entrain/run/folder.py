"""The folder of one run: the path of every file in it."""

import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from entrain.errors import ConfigError, DiskError, EntrainError
from entrain.run.disk import refused, remedy
from entrain.run.durable import replace_file
from entrain.run.lock import RunLock
from entrain.run.names import BehaviourNames

NOTHING: Final[Mapping[Path, str]] = MappingProxyType({})


class RunFolder:
    """RUNS_DIRECTORY/NAME, which holds all files of a run. Every file name is decided here."""

    def __init__(self, path: Path) -> None:
        """Use a folder that exists; `create` makes a new one, `existing` checks an old one."""
        self.path = path
        self.config = path / "config.yaml"
        self.summary = path / "summary.json"
        self.metrics = path / "metrics.csv"
        self.episodes = path / "episodes.csv"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best"
        """The checkpoint with the weights of the best evaluation."""
        self.policies = path / "policies"
        self.plots = path / "plots"
        self.report = path / "report.html"
        self.log = path / "log.txt"
        self.history = path / "history.jsonl"
        """What was asked of the run from outside, and when it began and ended."""
        self.lock_file = path / "run.lock"
        self.page = path / "page.json"
        """Where the page of the run is, and its tokens: for its owner alone."""
        self.evaluation_episodes = path / "evaluation" / "episodes.csv"
        """A row for each episode of the last evaluation."""
        self.recordings = path / "recordings"
        """Animations of the agents, which the report shows."""
        self.simulators = path / "simulators"
        """Holds the output of launched simulators: NAME.log. See `keep_logs_in`."""
        self.observers = path / "observers"
        """What observers keep, to find it again when the run is resumed."""
        self._behaviours = BehaviourNames(path / "behaviours.json")

    def __repr__(self) -> str:
        return f"<RunFolder {self.path}>"

    @classmethod
    def create(cls, runs_directory: Path, name: str) -> Self:
        """Make RUNS_DIRECTORY/NAME, or NAME-2, NAME-3 and so on if it is there already."""
        try:
            runs_directory.mkdir(parents=True, exist_ok=True)
            folder = cls(_make_numbered(runs_directory, name))
            folder.make_parts()
        except OSError as error:
            raise not_made(runs_directory, error) from error
        return folder

    @classmethod
    def named(cls, runs_directory: Path, name: str) -> tuple[Self, bool]:
        """Returns RUNS_DIRECTORY/NAME, made if it was not there, and whether it was made here."""
        path = runs_directory / name
        try:
            runs_directory.mkdir(parents=True, exist_ok=True)
            is_new = not path.is_dir()
            if is_new:
                path.mkdir(exist_ok=True)
            folder = cls(path)
            folder.make_parts()
        except OSError as error:
            raise not_made(runs_directory, error) from error
        return folder, is_new

    @classmethod
    def existing(cls, path: Path) -> Self:
        """Returns the folder of an earlier run; ConfigError if `path` is no run folder."""
        folder = cls(path) if path.is_dir() else None
        if folder is None or not folder.config.is_file():
            what = "has no config.yaml, so it is no run folder" if folder else "is no folder"
            raise ConfigError(f"{path} {what}{_suggestion(path)}")
        return folder

    @property
    def name(self) -> str:
        """The name of the folder, without its parents."""
        return self.path.resolve().name

    def keep_logs_in(self, name: str) -> None:
        """Let the output of launched simulators go to the folder NAME in this one."""
        self.simulators = self.path / name

    def keep_logs_of_evaluation(self) -> None:
        """Let it go where evaluations write: the run itself may still be training."""
        self.simulators = self.evaluation_episodes.parent / "simulators"

    def make_parts(self) -> None:
        """Make what is missing of this folder and those in it."""
        for part in (self.checkpoints, self.policies, self.tensorboard):
            part.mkdir(parents=True, exist_ok=True)
        self._behaviours.store_again()

    def clear(self) -> None:
        """Remove what an earlier run left, and nothing that no run makes. Call with the lock."""
        files = (self.summary, self.metrics, self.report, self.log, self.history)
        parts = (*files, self.plots, self.recordings)
        kept = (self.checkpoints, self.policies, self.tensorboard)
        folders = (*kept, self.simulators, self.observers)
        try:
            # First: without it, what is left of a removal that failed is no run.
            self.config.unlink(missing_ok=True)
            for part in (*parts, *folders, self.evaluation_episodes.parent):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink(missing_ok=True)
            for table in self.path.glob(f"{self.episodes.stem}*{self.episodes.suffix}"):
                table.unlink()
            self.make_parts()
        except OSError as error:
            raise refused(error, self.path) from error

    def remove_if_nothing_came_of_it(self) -> None:
        """Remove the folder if the run failed before its first update and checkpoint.

        Call without the lock, and only in the process that made the folder. If launched simulators
        printed something, the folder stays: it may say why the run failed.
        """
        if self.metrics.exists() or any(self.checkpoints.glob("*")):
            return
        if any(log.stat().st_size for log in self.simulators.glob("*")):
            return
        shutil.rmtree(self.path, ignore_errors=True)

    def lock(self) -> RunLock:
        """Lock the folder against other trainers; InUseError if another one has the lock."""
        return RunLock(self.lock_file)

    def write_config(self, text: str) -> None:
        """Write the resolved configuration, as YAML."""
        try:
            replace_file(self.config, text)
        except IsADirectoryError as error:
            raise ConfigError(f"{self.config} cannot be written: {error.strerror}") from error
        except OSError as error:
            raise refused(error, self.config) from error

    def policy(self, behaviour: str) -> Path:
        """Returns the path of the exported policy of `behaviour`."""
        return self.policies / f"{self.stem(behaviour)}.onnx"

    def model(self, behaviour: str) -> Path:
        """Returns the path of the policy of `behaviour` in the form that games load."""
        return self.path / "unity" / f"{self.stem(behaviour)}.onnx"

    def plot(self, behaviour: str, plot: str) -> Path:
        """Returns the path of the picture called `plot` of `behaviour`."""
        return self.plots / f"{self.stem(behaviour)}-{plot}.png"

    def events(self, behaviour: str) -> Path:
        """Returns the folder of `behaviour`'s TensorBoard events."""
        return self.tensorboard / self.stem(behaviour)

    def stem(self, behaviour: str) -> str:
        """Returns how all file names of `behaviour` begin; every file system accepts it."""
        return self._behaviours.stem(behaviour)

    def describe(
        self, *, resume: str = "", others: Mapping[Path, str] = NOTHING
    ) -> tuple[str, ...]:
        """Returns lines for people: the folder, then each file in it with what it is for.

        Args:
            resume: the command that goes on with the run; "" for that of a native run.
            others: {file or folder that no native run has, or means otherwise: what it is for}.
        """
        resume = resume or f"entrain resume {self.path}"
        own = [
            (self.report, "open it in a browser: curves, outcome, configuration"),
            (self.plots, _files("picture", self.plots, "*.png")),
            (self.metrics, "one row per update; entrain metrics explains the columns"),
            (self.episodes, "one row per episode, of which simulator, and how it ended"),
            (self.tensorboard, f"tensorboard --logdir {self.tensorboard}"),
            (self.policies, _names(self.policies, "*.onnx")),
            (self.checkpoints, f"{resume} goes on from the newest"),
            (self.best, f"the best weights: entrain evaluate {self.path} --checkpoint best"),
            (self.config, "every option of this run"),
            (self.log, "everything that was logged, with times"),
            (self.history, "when it began, ended, was paused or changed"),
            (self.evaluation_episodes.parent, "each episode of the last evaluation"),
            (self.recordings, "animations of the agents; the report shows them"),
            (self.simulators, "what the launched simulators printed"),
            (self.observers, "which runs it is elsewhere, for a resume"),
        ]
        parts = [*others.items(), *(part for part in own if part[0] not in others)]
        rows = [(part, meaning) for part, meaning in parts if _has_content(part)]
        width = max((len(_label(part)) for part, _ in rows), default=0)
        return (
            str(self.path),
            *(f"  {_label(part):{width}}  {meaning}".rstrip() for part, meaning in rows),
        )


def not_made(runs_directory: Path, error: OSError) -> EntrainError:
    """Returns the error to raise when a folder could not be made in `runs_directory`."""
    message = (
        f"cannot make a run folder in {runs_directory}: {error.strerror}; "
        f"{remedy(error, runs_directory)}, or set runs_directory"
    )
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EIO}
    return DiskError(message) if is_full else ConfigError(message)


def _make_numbered(runs_directory: Path, name: str) -> Path:
    """Make the first of NAME, NAME-2, NAME-3 ... that does not exist; safe against a race."""
    number, path = 1, runs_directory / name
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            path = runs_directory / f"{name}-{number}"
        else:
            return path


def _suggestion(path: Path) -> str:
    """Returns words that name runs in `path` or beside it, one of which may have been meant."""
    for place in (path, path.parent):
        runs = sorted(str(config.parent) for config in place.glob("*/config.yaml"))
        if runs:
            return f"; runs there: {', '.join(runs[:8])}{' ...' if len(runs) > 8 else ''}"
    return "; name the folder that a training run made, such as runs/NAME"


def _has_content(part: Path) -> bool:
    return any(part.iterdir()) if part.is_dir() else part.exists()


def _label(part: Path) -> str:
    return f"{part.name}/" if part.is_dir() else part.name


def _files(kind: str, folder: Path, pattern: str) -> str:
    number = sum(1 for _ in _sorted(folder, pattern))
    return f"{number} {kind}{'' if number == 1 else 's'}"


def _names(folder: Path, pattern: str) -> str:
    return ", ".join(path.name for path in _sorted(folder, pattern))


def _sorted(folder: Path, pattern: str) -> Iterator[Path]:
    return iter(sorted(folder.glob(pattern)))
