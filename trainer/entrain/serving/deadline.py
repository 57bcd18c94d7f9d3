"""One timer that is set again whenever the next deadline changes."""

from collections.abc import Callable

from entrain.serving.batcher import CallLater, Timer


class Deadline:
    """One timer, set again and again. Owned by the event loop."""

    def __init__(
        self,
        on_over: Callable[[], None],
        *,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        """Not set.

        Args:
            on_over: called when the time is over.
            clock: seconds.
            call_later: how to be called back after seconds.
        """
        self._on_over = on_over
        self._clock = clock
        self._call_later = call_later
        self._timer: Timer | None = None

    def set(self, at_s: float) -> None:
        """Call back at that time instead of any other; never if it is infinite."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at_s < float("inf"):
            delay_s = max(0.0, at_s - self._clock())
            self._timer = self._call_later(delay_s, self._on_over)
