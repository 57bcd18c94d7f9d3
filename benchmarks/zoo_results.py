"""What was measured of the zoo, as JSON with a run in each line, and its table.

Runs nothing and draws nothing.
"""

import fcntl
import hashlib
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.runs import FinishedRun
from benchmarks.zoo_settings import Setting, all_settings
from entrain.run.durable import replace_file

BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
"""What stands around the table in a page."""

HEAD = (
    "| setting | environment | algorithm | env steps | seeds | return without noise | solved from "
    "| | processor time of a run | date |\n|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run of a setting with one seed."""

    setting: str

    seed: int

    digest: str
    """Of the options that it was measured with."""

    return_mean: float

    return_std: float
    """Over the episodes of this run."""

    episodes: int
    """That were played without noise after training."""

    env_steps: int

    processor_s: float
    """Processor time of training, simulators included."""

    date: str

    machine: str

    curve: tuple[tuple[float, float], ...]
    """(env steps, mean return of the episodes that ended there) while training, with noise."""

    def __str__(self) -> str:
        return (
            f"{self.setting} seed {self.seed}: return {_rounded(self.return_mean)} over "
            f"{self.episodes} episodes, {self.processor_s:,.0f} s of processor time"
        )


def curve(run: FinishedRun, *, points: int = 60) -> tuple[tuple[float, float], ...]:
    """Mean returns while training, over at most so many equal spans of env steps.

    A span's place is its end; spans in which no episode ended are left out.
    """
    rows = [row for row in run.rows if row["rollout/episode_return_mean"]]
    width = float(run.rows[-1]["env_steps"]) / points
    sums = [[0.0, 0.0] for _ in range(points)]
    for row in rows:
        span = sums[min(int((float(row["env_steps"]) - 1) / width), points - 1)]
        episodes = float(row["rollout/episodes"])
        span[0] += episodes * float(row["rollout/episode_return_mean"])
        span[1] += episodes
    return tuple(
        (round((place + 1) * width), round(total / episodes, 4))
        for place, (total, episodes) in enumerate(sums)
        if episodes
    )


def load(file: Path) -> Sequence[Result]:
    """All results in a file; none if it is not there."""
    if not file.exists():
        return []
    return [
        Result(**{**fields, "curve": tuple((x, y) for x, y in fields["curve"])})
        for fields in json.loads(file.read_text(encoding="utf-8"))
    ]


def add(result: Result, file: Path) -> None:
    """Add a result, and drop those that are not of the options that the settings have now.

    It replaces one of the same setting and seed. Several commands may add to a file at the same
    time: each waits for the one before.

    Args:
        result: of a setting.
        file: in the folder of the settings.
    """
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        # Freed with the descriptor. The file itself cannot be locked, for it is replaced.
        fcntl.flock(folder, fcntl.LOCK_EX)
        others = [
            each
            for each in current(load(file), all_settings(file.parent))
            if (each.setting, each.seed) != (result.setting, result.seed)
        ]
        _save([*others, result], file)
    finally:
        os.close(folder)


def _save(results: Sequence[Result], file: Path) -> None:
    """Write results, ordered by setting and seed; who reads meanwhile gets the old ones."""
    ordered = sorted(results, key=lambda result: (result.setting, result.seed))
    lines = ",\n".join(json.dumps(asdict(result)) for result in ordered)
    replace_file(file, f"[\n{lines}\n]\n")


def current(results: Sequence[Result], settings: Sequence[Setting]) -> Sequence[Result]:
    """The results that were measured with the options that the settings have now."""
    digests = {setting.name: setting.digest for setting in settings}
    return [result for result in results if digests.get(result.setting) == result.digest]


def digest(results: Sequence[Result]) -> str:
    """Names these results, so that a picture of them can say whose it is."""
    whole = json.dumps([asdict(result) for result in results], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()[:12]


def table(settings: Sequence[Setting], results: Sequence[Result]) -> str:
    """A line for each setting, with a verdict by the mean over its seeds; and the machines."""
    lines = [
        _line(setting, [each for each in results if each.setting == setting.name])
        for setting in settings
    ]
    machines = sorted({result.machine for result in results})
    return "\n".join([HEAD, *lines, "", *[f"Machine: {machine}." for machine in machines]]) + "\n"


def _line(setting: Setting, results: Sequence[Result]) -> str:
    start = f"| [{setting.name}]({setting.config.name}) | {setting.environment} "
    start += f"| {setting.algorithm_name} | {setting.total_steps:,} | {len(results)} "
    bar = f"| {setting.bar:,g}, {setting.source} "
    if not results:
        return f"{start}| not measured yet {bar}| | | |"
    means = [result.return_mean for result in results]
    mean = statistics.mean(means)
    spread = f" +- {_rounded(statistics.stdev(means))}" if len(means) > 1 else ""
    verdict = "reached" if mean >= setting.bar else "missed"
    seconds = statistics.mean(result.processor_s for result in results)
    dates = max(result.date for result in results)
    return (
        f"{start}| {_rounded(mean)}{spread} {bar}| {verdict} | {seconds / 60:,.1f} min | {dates} |"
    )


def _rounded(value: float) -> str:
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"


def with_table(page: str, rendered: str) -> str:
    """The page with this table between its marks; ValueError if it does not have both once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have one line {BEGIN.strip()} and one {END.strip()}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{rendered}\n{END}{rest.partition(END)[2]}"
