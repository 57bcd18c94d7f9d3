"""Whether a run whose process has ended is started again, and when: by its exit code.

Nothing here starts, waits or logs. The codes are those of docs/running.md.
"""

import signal
from contextlib import suppress
from dataclasses import dataclass

from entrain.cli_exit_codes import EXIT_CODES

FOR_GOOD = frozenset({1, 2, 3, 6})
"""Codes after which the same command would fail in the same way."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0

RELIABLE_S = 60.0
"""After living this long, a run's failures in a row are counted anew."""


@dataclass(frozen=True)
class End:
    """How a run's process ended."""

    code: int | None
    """Exit code, or minus a signal's number; None if it was not this process's child."""

    outcome: str
    """That the run wrote as it ended: completed, stopped or failed; "" if it wrote none."""

    lived_s: float

    stopped_code: int = 0
    """With which the run says that it was stopped as asked: `stopped_exit_code`."""


@dataclass(frozen=True)
class Again:
    """It is started again after a pause."""

    pause_s: float
    failures: int
    """In a row, this one included."""


@dataclass(frozen=True)
class Rest:
    """It is not started again while its file stays as it is."""

    state: str
    """completed, stopped or given up."""


def after(end: End, *, failures: int, restarts: bool = True) -> Again | Rest:
    """Returns what follows an end that nobody asked for.

    Args:
        end: of the process.
        failures: in a row, before this one.
        restarts: whether any run is started again.
    """
    is_good = end.code in {0, None} or (end.code, end.outcome) == (end.stopped_code, "stopped")
    if is_good and end.outcome in {"completed", "stopped"}:
        return Rest(end.outcome)
    if end.code in FOR_GOOD or not restarts:
        return Rest("given up")
    failures = 1 if end.lived_s >= RELIABLE_S else failures + 1
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30))
    return Again(pause_s, failures)


def words_of(code: int | None) -> str:
    """Returns `exit code 7: the disk refuses ...`, or the signal's name."""
    if code is None:
        return "its exit code is not known: it was started before this supervisor"
    if code < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
    meaning = EXIT_CODES.get(code)
    return f"exit code {code}: {meaning}" if meaning else f"exit code {code}"
