"""The page's memory of a run: curves, reported statistics, log lines, alarms. All are bounded.

Owned by the event loop, but for `LogLines`, to which any thread may log.
"""

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from entrain.metrics import SECONDS, STATISTICS
from entrain.page.curves import Curves

MOST_POLICIES = 128
"""Most policies that have curves."""

MOST_STATISTICS = 64
"""Most names that simulators report of one policy which are remembered; metrics.csv has all."""

MOST_LINES = 500
"""Most lines of the log that are kept."""

LEVELS = ("warn", "error")
MOST_ALARMS = 50
MOST_LINE = 2000
"""Most characters of one line."""


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One logged message."""

    number: int
    """Counted from 1."""

    time: float
    """Seconds since 1970."""

    level: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A warning or error that was logged, perhaps several times."""

    level: str
    message: str
    first: float
    """Seconds since 1970."""

    last: float
    times: int


class LogLines(logging.Handler):
    """Keeps the newest lines and warnings. Any thread may log."""

    def __init__(self, format_line: Callable[[logging.LogRecord], tuple[str, str]]) -> None:
        """Keep nothing yet; `format_line` returns level and message of a record."""
        super().__init__()
        self._format_line = format_line
        self._lines: deque[LogLine] = deque(maxlen=MOST_LINES)
        self._alarms: dict[str, Alarm] = {}
        self._guard = threading.Lock()
        self.number = 0
        """Of the newest line."""
        self.counts: dict[str, int] = dict.fromkeys(LEVELS, 0)
        """{level: lines}, of the levels that are alarms."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record; never raises."""
        try:
            level, message = self._format_line(record)
        except Exception:
            self.handleError(record)
            return
        message = message[:MOST_LINE]
        with self._guard:
            self.number += 1
            self._lines.append(
                LogLine(number=self.number, time=record.created, level=level, message=message)
            )
            if record.levelno >= logging.WARNING:
                self.counts[LEVELS[record.levelno >= logging.ERROR]] += 1
                self._raise_alarm(level, message, record.created)

    def _raise_alarm(self, level: str, message: str, now: float) -> None:
        before = self._alarms.pop(message, None)
        first, times = (now, 0) if before is None else (before.first, before.times)
        self._alarms[message] = Alarm(
            level=level, message=message, first=first, last=now, times=times + 1
        )
        if len(self._alarms) > MOST_ALARMS:
            del self._alarms[next(iter(self._alarms))]

    def after(self, number: int, *, most: int = MOST_LINES) -> Sequence[LogLine]:
        """Returns the newest lines behind that number, oldest first."""
        with self._guard:
            lines = [line for line in self._lines if line.number > number]
        return lines[len(lines) - min(most, len(lines)) :]

    @property
    def alarms(self) -> Sequence[Alarm]:
        """The alarms, newest first."""
        with self._guard:
            return tuple(reversed(self._alarms.values()))


class Reported:
    """The newest values that simulators reported for one policy, of the first names."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.newest: dict[str, float] = {}
        """{name: value}, at most MOST_STATISTICS."""
        self.left_out = 0
        """Most names of one update that there was no room for."""

    def note(self, statistics: Mapping[str, float]) -> Mapping[str, float]:
        """Take what was reported until an update; returns that of the names which are kept."""
        kept = {
            name: value
            for name, value in statistics.items()
            if name in self.newest or self._has_room_for(name)
        }
        self.newest.update(kept)
        self.left_out = max(self.left_out, len(statistics) - len(kept))
        return kept

    def _has_room_for(self, name: str) -> bool:
        if len(self.newest) == MOST_STATISTICS:
            return False
        self.newest[name] = math.nan
        return True


class Board:
    """See the module."""

    def __init__(self, log: LogLines) -> None:
        """Remember nothing yet, but for what `log` keeps."""
        self.log = log
        self._curves: dict[str, Curves] = {}
        self._reported: dict[str, Reported] = {}
        self.version = 0
        """Grows with every update that is noted."""

    @property
    def policies(self) -> Sequence[str]:
        """The policies that have curves."""
        return tuple(self._curves)

    def curves(self, policy: str) -> Curves | None:
        """Returns what was measured of a policy; None before its first update."""
        return self._curves.get(policy)

    def reported(self, policy: str) -> Reported:
        """Returns what simulators reported until a policy's newest update."""
        return self._reported.get(policy, Reported())

    def note_update(
        self,
        policy: str,
        metrics: Mapping[str, float],
        statistics: Mapping[str, float],
        *,
        env_steps: int,
        wall_time: float,
    ) -> None:
        """Remember what one update measured.

        Args:
            policy: its name.
            metrics: by the names of metrics.csv.
            statistics: {name: value} that simulators reported.
            env_steps: of the policy.
            wall_time: seconds since 1970.
        """
        curves = self._curves.get(policy)
        if curves is None:
            if len(self._curves) == MOST_POLICIES:
                return
            curves = self._curves[policy] = Curves()
        seconds = metrics.get(SECONDS.name, math.nan)
        kept = self._reported.setdefault(policy, Reported()).note(statistics)
        values = {**metrics, **{f"{STATISTICS}{name}": it for name, it in kept.items()}}
        curves.note(values, env_steps=env_steps, wall_time=wall_time, seconds=seconds)
        self.version += 1

    def clear(self) -> None:
        """Forget all curves: they are read anew."""
        self._curves.clear()
        self._reported.clear()
