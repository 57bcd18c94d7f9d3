"""The ports of a bridge: each takes one game, whose trainer may be on another machine."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from entrain_envs.errors import OptionError
from entrain_envs.unity.bridge import BridgedGame
from entrain_envs.unity.connections import open_connections
from entrain_envs.unity.errors import PortError
from entrain_envs.unity.service import ExchangePort

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Time between two looks whether games are still connected."""


class BridgePort:
    """A port and the game behind it. Owned by the event loop; the game has a thread for itself."""

    def __init__(
        self,
        game: BridgedGame,
        *,
        host: str,
        port: int,
        max_message_bytes: int,
        completed: Callable[[], None],
    ) -> None:
        """Nothing is listened on yet.

        Args:
            game: answers.
            host: where to listen.
            port: 0 takes any free one.
            max_message_bytes: of a game.
            completed: called when the trainer needs no more of this game.
        """
        self.game = game
        self.port = ExchangePort(
            self._answer, host=host, port=port, max_message_bytes=max_message_bytes
        )
        self._completed = completed
        self._computing = ""
        """Who was answered last, and has not called since."""
        self._seen = ""
        """Whose connection a look found open."""
        # One thread, so that what the game says is answered one after the other.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=repr(game))

    def __repr__(self) -> str:
        return f"<BridgePort {self.port.address}: {self.game!r}>"

    async def _answer(self, message: bytes, player: str) -> bytes:
        self._computing = ""
        answering = asyncio.wrap_future(self._thread.submit(self.game.answer, message, player))
        try:
            reply = await asyncio.shield(answering)
        except asyncio.CancelledError:
            # The game is gone; its open steps are dropped as soon as the thread is free.
            answering.add_done_callback(_look_at)
            self._thread.submit(self.game.lose, player)
            raise
        if self.game.is_complete:
            self._completed()
        self._computing = player
        return reply

    def look(self, connections: frozenset[str] | None) -> None:
        """Give up a game that has closed its connection between two calls.

        Args:
            connections: peers of all that are open; None if that is not known.
        """
        if not self._computing or connections is None:
            return
        if self._computing in connections:
            self._seen = self._computing
        elif self._seen == self._computing:
            self._thread.submit(self.game.lose, self._computing)
            self._computing = ""

    async def stop(self) -> None:
        """Let the game's last answer go out, and leave the trainer."""
        self.game.interrupt()
        await self.port.stop()
        await asyncio.to_thread(self._thread.submit(self.game.leave, "the bridge ends").result)
        self._thread.shutdown()


async def _look_until(over: asyncio.Event, ports: Sequence[BridgePort]) -> None:
    """Look now and then for games that are gone, until it is over."""
    while not over.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await over.wait()
        connections = open_connections()
        for port in ports:
            port.look(connections)


def _look_at(answered: "asyncio.Future[bytes]") -> None:
    """Retrieve the exception of an abandoned answer, so that asyncio does not warn about it."""
    if not answered.cancelled():
        answered.exception()


async def bridge(
    games: Sequence[BridgedGame],
    *,
    over: asyncio.Event,
    host: str,
    port: int,
    max_message_bytes: int,
) -> None:
    """Serve until the trainer needs no game any more, or `over` is set.

    Args:
        games: game i has port + i.
        over: set from outside to end early.
        host: where to listen.
        port: of the first game; 0 takes any free ones.
        max_message_bytes: of a game.

    Raises:
        OptionError: a port cannot be listened on.
    """

    def note_completion() -> None:
        if all(game.is_complete for game in games):
            over.set()

    ports = [
        BridgePort(
            game,
            host=host,
            port=port and port + index,
            max_message_bytes=max_message_bytes,
            completed=note_completion,
        )
        for index, game in enumerate(games)
    ]
    try:
        for each in ports:
            await each.port.start()
            logger.info("a game of ML-Agents may dial %s", each.port.address)
        await _look_until(over, ports)
    except PortError as error:
        raise OptionError(f"{error} with --port") from None
    finally:
        await asyncio.gather(*(each.stop() for each in ports))
