"""Decides whether a simulator whose process has ended is started again, and when.

Each simulator has a policy of its own, which remembers its earlier ends. Nothing here starts,
waits or logs.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from entrain.run.quantities import counted
from entrain_envs.exit_codes import MISFIT, SUCCESS, USAGE

MAX_RESTARTS = 5
"""Restarts of one simulator that keeps crashing; then it is not started again."""

RELIABLE_S = 60.0
"""After running for this long, a simulator's count of crashes begins anew."""

START_S = 10.0
"""A simulator that fails twice in the same words within this long has not begun to simulate."""

SHELL_CODES = (126, 127)
"""Exit codes by which a shell says that the program is not executable, or not there."""

UNLIMITED = -1
"""Of a number of restarts."""


@dataclass(frozen=True)
class Exit:
    """How a simulator's process ended."""

    code: int
    """Its exit code; minus the number of the signal that ended it."""

    lived_s: float

    at_s: float
    """When, by the launcher's clock."""

    words: str
    """How it ended and its last words, for comparison."""


@dataclass(frozen=True)
class Again:
    """It is started again."""

    pause_s: float


@dataclass(frozen=True)
class Finished:
    """It has done what it was started for."""


@dataclass(frozen=True)
class GivenUp:
    """It is not started again."""

    why: str
    """Follows "NAME ended with exit code 1"."""


Decision = Again | Finished | GivenUp


class Restarts(Protocol):
    """Decides about one simulator."""

    def after(self, end: Exit) -> Decision:
        """Returns what follows an end of its process."""
        ...


class CrashRestarts:
    """Restarts a program that crashes, with growing pauses, `MAX_RESTARTS` times in a row.

    One that ends with exit code 0 has finished. One whose exit code says that it would fail again
    is given up, and so is one that fails at its start twice in the same words.
    """

    def __init__(self, pause_s: float = 1.0) -> None:
        """`pause_s` follows the first crash; it is doubled after each further one."""
        self._pause_s = pause_s
        self._crashes = 0
        self._before = ""

    def __repr__(self) -> str:
        return f"<CrashRestarts: {self._crashes} crashes>"

    def after(self, end: Exit) -> Decision:
        """See `Restarts`."""
        if end.code == SUCCESS:
            return Finished()
        failed_at_start = end.words if end.code > 0 and end.lived_s < START_S else ""
        if _is_for_good(end) or (failed_at_start and failed_at_start == self._before):
            return GivenUp("and would do so again: it is not restarted")
        self._before = failed_at_start
        self._crashes = 1 if end.lived_s >= RELIABLE_S else self._crashes + 1
        if self._crashes > MAX_RESTARTS:
            return GivenUp(f"and crashed {self._crashes} times: it is not restarted any more")
        return Again(self._pause_s * 2 ** (self._crashes - 1))


class QuotaRestarts:
    """Restarts a program however it ended, as often as a quota allows.

    A game that a player closes ends well, and is needed as long as the run lasts.
    """

    def __init__(
        self, *, most: int, most_in_period: int, period_s: float, pause_s: float = 1.0
    ) -> None:
        """No restart yet.

        Args:
            most: restarts in all; -1: without a limit.
            most_in_period: restarts within `period_s`; -1: without a limit.
            period_s: seconds.
            pause_s: before each restart.
        """
        self._most = most
        self._most_in_period = most_in_period
        self._period_s = period_s
        self._pause_s = pause_s
        self._count = 0
        self._recent_s: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<QuotaRestarts: {self._count} of {self._most}>"

    def after(self, end: Exit) -> Decision:
        """See `Restarts`."""
        while self._recent_s and end.at_s - self._recent_s[0] >= self._period_s:
            self._recent_s.popleft()
        if self._most != UNLIMITED and self._count >= self._most:
            return GivenUp(
                f"and was restarted {counted(self._count, 'time')} already: it is not restarted "
                "any more (--max-lifetime-restarts, unity.launch.max_lifetime_restarts: "
                f"{self._most}; -1: no limit)"
            )
        if self._most_in_period != UNLIMITED and len(self._recent_s) >= self._most_in_period:
            times = counted(len(self._recent_s), "time")
            return GivenUp(
                f"and was restarted {times} in the last {self._period_s:g} s: it is not restarted "
                "any more (--restarts-rate-limit-n, unity.launch.restarts_rate_limit: "
                f"{self._most_in_period}; -1: no limit)"
            )
        self._count += 1
        if self._most_in_period != UNLIMITED:
            self._recent_s.append(end.at_s)
        return Again(self._pause_s)


def _is_for_good(end: Exit) -> bool:
    """Returns whether the exit code says that the same command would fail again."""
    # Go ends with 2 when it panics; a wrong command line does not take a minute to notice.
    return end.code == MISFIT or (end.code in {USAGE, *SHELL_CODES} and end.lived_s < RELIABLE_S)
