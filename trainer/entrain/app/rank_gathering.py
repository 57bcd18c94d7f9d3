"""Brings the states of all ranks together for a checkpoint, until the run ends or a rank fails."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entrain.app.rank_hub import RankHub
from entrain.app.rank_link import RankLink
from entrain.app.rank_messages import Message
from entrain.app.rank_state_parts import LAST
from entrain.app.rank_states import of_all
from entrain.errors import EntrainError, RankFailedError, RankLostError
from entrain.ranked_trainer import RankedTrainer
from entrain.run.state_files import decode_state, encode_state
from entrain.state import State

LAST_S = 120.0
"""How long the end of a run waits for the state of another rank, or for rank 0 to have saved it."""


class Gathering:
    """One rank's part in it. Owned by the event loop."""

    def __init__(self, link: RankLink) -> None:
        """Gather nothing yet.

        Args:
            link: to rank 0.
        """
        self._link = link
        self.hub: RankHub | None = None
        """The hub; on rank 0 alone, and only once it listens."""
        self.error: EntrainError | None = None
        """Why all ranks end, if one has failed."""
        self._failed = asyncio.Event()
        self._concluded = asyncio.Event()
        self._conclusion: Mapping[str, Any] = {}
        self._snapshots = 0

    def fail(self, error: EntrainError) -> None:
        """A rank has failed: wait for nothing any more."""
        self.error = self.error or error
        self._failed.set()
        self._concluded.set()

    async def until_failure(self) -> None:
        """Never returns; raises once a rank has failed or rank 0 is lost."""
        assert self._link.lost is not None, "not connected"
        failed = asyncio.ensure_future(self._failed.wait())
        either: list[asyncio.Future[Any]] = [failed, self._link.lost]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed.cancel()
        if self._link.lost.done():
            self.fail(RankLostError(str(self._link.lost.exception())))
        assert self.error is not None, "no failure"
        raise self.error

    def conclude(self, message: Message) -> None:
        """Rank 0 has saved the run, or failed to."""
        self._conclusion = message.fields
        self._concluded.set()

    async def take(
        self,
        number: int,
        trainers: Callable[[], Sequence[RankedTrainer[Any]]],
        take_state: Callable[[], State],
    ) -> None:
        """Send the state of this rank for a snapshot, once no update runs; rank 0 keeps its own."""
        while not all(trainer.has_state for trainer in trainers()):
            for trainer in trainers():
                await trainer.stand_still()
        state = take_state()
        self._link.say("taken")
        await self._send(number, state)

    async def _send(self, number: int, state: State) -> None:
        if self.hub is not None:
            self.hub.states.put(0, number, state)
            return
        document, tensors = await asyncio.to_thread(encode_state, state)
        self._link.send_state(number, len(document).to_bytes(8, "big") + document + tensors)

    async def snapshot(self) -> State | None:
        """The state of all ranks, at one moment between updates; None if the run ends before."""
        assert self.hub is not None, "rank 0 writes"
        self._snapshots += 1
        self.hub.snapshot(self._snapshots)
        return await self._of_all(self._snapshots)

    async def last_state(self, take_state: Callable[[], State]) -> State:
        """The state of all ranks at the end; RankLostError if one sends none."""
        assert self.hub is not None, "rank 0 writes"
        await self._send(LAST, take_state())
        try:
            found = await asyncio.wait_for(self._of_all(LAST), LAST_S)
        except TimeoutError:
            found = None
        if found is None:
            raise self.error or RankLostError(
                f"not every rank sent its state within {LAST_S:g} s: nothing is saved, and the "
                "checkpoint before stands"
            )
        return found

    async def _of_all(self, number: int) -> State | None:
        assert self.hub is not None, "rank 0 writes"
        found = await self.hub.states.of_all(number)
        if found is None:
            return None
        return await asyncio.to_thread(lambda: of_all([found[0], *map(_decoded, found[1:])]))

    async def send_last(self, take_state: Callable[[], State]) -> None:
        """Send the state of this rank, and wait until rank 0 has saved it."""
        await self._send(LAST, take_state())
        assert self._link.lost is not None, "not connected"
        concluded = asyncio.ensure_future(self._concluded.wait())
        either: list[asyncio.Future[Any]] = [concluded, self._link.lost]
        await asyncio.wait(either, timeout=LAST_S, return_when=asyncio.FIRST_COMPLETED)
        concluded.cancel()
        if self.error is not None:
            raise self.error
        if not self._conclusion:
            raise RankLostError("rank 0 was lost before it had saved the run")
        if code := int(self._conclusion["exit_code"]):
            raise RankFailedError(f"rank 0 failed: {self._conclusion['reason']}", exit_code=code)


def _decoded(content: bytes) -> State:
    length = int.from_bytes(content[:8], "big")
    return decode_state(content[8 : 8 + length], content[8 + length :])
