"""How each run stands, gathered when somebody looks: from the supervisor and the runs' folders."""

import contextlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import numpy as np

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import EPISODE_RETURN_LAST, STEPS_PER_SECOND
from entrain.page.curves import Curves
from entrain.run.lock_probe import Hold, look_at
from entrain.run.summary import RunSummary
from entrain.supervise.charts import Line, likeness
from entrain.supervise.following import Followed
from entrain.supervise.served_run import ServedRun

Axis: TypeAlias = Literal["env_steps", "seconds"]

MOST_FOLLOWED = 512
"""Runs that have curves; the newest, by their ends."""


@dataclass(frozen=True, kw_only=True)
class PolicyStanding:
    """One policy of one run. What is not known is NaN."""

    name: str
    env_steps: int
    total_steps: int | None
    return_last: float
    env_steps_per_second: float


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """One run."""

    name: str
    state: str
    words: str
    """Why, for people; "" if there is nothing to say."""

    address: str
    """That simulators dial; "" if nobody listens."""

    page_port: int
    """Of the run's own page; 0 if it has none now."""

    is_page_secure: bool
    process: int
    restarts: int
    again_in_s: float
    """Until it is started again; NaN if it is not waiting for that."""

    seconds: float
    """Of training."""

    policies: Sequence[PolicyStanding]


@dataclass(frozen=True)
class _Read:
    seconds: float
    policies: Sequence[PolicyStanding]


class _Folder:
    """The content of one run's folder. Used by one thread at a time."""

    def __init__(self, run: ServedRun) -> None:
        self.metrics = Followed(run.folder.metrics)
        self._path = run.folder.config
        self._stamp = 0
        self._summary = run.folder.summary
        self._summary_stamp = 0
        self.ended_with: Mapping[str, int] = {}
        """{policy: env steps}, as the run wrote when it ended last: those behind the last update
        count as well."""
        self.config: RunConfig | None = None
        self.likeness = ""

    def look(self) -> None:
        self.metrics.look()
        with contextlib.suppress(OSError, ConfigError):
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._stamp = stamp
                self.config = load_config(self._path, [])
                self.likeness = likeness(self.config)
        with contextlib.suppress(OSError, ConfigError):
            stamp = self._summary.stat().st_mtime_ns
            if stamp != self._summary_stamp:
                self._summary_stamp = stamp
                policies = RunSummary.load(self._summary).policies
                self.ended_with = {name: it.progress.env_steps for name, it in policies.items()}


class Standings:
    """See the module. `look`, `lines` and `policies` may take long: each is for a thread."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._guard = threading.Lock()
        self._folders: Mapping[str, _Folder] = {}
        self._read: Mapping[str, _Read] = {}

    def look(self, runs: Sequence[ServedRun]) -> None:
        """Read what is new in the folders of these runs, and forget all others."""
        kept = sorted(runs, key=lambda run: (run.living is None, -run.record.ended))[:MOST_FOLLOWED]
        folders = {run.name: self._folders.get(run.name) or _Folder(run) for run in kept}
        read = {}
        for run in kept:
            folder = folders[run.name]
            with self._guard:
                folder.look()
                read[run.name] = _Read(folder.metrics.seconds, _policies(folder, run.config))
        self._folders, self._read = folders, read

    def of(self, run: ServedRun, *, now_s: float, address: str) -> RunStanding:
        """How that run stands.

        Args:
            run: to tell of.
            now_s: by the supervisor's clock.
            address: that its simulators dial, if it lives.
        """
        read = self._read.get(run.name, _Read(math.nan, ()))
        state = run.state(now_s)
        if state == "running":
            state = _state_of_living(run)
        port, is_secure = _page_of(run) if state in {"running", "ending"} else (0, False)
        return RunStanding(
            name=run.name,
            state=state,
            words=run.says(state),
            address=address if run.living is not None else "",
            page_port=port,
            is_page_secure=is_secure,
            process=0 if run.living is None else run.living.pid,
            restarts=run.record.restarts,
            again_in_s=run.due_s - now_s if state == "failed" else math.nan,
            seconds=read.seconds,
            policies=read.policies,
        )

    def policies(self) -> Sequence[str]:
        """All that have curves."""
        with self._guard:
            folders = self._folders.values()
            return sorted({name for folder in folders for name in folder.metrics.curves})

    def lines(self, metric: str, policy: str, axis: Axis) -> Sequence[Line]:
        """One line for each run that has this metric of this policy."""
        with self._guard:
            found = (
                _line(name, folder.metrics.curves.get(policy), metric, axis)
                for name, folder in sorted(self._folders.items())
            )
            return [line for line in found if line is not None]

    def likenesses(self) -> Mapping[str, str]:
        """{run: text that those which differ only in their seed have in common}."""
        return {name: it.likeness for name, it in self._folders.items() if it.likeness}


def _line(run: str, curves: Curves | None, metric: str, axis: Axis) -> Line | None:
    if curves is None:
        return None
    rows = curves.rows_after(0, most=curves.updates + 1)
    curve = curves.curve(metric, rows)
    if curve is None:
        return None
    x = curves.seconds(rows) if axis == "seconds" else curves.env_steps(rows).astype(np.float64)
    known = np.isfinite(x) & np.isfinite(curve.mean)
    return Line(run, x[known], curve.mean[known]) if known.any() else None


def _state_of_living(run: ServedRun) -> str:
    """starting, running or ending, as the run's own lock and summary say."""
    look = look_at(run.folder.lock_file)
    if look.hold is not Hold.HELD:
        return "starting"
    with contextlib.suppress(OSError):
        if run.folder.summary.stat().st_mtime_ns != run.record.summary_stamp:
            return "ending"
    return "running"


def _page_of(run: ServedRun) -> tuple[int, bool]:
    """The port of a run's own page, and whether it has TLS; its tokens are not read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        url = urlsplit(str(json.loads(run.folder.page.read_text(encoding="utf-8"))["url"]))
        return url.port or 0, url.scheme == "https"
    return 0, False


def _policies(folder: _Folder, given: RunConfig | None) -> Sequence[PolicyStanding]:
    config = folder.config or given
    found = []
    for name, curves in folder.metrics.curves.items():
        options = None if config is None else config.policy_for(name)
        found.append(
            PolicyStanding(
                name=name,
                env_steps=max(folder.metrics.env_steps[name], folder.ended_with.get(name, 0)),
                total_steps=None if options is None else options.total_steps,
                return_last=curves.newest.get(EPISODE_RETURN_LAST.name, math.nan),
                env_steps_per_second=curves.newest.get(STEPS_PER_SECOND.name, math.nan),
            )
        )
    return found
