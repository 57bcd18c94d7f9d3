"""When a checkpoint of a run is due, and the writing of it: in a thread, one at a time.

Nothing here knows what a state holds, or whether now is a moment at which one can be taken.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from entrain.app.folder_keeper import Keeper, Unkept
from entrain.config.run import CheckpointsConfig
from entrain.errors import DiskError
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.folder import RunFolder
from entrain.state import State

logger = logging.getLogger(__name__)

FIRST_S = 60.0
"""The first checkpoint of a sitting comes this long after its first env step, if no update was done
before."""

RETRY_S = 30.0
"""Time between two tries while the disk refuses."""


class Store(Protocol):
    """Writes checkpoints. See `run.checkpoint.CheckpointStore`."""

    def save(self, state: State, *, step: int) -> Path:
        """Write `state` as the newest checkpoint; DiskError if the disk refuses."""
        ...


class Checkpointing:
    """Writes a checkpoint every so many env steps or minutes, an early first one, and a last one.

    Owned by the event loop.
    """

    def __init__(
        self,
        store: Store,
        *,
        every_steps: int,
        every_s: float = math.inf,
        saved_at: int = 0,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write nothing yet.

        Args:
            store: writes checkpoints; used by one thread at a time.
            every_steps: env steps between the beginnings of two checkpoints.
            every_s: seconds between them, if they are over earlier.
            saved_at: env steps of the checkpoint that the run goes on from.
            keeper: looks after the folder of the run.
            clock: seconds.
        """
        self._store = store
        self._every_steps = every_steps
        self._every_s = every_s
        self._keeper = keeper or Unkept()
        self._clock = clock
        self._saved_at = saved_at
        self._saved_s = clock()
        self._has_any = False
        self._is_wanted = False
        self._first_step_s = math.inf
        self._refused_s = -math.inf
        self._is_refused = False
        self._writing: asyncio.Task[None] | None = None
        self._askers: list[asyncio.Future[Path]] = []
        self.on_saved: Callable[[Path, int], None] = _nothing
        """Called with each checkpoint that was written, and its env steps; it never raises."""
        self.newest: Path | None = None
        """The newest checkpoint that was written here."""

    def __repr__(self) -> str:
        return f"<Checkpointing: every {self._every_steps:,} env steps, last at {self._saved_at:,}>"

    @property
    def saved_at(self) -> int:
        """Env steps at which the newest checkpoint was begun; 0 if there is none."""
        return self._saved_at

    def look(self) -> None:
        """See that the run folder is whole; else the next checkpoint is due at once.

        Raises:
            InUseError, DiskError: see `Keeper.look`.
        """
        if self._keeper.look(self.newest):
            self._is_wanted = True

    def want(self) -> None:
        """Request a checkpoint, which is due as soon as a state can be taken."""
        self._is_wanted = True

    async def write(self) -> Path:
        """Have a checkpoint of now written, and wait for it; DiskError if the disk refuses."""
        self.want()
        asked: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        self._askers.append(asked)
        return await asked

    def note_update(self) -> None:
        """A policy has learned: the first checkpoint is due, also after a resume.

        Without it, a run that is killed again and again within minutes would never come further.
        """
        self._is_wanted = self._is_wanted or not self._has_any

    def save_if_due(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """Begin a checkpoint, unless it is too early or the one before is still being written.

        Args:
            env_steps: done so far.
            take_state: called before this returns, if a checkpoint is begun.
        """
        if env_steps > self._saved_at and self._first_step_s == math.inf:
            self._first_step_s = self._clock()
        is_writing = self._writing is not None and not self._writing.done()
        if not is_writing and self._is_due(env_steps):
            before = self._saved_at, self._saved_s, self._has_any
            self._saved_at, self._saved_s, self._has_any = env_steps, self._clock(), True
            self._is_wanted = False
            askers, self._askers = self._askers, []
            self._writing = asyncio.create_task(
                self._write(take_state(), env_steps, before, askers)
            )

    def _is_due(self, env_steps: int) -> bool:
        now_s = self._clock()
        if now_s - self._refused_s < RETRY_S:
            return False
        if self._is_wanted or self._is_refused:
            return True
        if not self._has_any and now_s - self._first_step_s >= FIRST_S:
            return True
        if env_steps - self._saved_at >= self._every_steps:
            return True
        # While nothing happens, the checkpoint that there is holds everything.
        return env_steps > self._saved_at and now_s - self._saved_s >= self._every_s

    async def finish(self) -> None:
        """Wait until the checkpoint that is being written, if there is one, is on the disk."""
        if self._writing is not None:
            await self._writing

    async def save_last(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """Write a checkpoint after the one that is being written; DiskError if that fails."""
        await self.finish()
        self.look()
        path = await asyncio.to_thread(self._store.save, take_state(), step=env_steps)
        self._saved_at, self.newest = env_steps, path
        logger.info("saved %s", path)
        self.on_saved(path, env_steps)

    async def _write(
        self,
        state: State,
        env_steps: int,
        before: tuple[int, float, bool],
        askers: Sequence[asyncio.Future[Path]],
    ) -> None:
        try:
            self.newest = await asyncio.to_thread(self._store.save, state, step=env_steps)
        except DiskError as error:
            # The disk may have room again later; until then the run goes on.
            self._saved_at, self._saved_s, self._has_any = before
            self._refused_s = self._clock()
            if not self._is_refused:
                logger.error(
                    "%s; training goes on, and it is tried again every %g s", error, RETRY_S
                )
            self._is_refused = True
            for asker in askers:
                if not asker.done():
                    asker.set_exception(error)
        else:
            if self._is_refused:
                logger.info("checkpoints can be written again: %s", self.newest)
            self._is_refused = False
            self.on_saved(self.newest, env_steps)
            for asker in askers:
                if not asker.done():
                    asker.set_result(self.newest)


def _nothing(path: Path, env_steps: int) -> None:
    pass


def make_checkpointing(
    options: CheckpointsConfig, folder: RunFolder, keeper: Keeper, restored: Loaded | None
) -> Checkpointing:
    """Makes the checkpointing of a run, which may go on from the checkpoint `restored`."""
    return Checkpointing(
        CheckpointStore(folder.checkpoints, keep=options.keep, check=keeper.check),
        every_steps=options.every_steps,
        every_s=60.0 * options.every_minutes or math.inf,
        saved_at=0 if restored is None else restored.step,
        keeper=keeper,
    )
