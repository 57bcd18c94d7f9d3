"""Starts training runs as a user would, and reads what they left in their run folders."""

import csv
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENTRAIN = (sys.executable, "-m", "entrain")
PROCESSOR_TIME = "processor_seconds.txt"
"""In a run's folder: what each sitting took, by `train`."""


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

    @property
    def env_steps(self) -> int:
        """Of all policies, those after the last update included."""
        policies = self.summary["policies"].values()
        return sum(policy["progress"]["env_steps"] for policy in policies)

    @property
    def processor_s(self) -> float:
        """Processor time of trainer and launched simulators, over all sittings."""
        return sum(map(float, (self.folder / PROCESSOR_TIME).read_text().split()))

    def steady_rate(self, *, skip: int = 1) -> float:
        """Median env steps/s of its updates, the first `skip` left out."""
        return statistics.median(self.column("time/env_steps_per_second")[skip:])


def evaluated(run: FinishedRun, *, episodes: int) -> Mapping[str, Any]:
    """At least so many episodes of the trained policy without noise, as `evaluate --json` says it.

    Args:
        run: of one policy.
        episodes: at least one.
    """
    printed = subprocess.run(
        [
            *ENTRAIN,
            "evaluate",
            str(run.folder),
            "--episodes",
            str(episodes),
            "--set",
            "server.address=localhost:0",
            "--json",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    (policy,) = json.loads(printed)["policies"].values()
    if policy["episodes"] < episodes:
        raise ValueError(f"{run.folder}: {episodes} episodes were asked for; it printed: {printed}")
    return dict(policy)


def evaluated_return(run: FinishedRun, *, episodes: int) -> float:
    """Mean return of so many episodes that the trained policy plays without noise."""
    return float(evaluated(run, episodes=episodes)["return_mean"])


def print_time_shares(runs: Sequence[FinishedRun]) -> None:
    """Where the wall time of several runs went: medians over their updates, the first left out."""
    print("where a run's time goes (share of wall time, median over updates):")
    for part in ("wait", "decode", "observe", "act", "encode", "record", "learn"):
        values = [value for run in runs for value in run.column(f"time/{part}")[1:]]
        if values:
            print(f"  {part:8s} {statistics.median(values):6.1%}")


def train(config: Path, folder: Path, *settings: str) -> FinishedRun:
    """Run `entrain train` to its end and read its run folder.

    A run that is already there goes on, or is only read if it was complete.

    Args:
        config: YAML file.
        folder: made by the run, or left by a former call with the same options.
        settings: for `--set`.

    Raises:
        RuntimeError: the run failed, or was stopped before it was complete.
    """
    arguments = [word for setting in settings for word in ("--set", setting)]
    words = [*ENTRAIN, "train", str(config), "--resume-or-start", "--name", folder.name]
    words += ["--runs-directory", str(folder.parent), *arguments]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if folder.is_dir():
        with (folder / PROCESSOR_TIME).open("a") as file:
            file.write(f"{used.ru_utime + used.ru_stime:.2f}\n")
    if process.returncode or (run := read(folder)).summary["outcome"] != "completed":
        raise RuntimeError(
            f"{config.name}: the run in {folder} did not come to its end (exit code "
            f"{process.returncode}); its lines above, or {folder / 'log.txt'}, say why"
        )
    return run


def read(folder: Path) -> FinishedRun:
    """Read the outcome of the run in this folder."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((folder / "summary.json").read_text())
    return FinishedRun(folder, rows, summary)
