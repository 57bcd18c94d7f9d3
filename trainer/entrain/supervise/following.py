"""Follows the metrics of a run from its folder: only what was appended since the last look is read.

Kept are the few metrics that several runs are compared by, down-sampled, so that hundreds of runs
fit into memory.
"""

import contextlib
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from entrain.metrics import (
    ENTROPY,
    EPISODE_RETURN_LAST,
    REWARD_PER_STEP,
    SECONDS,
    STEPS_PER_SECOND,
)
from entrain.page.curves import Curves
from entrain.run.table import BEHAVIOUR, ENV_STEPS, KEYS, WALL_TIME, is_of_evaluation

COMPARED = (
    EPISODE_RETURN_LAST.name,
    REWARD_PER_STEP.name,
    "rollout/episode_length_mean",
    ENTROPY.name,
    "policy/kl",
    "loss/policy",
    "loss/value",
    "value/explained_variance",
    STEPS_PER_SECOND.name,
)
"""What runs may be compared by."""

MOST_POINTS = 200
"""Of one curve."""

MOST_POLICIES = 16
"""Of one run that are followed."""

MOST_BYTES = 16 * 2**20
"""That are read at one look."""


class Followed:
    """One table. Used by one thread at a time."""

    def __init__(
        self, path: Path, metrics: Sequence[str] = COMPARED, *, most_points: int = MOST_POINTS
    ) -> None:
        """Nothing is read yet, and the file need not exist.

        Args:
            path: of the table.
            metrics: that are kept. Rows of evaluations count if they have one of them.
            most_points: of one curve.
        """
        self._path = path
        self._wanted = metrics
        self._metrics = (*metrics, SECONDS.name)
        self._most_points = most_points
        self._forget()
        self._inode = 0

    def _forget(self) -> None:
        self._read = 0
        self._columns: Sequence[str] = ()
        self.curves: dict[str, Curves] = {}
        """{policy: its curves}."""
        self.env_steps: dict[str, int] = {}
        """{policy: by its newest row}."""

    @property
    def seconds(self) -> float:
        """Of training, by the newest rows; NaN before the first."""
        known = [it.newest.get(SECONDS.name, math.nan) for it in self.curves.values()]
        return max((it for it in known if math.isfinite(it)), default=math.nan)

    def look(self) -> bool:
        """Read what is new, MOST_BYTES of it; returns whether there may be more to read now.

        A file that is gone, or cannot be read, leaves all as it was.
        """
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            about = file.seek(0, io.SEEK_END), self._path.stat().st_ino
            if about[1] != self._inode or about[0] < self._read:
                self._forget()
                self._inode = about[1]
            file.seek(self._read)
            content = file.read(MOST_BYTES)
            return self._take(content) and len(content) == MOST_BYTES
        return False

    def _take(self, content: bytes) -> bool:
        """Take the rows that are complete; returns whether there was one."""
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        lines = csv.reader(io.StringIO(whole.decode(errors="replace"), newline=""))
        with contextlib.suppress(csv.Error):
            for cells in lines:
                if self._columns:
                    self._take_row(cells)
                elif tuple(cells[: len(KEYS)]) == KEYS:
                    self._columns = cells
        return bool(whole)

    def _take_row(self, cells: Sequence[str]) -> None:
        if len(cells) != len(self._columns):
            return
        row = dict(zip(self._columns, cells, strict=True))
        if is_of_evaluation(row) and not any(map(row.get, self._wanted)):
            return
        try:
            env_steps, wall_time = int(row[ENV_STEPS]), float(row[WALL_TIME])
            metrics = {name: float(row[name]) for name in self._metrics if row.get(name)}
        except ValueError:
            return
        policy = row[BEHAVIOUR]
        curves = self.curves.get(policy)
        if curves is None:
            if len(self.curves) == MOST_POLICIES:
                return
            curves = self.curves[policy] = Curves(self._most_points)
        seconds = metrics.get(SECONDS.name, math.nan)
        curves.note(metrics, env_steps=env_steps, wall_time=wall_time, seconds=seconds)
        # An evaluation's row may say when it began.
        self.env_steps[policy] = max(env_steps, self.env_steps.get(policy, 0))
