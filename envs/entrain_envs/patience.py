"""How long and how often to dial a trainer that does not answer.

The clock and the sleep function are passed in.
"""

import math
import os
import random
from collections.abc import Callable

from entrain_envs.errors import OptionError

RECONNECT_VARIABLE = "ENTRAIN_RECONNECT_S"
"""Environment variable; a trainer sets it to 0 for the simulators that it launches."""

FIRST_DELAY_S = 0.1
"""Wait before the second try; each later wait is twice as long as the one before."""

LONGEST_DELAY_S = 2.0
"""Longest wait, before jitter."""

HELD_S = 10.0
"""A stream that was whole for longer than this has ended the trouble before it."""


class Patience:
    """Exponential back-off with jitter, up to a total time. The first try never waits.

    The time begins anew after a stream that held.
    """

    def __init__(
        self, total_s: float, *, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self.total_s = total_s
        self._clock = clock
        self._sleep = sleep
        self.renew()

    def renew(self) -> None:
        """All of the time is there again, from now on."""
        self._deadline_s = self._clock() + self.total_s
        self._delay_s = 0.0
        self._whole_since_s = math.inf

    def note_stream(self) -> None:
        """There is a stream now. Should it break, `wait` is called again."""
        self._whole_since_s = self._clock()

    def wait(self) -> bool:
        """Sleep until the next try; false if the time is over."""
        if self._clock() - self._whole_since_s > HELD_S:
            self.renew()
        self._whole_since_s = math.inf
        if self._delay_s > 0.0:
            left_s = self._deadline_s - self._clock()
            if left_s <= 0.0:
                return False
            # Jitter, so that simulators that lost a trainer together do not dial it together.
            self._sleep(min(left_s, self._delay_s * random.uniform(0.5, 1.5)))
        self._delay_s = min(LONGEST_DELAY_S, max(FIRST_DELAY_S, 2.0 * self._delay_s))
        return True

    def limit(self, timeout_s: float) -> float:
        """`timeout_s` or the time left, whichever is less, but at least a second."""
        return max(1.0, min(timeout_s, self._deadline_s - self._clock()))


def usual_reconnect_s() -> float:
    """Seconds to wait for a trainer that went away, unless a simulator says otherwise.

    OptionError if the variable holds no such number.
    """
    text = os.environ.get(RECONNECT_VARIABLE) or "60"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0.0:
        raise OptionError(f"${RECONNECT_VARIABLE} is '{text}'; it must be a number of seconds")
    return seconds
