"""Starts training runs as a user would, and reads what they left in their run folders."""

import csv
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENTRAIN = (sys.executable, "-m", "entrain")


@dataclass(frozen=True)
class FinishedRun:
    """The facts of a finished run, read from its folder."""

    folder: Path
    rows: Sequence[Mapping[str, str]]
    """Of metrics.csv, in order."""

    summary: Mapping[str, Any]
    """Of summary.json."""

    def column(self, name: str) -> list[float]:
        """The values of one metric, rows without it left out."""
        return [float(row[name]) for row in self.rows if row.get(name)]

    def final_return(self, *, share: float = 0.1) -> float:
        """Mean return of the episodes finished in the last `share` of the env steps."""
        last = float(self.rows[-1]["env_steps"])
        returns: list[float] = []
        episodes: list[float] = []
        for row in self.rows:
            if float(row["env_steps"]) > (1 - share) * last and row["rollout/episode_return_mean"]:
                returns.append(float(row["rollout/episode_return_mean"]))
                episodes.append(float(row["rollout/episodes"]))
        total = sum(episodes)
        return sum(r * n for r, n in zip(returns, episodes, strict=True)) / total

    def steady_rate(self, *, skip: int = 1) -> float:
        """Median env steps/s of its updates, the first `skip` left out."""
        return statistics.median(self.column("time/env_steps_per_second")[skip:])


def evaluated_return(run: FinishedRun, *, episodes: int) -> float:
    """Mean return of so many episodes that the trained policy plays without noise."""
    printed = subprocess.run(
        [
            *ENTRAIN,
            "evaluate",
            str(run.folder),
            "--episodes",
            str(episodes),
            "--set",
            "server.address=localhost:0",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r": return (\S+) ", printed)
    if found is None:
        raise ValueError(f"entrain evaluate told no return; it printed: {printed}")
    return float(found[1])


def print_time_shares(runs: Sequence[FinishedRun]) -> None:
    """Where the wall time of several runs went: medians over their updates, the first left out."""
    print("where a run's time goes (share of wall time, median over updates):")
    for part in ("wait", "decode", "observe", "act", "encode", "record", "learn"):
        values = [value for run in runs for value in run.column(f"time/{part}")[1:]]
        if values:
            print(f"  {part:8s} {statistics.median(values):6.1%}")


def train(config: Path, folder: Path, *settings: str) -> FinishedRun:
    """Run `entrain train` to its end and read its run folder.

    Args:
        config: YAML file.
        folder: made by the run; must not exist.
        settings: for `--set`.
    """
    arguments = [word for setting in settings for word in ("--set", setting)]
    subprocess.run(
        [
            *ENTRAIN,
            "train",
            str(config),
            "--runs-directory",
            str(folder.parent),
            "--name",
            folder.name,
            *arguments,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return read(folder)


def read(folder: Path) -> FinishedRun:
    """Read the outcome of the run in this folder."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((folder / "summary.json").read_text())
    return FinishedRun(folder, rows, summary)
