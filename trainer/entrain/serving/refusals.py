"""Simulators that were refused: the reasons of those that would be again, and lines in the log."""

from collections.abc import Callable, Mapping

from entrain.errors import SimulatorError, UnauthenticatedError
from entrain.serving.batcher import CallLater
from entrain.serving.repeated_lines import RepeatedLines

MOST_LINES = 20
"""Refusals of one kind that are logged in a minute, one by one."""


class Refusals:
    """The newest refusals, one a simulator's name. Owned by the event loop."""

    def __init__(self, *, most: int, clock: Callable[[], float], call_later: CallLater) -> None:
        """None yet.

        Args:
            most: reasons that are kept.
            clock: seconds.
            call_later: how to be called back after seconds.
        """
        self._most = most
        self._reasons: dict[str, str] = {}
        self._clock = clock
        self._call_later = call_later
        self._lines: dict[type[SimulatorError], RepeatedLines] = {}

    @property
    def reasons(self) -> Mapping[str, str]:
        """{simulator: why it was refused}, newest last."""
        return dict(self._reasons)

    def log(self, error: SimulatorError) -> None:
        """Log a refusal and its reason; of many in a minute, log only how many they were.

        Only the first wrong token of a minute is logged: anyone who reaches the port can send many.
        """
        kind = type(error)
        if kind not in self._lines:
            most = 1 if kind is UnauthenticatedError else MOST_LINES
            self._lines[kind] = RepeatedLines(
                most=most, clock=self._clock, call_later=self._call_later
            )
        self._lines[kind].warn(f"refused: {error}")

    def flush(self) -> None:
        """Log what was only counted so far."""
        for lines in self._lines.values():
            lines.flush()

    def note(self, simulator: str, reason: str) -> None:
        """It was refused; the oldest refusal is dropped if there are too many."""
        self._reasons.pop(simulator, None)
        self._reasons[simulator] = reason
        if len(self._reasons) > self._most:
            del self._reasons[next(iter(self._reasons))]

    def forget(self, simulator: str) -> None:
        """It has joined since."""
        self._reasons.pop(simulator, None)
