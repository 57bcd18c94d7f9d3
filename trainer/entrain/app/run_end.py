"""Decides when a run ends, and why: its policies are done, no simulator is left, or none learns."""

import asyncio
from collections.abc import Callable, Coroutine

from entrain.app.trainers import Trainers
from entrain.errors import NoSimulatorError, TrainingDivergedError
from entrain.run.summary import Outcome


class RunEnd:
    """The end of one run, and its cause. Owned by the event loop."""

    def __init__(self, trainers: Trainers, *, pause: Callable[[], None]) -> None:
        """Start with a run that goes on.

        Args:
            trainers: of the run.
            pause: lets no further steps in.
        """
        self._trainers = trainers
        self._pause = pause
        self.over = asyncio.Event()
        """Set once the run has ended by itself."""
        self._is_complete = False
        self._failure: NoSimulatorError | TrainingDivergedError | None = None

    def __repr__(self) -> str:
        return f"<RunEnd: {self._failure or self.over.is_set()}>"

    @property
    def has_diverged(self) -> bool:
        """Whether the run ended because a policy diverged."""
        return isinstance(self._failure, TrainingDivergedError)

    async def until_failure(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`; end the run, to be saved, if no simulator is left or no policy learns."""
        try:
            await work
        except NoSimulatorError as error:
            self._failure = self._failure or error
            self.over.set()
        except TrainingDivergedError:
            self._failure = self._trainers.divergence
            self.over.set()

    def note_completion(self) -> None:
        """End the run once every policy has its total steps, or has diverged."""
        if self._trainers.are_all_complete():
            self._is_complete = True
            self._failure = self._trainers.divergence or self._failure
            # Now: the number of steps after the end must not depend on who is faster.
            self._pause()
            self.over.set()

    def outcome(self, *, is_asked: bool) -> Outcome:
        """The run's outcome; `is_asked` if it was told to stop."""
        if self._is_complete and not self.has_diverged:
            return "completed"
        return "stopped" if is_asked and not self.has_diverged else "failed"

    def raise_failure(self) -> None:
        """Raise the error that ended the run, if there is one."""
        if self._failure is not None:
            raise self._failure
