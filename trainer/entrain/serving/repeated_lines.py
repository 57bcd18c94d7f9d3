"""Log lines of one kind, of which a stranger can cause any number: the first ones, then a count."""

import logging
from collections.abc import Callable

from entrain.serving.batcher import CallLater
from entrain.serving.deadline import Deadline

logger = logging.getLogger(__name__)

EVERY_S = 60.0
"""Time after which the others are counted, and the next ones logged again."""


class RepeatedLines:
    """Logs the first lines in a minute, then how many more there were. Owned by the event loop."""

    def __init__(self, *, most: int, clock: Callable[[], float], call_later: CallLater) -> None:
        """None yet.

        Args:
            most: lines that are logged in a minute.
            clock: seconds.
            call_later: how to be called back after seconds.
        """
        self._most = most
        self._clock = clock
        self._deadline = Deadline(self.flush, clock=clock, call_later=call_later)
        self._logged = 0
        self._more = 0
        self._newest = ""
        self._until_s = float("-inf")

    def warn(self, line: str) -> None:
        """Log a warning, or count it."""
        if self._clock() >= self._until_s:
            self.flush()
            self._until_s = self._clock() + EVERY_S
        if self._logged < self._most:
            self._logged += 1
            logger.warning("%s", line)
            return
        if not self._more:
            self._deadline.set(self._until_s)
        self._more += 1
        self._newest = line

    def flush(self) -> None:
        """Log how many lines were only counted, and begin anew."""
        self._deadline.set(float("inf"))
        more, self._more, self._logged = self._more, 0, 0
        self._until_s = float("-inf")
        if more:
            logger.warning("%s more like it in the last minute, the newest: %s", more, self._newest)
