"""The `Front` of Unity ML-Agents games: each game has a port of its own."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Sequence
from functools import partial

from entrain.config.unity import UnityConfig
from entrain.errors import ServeError
from entrain.serving.front import Ending
from entrain.serving.limits import max_message_bytes
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain.state import State
from entrain.unity.game_status import GameStatus
from entrain.unity.place import TAKEOVER_S, Place
from entrain.unity.player import Player
from entrain_envs.unity.connections import open_connections
from entrain_envs.unity.errors import PortError
from entrain_envs.unity.service import ExchangePort

logger = logging.getLogger(__name__)

GOODBYE_S = 1.0
"""How long games that compute have to call once more when a run ends."""

LOOK_S = 1.0
"""Time between two checks for silent games."""


class UnityFront:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        options: UnityConfig,
        *,
        seed: int,
        takeover_s: float = TAKEOVER_S,
    ) -> None:
        """Start without open ports.

        Args:
            participants: of the run.
            options: of games.
            seed: of the run; game i is given seed + i.
            takeover_s: how long a game that computes may be silent while another wants its port.
        """
        self._participants = participants
        self._options = options
        self._seed = seed
        self._places = [
            Place(participants, partial(self._make_player, index), takeover_s=takeover_s)
            for index in range(options.games)
        ]
        limit = max_message_bytes(participants.config)
        self.ports = [
            ExchangePort(
                place.answer,
                host=options.host,
                port=options.port and options.port + index,
                max_message_bytes=limit,
            )
            for index, place in enumerate(self._places)
        ]
        """Of each game."""
        self._looking: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<UnityFront: {len(self._places)} games>"

    def _make_player(self, index: int, host: str, predecessor: Participant | None) -> Player:
        return Player(
            self._participants,
            self._options,
            index=index,
            seed=self._seed + index,
            host=host,
            predecessor=predecessor,
        )

    @property
    def is_held(self) -> bool:
        """Whether the run is paused: nobody is expected to move on."""
        return self._participants.is_held

    @property
    def statuses(self) -> Sequence[GameStatus]:
        """Of every game of the run, there or not."""
        places = enumerate(zip(self._places, self.ports, strict=True))
        return [place.status(f"game-{i}", port.address) for i, (place, port) in places]

    def note_ended(self, name: str) -> None:
        """Note that a program ended; ignored if it is not a game, or is known to be gone."""
        for index, place in enumerate(self._places):
            if name == f"game-{index}":
                place.note_ended()

    async def start(self) -> str:
        """Listen for every game; returns the first address. ServeError if a port is unusable."""
        self._warn_of_exposure()
        try:
            for port in self.ports:
                await port.start()
        except PortError as error:
            raise ServeError(
                f"{error}: unity.port, or of entrain learn --base-port for builds and "
                "--editor-port for the Editor"
            ) from None
        self._participants.renew_deadlines()
        self._looking = asyncio.create_task(self._look())
        for place, port in enumerate(self.ports):
            logger.info("game-%d of ML-Agents may dial %s", place, port.address)
        return self.ports[0].address

    def _warn_of_exposure(self) -> None:
        host = self._options.host
        with contextlib.suppress(ValueError):
            if ipaddress.ip_address(host).is_loopback:
                return
        if host != "localhost":
            logger.warning(
                "unity.host %s lets other machines connect, without a token or encryption: anyone "
                "who reaches the ports can play; entrain-env bridge does it safely",
                host,
            )

    async def _look(self) -> None:
        """Look repeatedly for silent games, and for messages that never arrived."""
        while True:
            await asyncio.sleep(LOOK_S)
            is_asked = any(place.is_watched for place in self._places)
            connections = open_connections() if is_asked else None
            for place, port in zip(self._places, self.ports, strict=True):
                words = port.take_lost()
                if words:
                    logger.warning("%s", words)
                if self.is_held:
                    place.excuse()
                place.look(timeout_s=self._options.timeout_s, connections=connections)

    def pause(self) -> None:
        """Hand out no more batches."""
        self._participants.pause()

    async def stop(self, ending: Ending, message: str, *, goodbye_s: float = GOODBYE_S) -> None:
        """Tell every game, wait so long for those that compute, and close the ports.

        After `Ending.STOPPED` the games' participants stay, for `state`: their open steps are
        dropped when they come back, or after the grace time.
        """
        self.pause()
        if self._looking is not None:
            self._looking.cancel()
        for place in self._places:
            place.close(message)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(goodbye_s):
                for place in self._places:
                    await place.told()
        await asyncio.gather(*(port.stop() for port in self.ports))
        if ending is Ending.COMPLETED:
            self._participants.leave_all("the run is complete")

    def state(self) -> State:
        """{place: its participant}. Also available after `stop`."""
        return {
            str(index): participant.id
            for index, place in enumerate(self._places)
            if (participant := place.participant) is not None and participant.is_live
        }

    def load_state(self, state: State) -> None:
        """Let the next game of each place take over from the place's participant in `state`."""
        for index, place in enumerate(self._places):
            if str(index) in state:
                place.predecessor = self._participants.get(state[str(index)])
