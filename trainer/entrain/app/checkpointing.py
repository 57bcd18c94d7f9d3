"""When a checkpoint of a run is due, and the writing of it: in a thread, one at a time.

Nothing here knows what a state holds, or whether now is a moment at which one can be taken.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from entrain.errors import DiskError
from entrain.state import State

logger = logging.getLogger(__name__)


class Store(Protocol):
    """Writes checkpoints. See `run.checkpoint.CheckpointStore`."""

    def save(self, state: State, *, step: int) -> Path:
        """Write `state` as the newest checkpoint; DiskError if the disk refuses."""
        ...


class Checkpointing:
    """Writes a checkpoint every so many env steps, and a last one. Owned by the event loop."""

    def __init__(self, store: Store, *, every_steps: int, saved_at: int = 0) -> None:
        """Write nothing yet.

        Args:
            store: writes checkpoints; used by one thread at a time.
            every_steps: env steps between the beginnings of two checkpoints.
            saved_at: env steps of the checkpoint that the run goes on from.
        """
        self._store = store
        self._every_steps = every_steps
        self._saved_at = saved_at
        self._writing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Checkpointing: every {self._every_steps:,} env steps, last at {self._saved_at:,}>"

    @property
    def saved_at(self) -> int:
        """Env steps at which the newest checkpoint was begun."""
        return self._saved_at

    def save_if_due(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """Begin a checkpoint, unless it is too early or the one before is still being written.

        Args:
            env_steps: done so far.
            take_state: called before this returns, if a checkpoint is begun.
        """
        is_writing = self._writing is not None and not self._writing.done()
        if env_steps - self._saved_at >= self._every_steps and not is_writing:
            self._saved_at = env_steps
            self._writing = asyncio.create_task(self._write(take_state(), env_steps))

    async def finish(self) -> None:
        """Wait until the checkpoint that is being written, if there is one, is on the disk."""
        if self._writing is not None:
            await self._writing

    async def save_last(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """Write a checkpoint after the one that is being written; DiskError if that fails."""
        await self.finish()
        path = await asyncio.to_thread(self._store.save, take_state(), step=env_steps)
        self._saved_at = env_steps
        logger.info("saved %s", path)

    async def _write(self, state: State, env_steps: int) -> None:
        try:
            await asyncio.to_thread(self._store.save, state, step=env_steps)
        except DiskError as error:
            # The disk may have room again at the next checkpoint; until then the run goes on.
            logger.error("%s; training goes on", error)
