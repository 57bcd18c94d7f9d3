"""A run that is paused: its simulators wait for their actions, and time does not count.

It holds between two batches. A batch that is out is answered first, an update that runs is done;
then nothing moves, so that the run may be saved, and stopped, as at any other moment. Nothing is
dropped or counted meanwhile, and nobody is given up for being silent.
"""

import logging
import time
from collections.abc import Callable

from entrain.app.run_clock import RunClock
from entrain.app.trainers import Trainers
from entrain.errors import ConfigError
from entrain.run.quantities import duration
from entrain.serving.participants import Participants

logger = logging.getLogger(__name__)


class Pause:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        trainers: Trainers,
        participants: Participants,
        clock: RunClock,
        *,
        leave_out: Callable[[float], None],
    ) -> None:
        """The run goes on.

        Args:
            trainers: of the run.
            participants: of the run.
            clock: of the run.
            leave_out: told for how many seconds the run was paused.
        """
        self._trainers = trainers
        self._participants = participants
        self._clock = clock
        self._leave_out = leave_out
        self.since = 0.0
        """When the newest pause began, in seconds since 1970."""

    def __repr__(self) -> str:
        return f"<Pause: {'held' if self.is_held else 'goes on'}>"

    @property
    def is_held(self) -> bool:
        """Whether the run is to stand still."""
        return self._participants.is_held

    @property
    def is_settled(self) -> bool:
        """Whether it does: every batch is answered, and no update runs."""
        learns = any(each.is_busy for each in self._trainers.by_name.values())
        return self.is_held and not learns and not self._participants.behaviours.has_batch_out

    def hold(self) -> bool:
        """Pause; returns False if the run is paused already. ConfigError if it is ending."""
        if self._participants.is_paused:
            raise ConfigError("the run is ending and cannot be paused any more")
        if self.is_held:
            return False
        self.since = time.time()
        self._participants.hold()
        self._clock.hold()
        for trainer in self._trainers.by_name.values():
            trainer.hold()
        logger.info(
            "paused: simulators wait for their actions until the run is told to go on; it can be "
            "saved and stopped meanwhile"
        )
        return True

    def go_on(self) -> bool:
        """Go on; returns False if the run is not paused."""
        if not self.is_held:
            return False
        seconds = self.end()
        logger.info("the run goes on after a pause of %s", duration(seconds))
        return True

    def end(self) -> float:
        """End a pause, also because the run ends; returns how many seconds it lasted."""
        if not self.is_held:
            return 0.0
        seconds = self._clock.go_on()
        for trainer in self._trainers.by_name.values():
            trainer.go_on()
        self._leave_out(seconds)
        self._participants.go_on()
        return seconds
