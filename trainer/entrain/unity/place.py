"""The place of one game in a run: a port, and the game that plays there now.

Games call when their agents need actions. A game that vanishes in between is noticed by a look at
its connection; where connections are not known, by the next game that dials the port, or by its
silence. This module does not know gRPC, or the content of messages.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from entrain.errors import BadStepError, SimulatorError, UnexpectedMessageError
from entrain.serving.limits import max_message_bytes
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain.unity.game_status import GameStatus, Stage
from entrain.unity.player import Player
from entrain_envs.spec import BehaviourSpec
from entrain_envs.unity.codec import decode, encode_closing
from entrain_envs.unity.conversation import check_length
from entrain_envs.unity.errors import GameRefusedError, UnityMessageError
from entrain_envs.unity.messages import GameMessage
from entrain_envs.unity.ports import host_of

logger = logging.getLogger(__name__)

TAKEOVER_S = 5.0
"""How long a game that computes may be silent while another one wants its place."""

MOST_FORMER = 8
"""Connections kept of games that lost their place; a game that calls on one is refused."""

MakePlayer = Callable[[str, Participant | None], Player]
"""Given the host where a game runs and the participant that had its place before, makes it."""

HUNG_UP = "closed its connection without a goodbye (it crashed, or was killed)"

TAKEN = "another game plays on this port; stop it, or give each game a port of its own"


class Place:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        make_player: MakePlayer,
        *,
        takeover_s: float = TAKEOVER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without a game.

        Args:
            participants: of the run.
            make_player: makes the player of a new game.
            takeover_s: see `TAKEOVER_S`.
            clock: seconds.
        """
        self.predecessor: Participant | None = None
        """The participant at this place when the run was stopped."""
        self._participants = participants
        self._max_message_bytes = max_message_bytes(participants.config)
        self._make_player = make_player
        self._takeover_s = takeover_s
        self._clock = clock
        self._player: Player | None = None
        self._peer = ""
        self._is_seen = self._has_hung_up = False
        """Whether a look found the player's connection open; a later one, that it is closed."""
        self._former: deque[str] = deque(maxlen=MOST_FORMER)
        self._num_messages = 0
        self._is_answering = False
        self._answered_s = 0.0
        self._spoke: asyncio.Event | None = None
        self._closing = b""
        self._told = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Place of {self._player!r}>"

    @property
    def participant(self) -> Participant | None:
        """The participant of the game that plays here, or played last."""
        return self.predecessor if self._player is None else self._player.participant

    def status(self, name: str, address: str) -> GameStatus:
        """The status of the game that plays here.

        Args:
            name: of the game.
            address: that it dials.
        """
        player = self._player
        return GameStatus(
            name,
            address,
            stage=self._stage,
            num_messages=self._num_messages,
            is_its_turn=not self._is_answering,
            image_behaviours=() if player is None else _with_images(player.specs),
        )

    @property
    def _stage(self) -> Stage:
        if self._player is None:
            return Stage.ABSENT
        return Stage.GONE if self._is_taken and self._has_hung_up else self._player.stage

    def note_ended(self) -> None:
        """Note that the game's program ended: its player leaves."""
        if self._player is not None and not self._player.is_over:
            self._player.vanish("has ended")

    async def answer(self, content: bytes, peer: str) -> bytes:
        """Answer a message; GameRefusedError if its sender may not go on.

        Cancelled if the game is gone before there is an answer.

        Args:
            content: of the message.
            peer: address and port where it comes from.
        """
        began_s = time.perf_counter()
        try:
            check_length(content, self._max_message_bytes)
            message = decode(content)
        except UnityMessageError as error:
            raise self._refused(peer, str(error)) from None
        if not self._closing and (message.initialization is not None or peer != self._peer):
            await self._meet(peer, is_new=message.initialization is not None)
            began_s = time.perf_counter()
        if self._closing:
            self._told.set()
            return self._closing
        return await self._answer(self._the_player(peer), message, len(content), began_s)

    def _refused(self, peer: str, words: str) -> GameRefusedError:
        """The error for an unreadable message; the player leaves if it was the sender."""
        is_player = peer == self._peer and not self._is_answering
        if is_player and self._player is not None and not self._player.is_over:
            error = BadStepError(f"{self._player.label}: {words}")
            self._player.refuse(error)
        else:
            error = BadStepError(f"a game@{host_of(peer)}: {words}")
            self._participants.refuse_join(error, simulator="")
        return GameRefusedError(str(error))

    def _unexpected(self, peer: str, words: str) -> GameRefusedError:
        """The error for a message from a game that does not play here."""
        error = UnexpectedMessageError(f"a game@{host_of(peer)}: {words}")
        self._participants.refuse_join(error, simulator="")
        return GameRefusedError(words)

    async def _meet(self, peer: str, *, is_new: bool) -> None:
        """Decide whether a game that introduces itself, or calls on a new connection, may play.

        A game that was paused for long dials again without an introduction. So does a game left
        over from another run, or a stranger: it is refused if the player calls meanwhile.
        """
        if is_new:
            await self._admit(peer)
        elif self._may_be_there and not self._is_answering and peer not in self._former:
            if self._spoke is not None:
                raise self._unexpected(peer, TAKEN)
            await self._wait_for_player(peer)

    async def _admit(self, peer: str) -> None:
        """Give the place to a game that introduced itself; GameRefusedError if it is taken."""
        if self._is_answering or self._spoke is not None:
            raise self._unexpected(peer, TAKEN)
        if self._may_be_there and peer != self._peer:
            await self._wait_for_player(peer)
        if self._closing:
            return
        before = self.participant
        if self._player is not None and not self._player.is_over:
            self._player.vanish("was started again")
        self._speaks_from(peer)
        self._player = self._make_player(host_of(peer), before)

    @property
    def _is_taken(self) -> bool:
        """Whether a game plays here, as far as is known."""
        return self._player is not None and not self._player.is_over

    @property
    def _may_be_there(self) -> bool:
        """True if the player's connection is not known to be closed."""
        return self._is_taken and not self._has_hung_up

    def _speaks_from(self, peer: str) -> None:
        if peer != self._peer:
            self._peer = peer
            self._is_seen = self._has_hung_up = False

    async def _wait_for_player(self, newcomer: str) -> None:
        """Give the player time to call; GameRefusedError for the newcomer if it does."""
        self._spoke = asyncio.Event()
        try:
            async with asyncio.timeout(self._takeover_s):
                await self._spoke.wait()
        except TimeoutError:
            self._former.append(self._peer)
            return
        finally:
            self._spoke = None
        if not self._closing:
            raise self._unexpected(newcomer, TAKEN)

    def _the_player(self, peer: str) -> Player:
        """The player, if the message is its own; GameRefusedError otherwise."""
        player = self._player
        if peer != self._peer and (self._is_answering or peer in self._former):
            raise self._unexpected(peer, TAKEN)
        if player is None or player.is_over:
            raise self._unexpected(
                peer, "it must say first who it is, and did not; stop the game and start it again"
            )
        if self._is_answering:
            raise self._unexpected(peer, "it called again before its call was answered")
        self._speaks_from(peer)
        if self._spoke is not None:
            self._spoke.set()
        return player

    async def _answer(
        self, player: Player, message: GameMessage, size: int, began_s: float
    ) -> bytes:
        self._num_messages += 1
        self._is_answering = True
        try:
            return await player.receive(message, size=size, began_s=began_s)
        except SimulatorError as error:
            player.refuse(error)
            raise GameRefusedError(str(error)) from None
        except asyncio.CancelledError:
            if not self._closing and not player.is_over:
                player.vanish("was killed, or lost its connection")
            raise
        finally:
            self._is_answering = False
            self._answered_s = self._clock()

    @property
    def is_watched(self) -> bool:
        """Whether the player computes, and is not known to be gone."""
        return self._may_be_there and not self._is_answering

    def excuse(self) -> None:
        """Let the player be silent as long as ever from now on: the run was paused until now."""
        self._answered_s = self._clock()

    def look(self, *, timeout_s: float, connections: frozenset[str] | None = None) -> None:
        """Note if the player is gone, or has been silent for too long.

        Args:
            timeout_s: how long it may be silent.
            connections: peers of all open connections; None if they are not known.
        """
        if self._player is None or not self.is_watched:
            return
        silent_s = self._clock() - self._answered_s
        if connections is not None and self._peer in connections:
            self._is_seen = True
        elif connections is not None and self._is_seen:
            self._has_hung_up = True
            self._player.wait_no_more(HUNG_UP, level=logging.WARNING)
        if silent_s > timeout_s:
            words = f"has been silent for {silent_s:.0f} s (paused, frozen or gone)"
            self._player.wait_no_more(words)

    def close(self, text: str) -> None:
        """Answer waiting and future calls with the message that the trainer is done."""
        self._closing = encode_closing(text)
        if self._spoke is not None:
            self._spoke.set()
        if self._player is not None and not self._player.is_over:
            if not self._is_answering:
                # It computes, and is told when it calls next.
                return
            self._player.close(text)
        self._told.set()

    async def told(self) -> None:
        """Return once the player has received that message."""
        await self._told.wait()


def _with_images(specs: Sequence[BehaviourSpec]) -> tuple[str, ...]:
    """Names of the behaviours that observe images."""
    return tuple(
        spec.name for spec in specs if any(each.kind == "image" for each in spec.observations)
    )
