"""Decides when a run ends, and why: its policies are done, no simulator is left, or none learns."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from entrain.app.trainers import Trainers
from entrain.errors import EntrainError, NoSimulatorError, TrainingDivergedError
from entrain.run.summary import Outcome

logger = logging.getLogger(__name__)


class RunEnd:
    """The end of one run, and its cause. Owned by the event loop."""

    def __init__(
        self,
        trainers: Trainers,
        *,
        pause: Callable[[], None],
        is_done_by_all: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start with a run that goes on.

        Args:
            trainers: of the run.
            pause: lets no further steps in.
            is_done_by_all: asked when all policies are done: whether they are on all ranks.
        """
        self._is_done_by_all = is_done_by_all
        self._trainers = trainers
        self._pause = pause
        self.over = asyncio.Event()
        """Set once the run has ended by itself."""
        self._is_complete = False
        self.is_reached = False
        """Whether it was ended because its policies are good enough."""
        self.failure: EntrainError | None = None
        """The error of a run that has failed and is saved."""

    def __repr__(self) -> str:
        return f"<RunEnd: {self.failure or self.over.is_set()}>"

    @property
    def has_diverged(self) -> bool:
        """Whether the run ended because a policy diverged."""
        return isinstance(self.failure, TrainingDivergedError)

    async def until_failure(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`; end the run, to be saved, if no simulator is left or no policy learns."""
        try:
            await work
        except NoSimulatorError as error:
            self.fail(error)
        except TrainingDivergedError:
            self.failure = self._trainers.divergence
            self.over.set()

    def fail(self, error: EntrainError) -> None:
        """End the run, to be saved; `raise_failure` then raises `error`."""
        self.failure = self.failure or error
        self.over.set()

    def reach(self, words: str) -> None:
        """End the run: its policies are good enough; `words` say what they have reached."""
        if self.over.is_set():
            return
        logger.info("%s: the run is complete", words)
        self._pause()
        self._is_complete = self.is_reached = True
        self.over.set()

    def note_completion(self) -> None:
        """End the run once every policy has its total steps, or has diverged."""
        if not self._trainers.are_all_complete():
            return
        # Now: the number of steps after the end must not depend on who is faster.
        self._pause()
        if self._is_done_by_all():
            self._is_complete = True
            self.failure = self._trainers.divergence or self.failure
            self.over.set()

    def outcome(self, *, is_asked: bool) -> Outcome:
        """The run's outcome; `is_asked` if it was told to stop."""
        if self._is_complete and not self.has_diverged:
            return "completed"
        return "stopped" if is_asked and not self.has_diverged else "failed"

    def raise_failure(self) -> None:
        """Raise the error that ended the run, if there is one."""
        if self.failure is not None:
            raise self.failure
