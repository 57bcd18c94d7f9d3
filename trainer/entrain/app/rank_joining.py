"""How ranks find each other at the beginning of a run: rank 0 listens, and all connect to it."""

import asyncio
import functools
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from entrain.app.rank_hub import RankHub
from entrain.app.rank_link import RankLink
from entrain.app.rank_meeting import MEET_S, Meeting
from entrain.errors import EntrainError, RankFailedError, RankLostError
from entrain.importing import INTERRUPTED

_LOOK_S = 0.1
_HUB = "hub"


class Joining:
    """One rank that joins. Owned by the event loop."""

    def __init__(
        self,
        meeting: Meeting,
        link: RankLink,
        *,
        stop: asyncio.Event,
        failed: Callable[[], EntrainError | None],
    ) -> None:
        """Nothing is connected yet: `lead` and `follow` do it.

        Args:
            meeting: where ranks meet.
            link: to be connected.
            stop: set if the run is to stop.
            failed: why all ranks end, if one has failed.
        """
        self._meeting = meeting
        self._link = link
        self._stop = stop
        self._failed = failed

    async def lead(self, hub: RankHub, token: str) -> None:
        """Let all ranks connect to `hub`, this one too."""
        host, port = await hub.start()
        about = {"port": port, "token": token}
        await asyncio.to_thread(self._meeting.leave, _HUB, about)
        await self._link.connect(host, port, token)

    async def follow(self) -> None:
        """Connect to the hub of rank 0."""
        about = await self._until(functools.partial(self._meeting.look, _HUB))
        host = self._link.place.address
        await self._link.connect(host, int(about["port"]), str(about["token"]))

    async def until_all_are_there(self, joined: asyncio.Event) -> None:
        """Wait until all ranks have connected."""

        def look() -> Mapping[str, Any] | None:
            self._meeting.require_nobody_failed()
            return {} if joined.is_set() else None

        await self._until(look)

    async def _until(self, look: Callable[[], Mapping[str, Any] | None]) -> Mapping[str, Any]:
        """Look again and again; RankLostError if the others do not come."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + MEET_S
        while True:
            found = await asyncio.to_thread(look)
            if found is not None:
                return found
            if (error := self._failed()) is not None:
                raise error
            if self._stop.is_set():
                words = "stopped before all ranks had come"
                raise RankFailedError(words, exit_code=INTERRUPTED)
            if loop.time() > until_s:
                raise RankLostError(
                    f"{self._link.place}: not all ranks had come within {MEET_S:g} s; see what the "
                    "others printed, and start all again"
                )
            await asyncio.sleep(_LOOK_S)


def new_token() -> str:
    """Returns a secret that ranks show to rank 0."""
    return secrets.token_hex(16)
