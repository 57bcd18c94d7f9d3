"""Requests of rank 0 to a rank: done at once or once the run trains, and not after its end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


class Errands:
    """Things to do in a group of tasks that is there while the run trains.

    Owned by the event loop.
    """

    def __init__(self) -> None:
        """Nothing is asked yet, and the run does not train."""
        self._group: asyncio.TaskGroup | None = None
        self._early: list[Callable[[], None]] = []
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Errands: {len(self._early)} wait>"

    def do(self, errand: Callable[[], None]) -> None:
        """Do it now, or once the run trains; nothing if the run trains no more."""
        if self._is_over:
            return
        if self._group is None:
            self._early.append(errand)
        else:
            errand()

    def begin(self, work: Coroutine[None, None, None]) -> None:
        """Begin a task of an errand; it ends with the block at the latest."""
        assert self._group is not None, "the run does not train"
        self._group.create_task(work)

    @asynccontextmanager
    async def done(self) -> AsyncIterator[None]:
        """The run trains: within the block, errands are done, first those that wait."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            early, self._early = self._early, []
            for errand in early:
                errand()
            try:
                yield
            finally:
                # Messages go on to arrive while the tasks end, and after it.
                self._is_over = True
