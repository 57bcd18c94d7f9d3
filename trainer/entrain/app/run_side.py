"""The side of a training run that other ranks see. See `apart.RunPart`."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from entrain.app.run_end import RunEnd
from entrain.app.serving_tasks import ServingTasks
from entrain.app.trainers import Trainers
from entrain.errors import EntrainError
from entrain.serving.participants import Participants
from entrain.state import State
from entrain.trainer import Trainer
from entrain_envs.spec import BehaviourSpec


class RunSide:
    """One run, as `Together` sees it. Owned by the event loop."""

    def __init__(
        self,
        trainers: Trainers,
        participants: Participants,
        end: RunEnd,
        tasks: ServingTasks,
        state: Callable[[], State],
    ) -> None:
        """Take the parts of a run."""
        self._trainers = trainers
        self._participants = participants
        self._end = end
        self._tasks = tasks
        self.state = state
        """Of the run."""

    @property
    def trainers(self) -> Mapping[str, Trainer[Any]]:
        """{behaviour: its trainer}."""
        return self._trainers.by_name

    async def admit(self, spec: BehaviourSpec, *, who: str) -> None:
        """Serve a behaviour that another rank's simulators have brought."""
        behaviours = self._participants.behaviours
        async with behaviours.preparing([spec]):
            behaviours.admit([spec], who=who)

    def fail(self, error: EntrainError) -> None:
        """End the run, to be saved, and raise `error` then."""
        self._end.fail(error)

    def serve_also(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside the trainers' loops, and not end before it is done."""
        self._tasks.also(work)

    def note_completion(self) -> None:
        """End the run, if its policies are done on all ranks."""
        self._end.note_completion()
