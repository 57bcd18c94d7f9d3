"""Brings the states of all ranks together for a checkpoint, until the run ends or a rank fails."""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from entrain.app.rank_hub import RankHub
from entrain.app.rank_link import RankLink
from entrain.app.rank_messages import Message
from entrain.app.rank_state_parts import LAST, MIB
from entrain.app.rank_states import of_all
from entrain.errors import EntrainError, RankFailedError, RankLostError
from entrain.ranked_trainer import RankedTrainer
from entrain.run.array_file import BytesSource
from entrain.run.state_files import decode_state, encode_in_pieces
from entrain.state import State

LAST_S = 120.0
"""How long the end of a run waits while no part of another rank's state comes, or rank 0 says
nothing of saving it."""

LEAST_BYTES_PER_S = 4 << 20
"""Rank 0 is given the time to write the states of all at this rate."""


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
        self._heard = asyncio.Event()
        """Rank 0 has said something of saving the run."""
        self._saving_bytes = 0
        """Of the states of all ranks that rank 0 had then."""
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

    def note_saving(self, message: Message) -> None:
        """Rank 0 has so much of the states of all ranks."""
        self._saving_bytes = int(message.fields["num_bytes"])
        self._heard.set()

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
        if self.hub is not None and number != LAST:
            self.hub.keep(number, state)
            return
        document, tensors = await asyncio.to_thread(encode_in_pieces, state)
        head = len(document).to_bytes(8, "big") + document
        num_bytes = len(head) + tensors.num_bytes
        if self.hub is not None:
            self.hub.keep(number, state, num_bytes=num_bytes)
            return
        pieces = itertools.chain([head], tensors.pieces())
        await self._unless_over(self._link.send_state(number, pieces, num_bytes=num_bytes))

    async def _unless_over(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, but no longer than until a rank has failed or rank 0 is lost.

        A connection that ends meanwhile is told of by `until_failure`.
        """
        assert self._link.lost is not None, "not connected"
        doing = asyncio.ensure_future(work)
        failed = asyncio.ensure_future(self._failed.wait())
        either: list[asyncio.Future[Any]] = [doing, failed, self._link.lost]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            failed.cancel()
            doing.cancel()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await doing

    async def snapshot(self) -> State | None:
        """The state of all ranks, at one moment between updates; None if the run ends before."""
        assert self.hub is not None, "rank 0 writes"
        self._snapshots += 1
        self.hub.snapshot(self._snapshots)
        return await self._of_all(self._snapshots)

    async def last_state(self, take_state: Callable[[], State]) -> State:
        """The state of all ranks at the end.

        Raises:
            RankLostError: one has failed, or no part of what is awaited came for `LAST_S`.
        """
        assert self.hub is not None, "rank 0 writes"
        await self._send(LAST, take_state())
        try:
            found = await self._of_all(LAST, patience_s=LAST_S)
        except TimeoutError:
            raise self.error or RankLostError(
                f"the end of the run awaits the state of {self.hub.states.awaited(LAST)}, and no "
                f"more of it came for {LAST_S:g} s: nothing is saved, and the checkpoint before "
                "stands; see whether that rank still runs, and to the network between"
            ) from None
        if found is None:
            raise self.error or RankLostError(
                "the run failed before every rank had sent its state: nothing is saved, and the "
                "checkpoint before stands"
            )
        return found

    async def _of_all(self, number: int, *, patience_s: float = math.inf) -> State | None:
        assert self.hub is not None, "rank 0 writes"
        found = await self.hub.states.of_all(number, patience_s=patience_s)
        if found is None:
            return None
        return await asyncio.to_thread(lambda: of_all([found[0], *map(_decoded, found[1:])]))

    async def send_last(self, take_state: Callable[[], State]) -> None:
        """Send the state of this rank, and wait until rank 0 has saved it.

        Raises:
            RankLostError: rank 0 is lost, or says for too long nothing of saving.
            RankFailedError: rank 0 has not saved it.
        """
        await self._send(LAST, take_state())
        if not self._concluded.is_set():
            await self._unless_over(self._conclusion_of_rank_0())
        if self.error is not None:
            raise self.error
        if not self._conclusion:
            raise RankLostError("rank 0 was lost before it had saved the run")
        if code := int(self._conclusion["exit_code"]):
            raise RankFailedError(f"rank 0 failed: {self._conclusion['reason']}", exit_code=code)

    async def _conclusion_of_rank_0(self) -> None:
        """Wait for it, as long as rank 0 receives states or may be writing those that it has."""
        hearing = asyncio.ensure_future(self._concluded.wait())
        try:
            while not hearing.done():
                self._heard.clear()
                patience_s = LAST_S + self._saving_bytes / LEAST_BYTES_PER_S
                heard = asyncio.ensure_future(self._heard.wait())
                either = {hearing, heard}
                done, _ = await asyncio.wait(
                    either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
                )
                heard.cancel()
                if not done:
                    raise RankLostError(
                        f"rank 0 has not saved the run, and said nothing of it for "
                        f"{patience_s:,.0f} s; {self._saving_bytes / MIB:,.1f} MiB of the states "
                        "of all ranks had come to it; see its log, its disk, and the network "
                        "between"
                    )
        finally:
            hearing.cancel()


def _decoded(content: bytearray) -> State:
    """The state of another rank; its largest arrays stay where they came."""
    whole = memoryview(content)
    begin = 8 + int.from_bytes(whole[:8], "big")
    return decode_state(bytes(whole[8:begin]), BytesSource(whole[begin:]))
