"""The tasks in which the trainers of a run serve their behaviours."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager

from entrain.app.trainers import Trainers
from entrain.serving.behaviours import Behaviour

logger = logging.getLogger(__name__)

Work = Coroutine[None, None, None]


class ServingTasks:
    """One task for each behaviour, while the run trains. Owned by the event loop."""

    def __init__(
        self, trainers: Trainers, *, guard: Callable[[Work], Work], announced: Callable[[], None]
    ) -> None:
        """Begin with no behaviour.

        Args:
            trainers: of the run.
            guard: does the work of a trainer, and deals with how it fails.
            announced: called once new behaviours were announced.
        """
        self._trainers = trainers
        self._guard = guard
        self._announced = announced
        self._behaviours: dict[str, Behaviour] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, behaviours: Sequence[Behaviour]) -> None:
        """Serve these too; their trainers have been made."""
        self._behaviours.update({behaviour.name: behaviour for behaviour in behaviours})
        if self._group is not None:
            self._start(behaviours, self._group)

    def also(self, work: Work) -> None:
        """Do this, too, before `drain` is over; nothing if the trainers' loops have ended."""
        if self._group is None:
            work.close()
        else:
            self._tasks.append(self._group.create_task(self._guard(work)))

    @contextmanager
    def within(self, group: asyncio.TaskGroup) -> Iterator[None]:
        """Serve all behaviours in this group; those that come after the block are not served."""
        self._group = group
        try:
            self._start(tuple(self._behaviours.values()), group)
            yield
        finally:
            self._group = None

    def _start(self, behaviours: Sequence[Behaviour], group: asyncio.TaskGroup) -> None:
        # Soon: whoever brought the behaviours has then joined.
        asyncio.get_running_loop().call_soon(self._announce, behaviours)
        for behaviour in behaviours:
            trainer = self._trainers.by_name[behaviour.name]
            running = self._guard(trainer.run(behaviour.batcher))
            self._tasks.append(group.create_task(running))

    def _announce(self, behaviours: Sequence[Behaviour]) -> None:
        for behaviour in behaviours:
            logger.info("new behaviour: %s", behaviour.spec)
        self._announced()

    async def drain(self, *, timeout_s: float) -> None:
        """Wait for running updates, and let them give up after `timeout_s`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        if not all(task.done() for task in self._tasks):
            logger.warning(
                "the update takes longer than stop_timeout_s %g: it is given up, and done "
                "again when the run is resumed",
                timeout_s,
            )
            self._trainers.interrupt()

    def release(self) -> None:
        """Drop the open steps of agents that left after the last batch.

        A trainer learns from a batch who left, and there is no batch after the last one.
        """
        for name, behaviour in self._behaviours.items():
            self._trainers.by_name[name].release(behaviour.slots.take_released)
