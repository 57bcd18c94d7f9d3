"""A rank's end of its connection to rank 0: what it says, and what it is told.

Messages are read in order by one task; what they lead to that takes time runs in tasks of its own.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.app.rank_hub import LOST_S, PING_S
from entrain.app.rank_messages import PING, BadMessageError, Message, read_message
from entrain.app.rank_place import RankPlace
from entrain.errors import RankLostError
from entrain.rounds import Agreement, Share

logger = logging.getLogger(__name__)

_PART = 1 << 20
"""Bytes of a part of a state: each is a sign of life, and other messages may come between two."""

Told = Callable[[Message], None]


class PolicyRounds:
    """The rounds of one policy. See `entrain.rounds.Rounds`."""

    def __init__(self, link: "RankLink", policy: str) -> None:
        self._link = link
        self._policy = policy
        self.rank = link.place.rank
        self.has_begun = False
        self._waiting: asyncio.Future[Agreement] | None = None

    async def agree(self, number: int, share: Share) -> Agreement:
        """See `Rounds.agree`."""
        if self._link.is_stopping:
            raise UpdateCancelled
        self._waiting = asyncio.get_running_loop().create_future()
        self._link.say("ready", policy=self._policy, round=number, share=share.state())
        return await self._waiting

    def begin(self, agreement: Agreement) -> None:
        """Rank 0 says that all ranks are ready."""
        # At once: from here on the state is that of an update which has begun.
        self.has_begun = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(agreement)

    def give_up(self) -> None:
        """No round begins any more."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(UpdateCancelled())

    def end(self) -> None:
        """See `Rounds.end`."""
        self.has_begun = False

    def complete(self, env_steps: int) -> None:
        """See `Rounds.complete`."""
        self._link.say("complete", policy=self._policy, env_steps=env_steps)


class RankLink:
    """See the module. Owned by the event loop."""

    def __init__(self, place: RankPlace) -> None:
        """Not connected yet; what is said before is sent then."""
        self.place = place
        self.is_stopping = False
        """Whether no round begins any more."""
        self.lost: asyncio.Future[None] | None = None
        """Fails once rank 0 is lost."""
        self.on_message: Told = lambda _: None
        """Told of every message but of rounds."""
        self._rounds: dict[str, PolicyRounds] = {}
        self._unsent: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_closing = False

    def __repr__(self) -> str:
        return f"<RankLink of {self.place}>"

    def rounds_of(self, policy: str) -> PolicyRounds:
        """The rounds of one policy."""
        return self._rounds.setdefault(policy, PolicyRounds(self, policy))

    async def connect(self, host: str, port: int, token: str) -> None:
        """Reach rank 0; RankLostError if that cannot be."""
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            raise RankLostError(
                f"{self.place}: rank 0 is not reached on {host}:{port} "
                f"({error.strerror or error}); "
                "MASTER_ADDR must name its machine, and no firewall lie between"
            ) from error
        self.lost = asyncio.get_running_loop().create_future()
        self._writer = writer
        hello = Message("hello", {"rank": self.place.rank, "token": token})
        writer.write(b"".join([hello.encoded(), *self._unsent]))
        self._tasks = [
            asyncio.create_task(self._read(reader)),
            asyncio.create_task(self._ping()),
        ]

    def say(self, kind: str, /, blob: bytes = b"", **fields: Any) -> None:
        """Send a message to rank 0."""
        message = Message(kind, fields, blob).encoded()
        if self._writer is None:
            self._unsent.append(message)
        elif not self._writer.is_closing():
            self._writer.write(message)

    async def send_state(
        self, number: int, pieces: Iterator[bytes | memoryview], *, num_bytes: int
    ) -> None:
        """Send the state of this rank in parts, each once the network has taken the one before.

        Args:
            number: of the snapshot.
            pieces: of the state, read in a thread; at least one.
            num_bytes: of all of them.

        Raises:
            OSError: the connection has ended.
        """
        sent = 0
        while sent < num_bytes:
            piece = await asyncio.to_thread(next, pieces)
            for start in range(0, len(piece), _PART):
                part = bytes(piece[start : start + _PART])
                sent += len(part)
                about = {"num_bytes": num_bytes, "is_last": sent == num_bytes}
                self.say("state", part, number=number, **about)
                if self._writer is not None:
                    await self._writer.drain()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                # Rank 0 gives signs of life.
                message = await asyncio.wait_for(read_message(reader), LOST_S)
                self._take(message)
        except TimeoutError:
            self._lose(f"it gave no sign of life for {LOST_S:g} s")
        except (OSError, asyncio.IncompleteReadError):
            self._lose("its connection closed: it was killed or has crashed")
        except (BadMessageError, KeyError, TypeError, ValueError) as error:
            self._lose(f"it sent what no rank sends ({error})")

    def _take(self, message: Message) -> None:
        if message.kind == "go":
            fields: Mapping[str, Any] = message.fields
            self.rounds_of(fields["policy"]).begin(Agreement.from_state(fields["shares"]))
        elif message.kind != "ping":
            if message.kind in {"stop", "fail", "end"}:
                self.give_up()
            self.on_message(message)

    def give_up(self) -> None:
        """Wait for no round any more."""
        self.is_stopping = True
        for rounds in self._rounds.values():
            rounds.give_up()

    def _lose(self, words: str) -> None:
        self.give_up()
        if self.lost is not None and not self.lost.done() and not self._is_closing:
            self.lost.set_exception(
                RankLostError(
                    f"rank 0 was lost: {words}; the newest checkpoint stands: start all ranks again"
                )
            )
            # Whether anybody waits for it or not.
            self.lost.exception()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            if self._writer is not None and not self._writer.is_closing():
                self._writer.write(PING.encoded())

    async def close(self) -> None:
        """Say goodbye, and end the connection."""
        self._is_closing = True
        self.say("bye")
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._writer.drain(), 5.0)
            self._writer.close()
