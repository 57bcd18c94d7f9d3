"""Where everything of a tuning is: RUNS_DIRECTORY/NAME-tuning.

study.db         what was tried and what came of it (SQLite, as Optuna writes it)
settings.yaml    the settings that it was begun with
trials/          the settings of each run: trial-007.yaml
runs/            their folders
output/          what they printed
best.yaml        the settings of the best trial
report.html      and its pictures in plots/
"""

import contextlib
from pathlib import Path

from entrain.config.run import RunConfig
from entrain.errors import InUseError
from entrain.run.folder import not_made
from entrain.run.lock import RunLock
from entrain.run.lock_probe import look_at


class TuningFolder:
    """See the module."""

    def __init__(self, path: Path) -> None:
        """At this path, whether it exists or not."""
        self.path = path
        self.study = path / "study.db"
        self.settings = path / "settings.yaml"
        self.trials = path / "trials"
        self.best = path / "best.yaml"
        self.report = path / "report.html"
        self.plots = path / "plots"
        self.log = path / "log.txt"
        self.runs = path / "runs"
        self.state = path / "runs.json"
        """What is remembered of the processes of runs."""
        self.output = path / "output"
        """Holds what runs printed: NAME.txt."""
        self._lock_file = path / "tune.lock"

    @classmethod
    def of(cls, config: RunConfig) -> "TuningFolder":
        """Returns that of a run's settings."""
        return cls(config.runs_directory / f"{config.name}-tuning")

    def make(self) -> None:
        """Make the folders; ConfigError or DiskError if they cannot be made."""
        try:
            for part in (self.trials, self.runs, self.output):
                part.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise not_made(self.path, error) from error

    def lock(self) -> RunLock:
        """Lock out other processes; InUseError if one tunes here."""
        try:
            return RunLock(self._lock_file)
        except InUseError:
            owner = look_at(self._lock_file).owner or "another process"
            raise InUseError(
                f"{self.path} is being tuned already, by {owner}. Stop that one first (Ctrl+C: its "
                "runs save and stop), or tune under another name (--set name=NAME). To use more "
                "processors, raise search.parallel; to see how it stands, add --report"
            ) from None

    def run_name(self, trial: int, seed: int, *, seeds: int) -> str:
        """Returns the name of a trial's run with the seed of that number, both from 0."""
        return f"trial-{trial:03d}" if seeds == 1 else f"trial-{trial:03d}-seed-{seed + 1}"

    def settings_of(self, run: str) -> Path:
        """Returns the path of the settings of that run."""
        return self.trials / f"{run}.yaml"

    def output_of(self, run: str) -> Path:
        """Returns the path of what that run printed."""
        return self.output / f"{run}.txt"

    def metrics_of(self, run: str) -> Path:
        """Returns the path of the metrics of that run."""
        return self.runs / run / "metrics.csv"

    def __repr__(self) -> str:
        return f"<TuningFolder {self.path}>"


def listed(folder: Path) -> str:
    """Returns words that name the tunings in a folder of runs; "" if there are none."""
    with contextlib.suppress(OSError):
        found = sorted(path.parent.name for path in folder.glob("*-tuning/study.db"))
        return f" (there is: {', '.join(found[:8])})" if found else ""
    return ""
