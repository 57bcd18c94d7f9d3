"""When something is due that happens each time so many steps are over."""


class Interval:
    """Counts in whole intervals from 0: what is late is done once, and not made up for."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.due = steps
        """Step at which it is due next."""

    def begin_at(self, step: int) -> None:
        """Go on where so many steps are done."""
        self.due = step + self._steps - step % self._steps

    def pass_at(self, step: int) -> int:
        """Returns the step that was due, `step` being there; the next one is after `step`."""
        was_due = self.due
        self.begin_at(step)
        return was_due
