"""Checkpoints of a run of several ranks: rank 0 writes what all ranks send it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from entrain.app.checkpointing import Checkpointing
from entrain.state import State


class AllStates(Protocol):
    """Gathers the states of all ranks. See `Together`."""

    async def snapshot(self) -> State | None: ...
    async def last_state(self, take_state: Callable[[], State]) -> State: ...


class SharedCheckpointing(Checkpointing):
    """Checkpoints of all ranks. Rank 0 decides when, and writes; the others send their states."""

    def __init__(
        self,
        made: Checkpointing,
        states: AllStates,
        send_last: Callable[[], Awaitable[None]],
        note_last: Callable[[State], None],
        *,
        is_first: bool,
    ) -> None:
        """As `made`, for several ranks.

        Args:
            made: for a run of one.
            states: of all ranks.
            send_last: on other ranks than the first, sends rank 0 the last state.
            note_last: told the last state of all ranks, on rank 0.
            is_first: on rank 0.
        """
        vars(self).update(vars(made))
        self._states = states
        self._send_last = send_last
        self._note_last = note_last
        self._is_first = is_first

    def look(self) -> None:
        """See that the folder is whole, where it is written to."""
        if self._is_first:
            super().look()

    def save_if_due(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """Begin a checkpoint if one is due; its state is taken once all ranks can."""
        del take_state
        if self._is_first:
            super().save_if_due(env_steps, dict)

    async def _write(
        self,
        state: State,
        env_steps: int,
        before: tuple[int, float, bool],
        askers: Sequence[asyncio.Future[Path]],
    ) -> None:
        found = await self._states.snapshot()
        if found is None:
            # The last checkpoint will have it.
            self._saved_at, self._saved_s, self._has_any = before
            self._askers = [*askers, *self._askers]
            return
        await super()._write({**state, **found}, env_steps, before, askers)

    async def save_last(self, env_steps: int, take_state: Callable[[], State]) -> None:
        """See `Checkpointing.save_last`."""
        if not self._is_first:
            await self._send_last()
            return
        await self.finish()
        state = await self._states.last_state(take_state)
        await super().save_last(env_steps, lambda: state)
        self._note_last(state)

    async def finish(self) -> None:
        """See `Checkpointing.finish`; what rank 0 does not write is sent all the same."""
        await super().finish()
        if not self._is_first:
            await self._send_last()
