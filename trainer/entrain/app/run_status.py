"""How a run stands, read from its folder alone: `entrain info` and `entrain list`.

It only reads, so the run may go on meanwhile.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_RETURN_LAST, REWARD_PER_STEP, SECONDS, STEPS_PER_SECOND
from entrain.run.folder import RunFolder
from entrain.run.lock_probe import Hold, LockLook, look_at
from entrain.run.summary import RunSummary
from entrain.run.table import Float64Array, Series, read_metrics

State: TypeAlias = Literal["running", "ending", "completed", "stopped", "failed", "dead"]
"""ending: its trainer is done with training, and writes the report and the policies.
dead: its trainer ended without saving; `resume` goes on from the newest checkpoint."""


@dataclass(frozen=True, kw_only=True)
class PolicyStatus:
    """One policy. A number that is not known is NaN."""

    env_steps: int
    total_steps: int | None
    """None if the configuration has no such policy."""

    updates: int
    updated_at: float
    """Seconds since 1970, of the last update."""

    return_last: float
    """Over the last hundred episodes, at the last update."""

    reward_per_step: float
    env_steps_per_second: float

    @property
    def left_s(self) -> float:
        """Seconds until its total steps are reached, at the rate of the last update."""
        if self.total_steps is None or not self.env_steps_per_second > 0:
            return math.nan
        return max(0, self.total_steps - self.env_steps) / self.env_steps_per_second


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """One run."""

    name: str
    path: Path
    state: State
    owner: str
    """Of its lock, for people; "" if nobody has it."""

    started_at: float
    """Seconds since 1970; NaN if it is not known."""

    seconds: float
    """Spent training; NaN if it is not known."""

    policies: Mapping[str, PolicyStatus]

    @property
    def env_steps(self) -> int:
        """Over all policies."""
        return sum(policy.env_steps for policy in self.policies.values())

    @property
    def total_steps(self) -> int:
        """Over those policies whose total is known."""
        return sum(policy.total_steps or 0 for policy in self.policies.values())

    @property
    def left_s(self) -> float:
        """Seconds until the last policy is done; NaN if that is not known, or nothing runs."""
        left = [policy.left_s for policy in self.policies.values()]
        if self.state != "running" or not left or any(map(math.isnan, left)):
            return math.nan
        return max(left)


def status_of(
    folder: RunFolder, config: RunConfig, *, clock: Callable[[], float] = time.time
) -> RunStatus:
    """Returns how the run in `folder` stands.

    Args:
        folder: of the run.
        config: of the run.
        clock: seconds since 1970.

    Raises:
        ConfigError: a file of the run cannot be read.
    """
    known = read_metrics(folder.metrics) if folder.metrics.is_file() else {}
    updates = {behaviour: each.updates for behaviour, each in known.items()}
    series = {behaviour: each for behaviour, each in updates.items() if len(each.env_steps)}
    lock = look_at(folder.lock_file)
    summary = _last_summary(folder, series)
    if lock.hold is Hold.HELD and not _is_of_this_sitting(summary, lock):
        summary = None
    started_at, seconds = _times(series, summary, lock, now_s=clock())
    return RunStatus(
        name=folder.name,
        path=folder.path,
        state=_state(lock, summary),
        owner=lock.owner,
        started_at=started_at,
        seconds=seconds,
        policies={
            behaviour: _policy(behaviour, each, config, summary)
            for behaviour, each in series.items()
        },
    )


def runs_in(directory: Path) -> Sequence[RunStatus | ConfigError]:
    """Returns all runs in a folder, newest first; of one that cannot be read, why.

    Raises:
        ConfigError: there is no such folder.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory} is no folder; name the one with the runs in it")
    found: list[RunStatus] = []
    unreadable: list[ConfigError] = []
    for path in sorted(config.parent for config in directory.glob("*/config.yaml")):
        try:
            folder = RunFolder.existing(path)
            found.append(status_of(folder, load_config(folder.config, [])))
        except ConfigError as error:
            unreadable.append(error)
    found.sort(key=lambda run: (-_known(run.started_at), run.name))
    return [*found, *unreadable]


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _last_summary(folder: RunFolder, series: Mapping[str, Series]) -> RunSummary | None:
    """Returns the summary of the last sitting; None if it wrote none."""
    try:
        summary = RunSummary.load(folder.summary)
    except ConfigError:
        return None
    updated_at = max((float(each.wall_time[-1]) for each in series.values()), default=-math.inf)
    trained_s = max((float(_seconds(each)[-1]) for each in series.values()), default=-math.inf)
    # Either is enough: the clock on the wall may have been set back before the end.
    is_last = summary.ended_at >= updated_at or summary.seconds >= trained_s
    return summary if is_last else None


def _is_of_this_sitting(summary: RunSummary | None, lock: LockLook) -> bool:
    """Whether the trainer that has the lock has written the summary: as its training had ended."""
    return summary is not None and summary.ended_at >= lock.since_s


def _state(lock: LockLook, summary: RunSummary | None) -> State:
    if lock.hold is Hold.HELD:
        return "running" if summary is None else "ending"
    if lock.hold is Hold.LEFT:
        return "dead"
    return "stopped" if summary is None else summary.outcome


def _times(
    series: Mapping[str, Series], summary: RunSummary | None, lock: LockLook, *, now_s: float
) -> tuple[float, float]:
    """Returns when the run started, and how long it has trained."""
    if summary is not None:
        return summary.started_at, summary.seconds
    # By the run's own seconds: the clock on the wall may have been set meanwhile.
    rows = [
        (float(seconds), float(wall))
        for each in series.values()
        for seconds, wall in zip(_seconds(each)[[0, -1]], each.wall_time[[0, -1]], strict=True)
    ]
    if not rows:
        return math.nan, math.nan
    first, last = min(rows), max(rows)
    since_s = now_s - last[1] if lock.hold is Hold.HELD else 0.0
    return first[1] - first[0], last[0] + max(0.0, since_s)


def _seconds(series: Series) -> Float64Array:
    return series.columns.get(SECONDS.name, series.wall_time * math.nan)


def _policy(
    behaviour: str, series: Series, config: RunConfig, summary: RunSummary | None
) -> PolicyStatus:
    options = config.policy_for(behaviour)
    env_steps = int(series.env_steps[-1])
    if summary is not None and behaviour in summary.policies:
        # Those behind the last update count as well.
        env_steps = summary.policies[behaviour].progress.env_steps
    return PolicyStatus(
        env_steps=env_steps,
        total_steps=None if options is None else options.total_steps,
        updates=len(series.env_steps),
        updated_at=float(series.wall_time[-1]),
        return_last=_last(series, EPISODE_RETURN_LAST.name),
        reward_per_step=_last(series, REWARD_PER_STEP.name),
        env_steps_per_second=_last(series, STEPS_PER_SECOND.name),
    )


def _last(series: Series, name: str) -> float:
    column = series.columns.get(name)
    return math.nan if column is None else float(column[-1])
