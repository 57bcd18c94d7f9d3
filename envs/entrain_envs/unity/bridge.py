"""Connects one ML-Agents game to an entrain trainer, which may be on another machine.

    game --ML-Agents' wire, on this machine--> bridge --native wire, TLS and token--> trainer

To the game the bridge is its trainer; to the trainer it is a simulator like any other. It dials
again after a broken connection, and the game does not notice. Calls block.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from entrain_envs.client import TrainerClient
from entrain_envs.errors import EntrainEnvsError, SessionLostError, SpecError, TrainerClosed
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.unity.codec import decode
from entrain_envs.unity.conversation import Conversation, Event, Greeted, Left, Moved, Ready
from entrain_envs.unity.errors import GameRefusedError
from entrain_envs.unity.side_channels import SideChannelReader, write_parameter

logger = logging.getLogger(__name__)

MakeClient = Callable[[Sequence[BehaviourSpec]], TrainerClient]
"""A client that declares these behaviours, not connected yet."""


@dataclass(frozen=True, kw_only=True)
class GameSettings:
    """The settings that a game receives when it begins."""

    seed: int
    num_areas: int = 1
    engine: bytes = b""
    """Engine settings as side-channel messages."""


class BridgedGame:
    """See the module. Owned by one thread; `answer` is called for one message after the other."""

    def __init__(self, make_client: MakeClient, settings: GameSettings, *, name: str) -> None:
        """Start without a game.

        Args:
            make_client: called when a game's first agents are known, and again for each game.
            settings: sent to each game.
            name: of the game in logs.
        """
        self.is_complete = False
        """Whether the trainer said that it needs no more."""
        self.failure: EntrainEnvsError | None = None
        """Why the trainer stopped serving this game; None if it has not."""
        self._make_client = make_client
        self._settings = settings
        self._name = name
        self._conversation = Conversation()
        self._side_channels = SideChannelReader(name)
        self._client: TrainerClient | None = None
        self._known: Mapping[str, float] = {}
        self._player = ""
        self._begins_anew = False
        """Whether the game was told to reset, so that agents are expected to vanish."""
        self._has_left_out = False

    def __repr__(self) -> str:
        return f"<BridgedGame {self._name}: {self._conversation}>"

    def answer(self, message: bytes, player: str) -> bytes:
        """Return the answer to a game's message. Blocks until the trainer has sent the actions.

        Args:
            message: of the game.
            player: the sender; one that introduces itself replaces the player before it.

        Raises:
            GameRefusedError: another game plays here.
        """
        try:
            said = decode(message)
            if said.initialization is not None:
                self._begin(player)
            elif player != self._player:
                raise GameRefusedError(
                    f"another game plays on this port ({self._player or 'none has begun'}); give "
                    "each its own: entrain-env bridge --games 2"
                )
            return self._answer(self._conversation.receive(said))
        except GameRefusedError:
            raise
        except TrainerClosed as closed:
            self.is_complete = True
            return self._end(str(closed))
        except KeyboardInterrupt:
            return self._end("the bridge was stopped")
        except EntrainEnvsError as error:
            self.failure = error
            logger.error("%s: %s", self._name, error)
            return self._end(str(error))

    def _begin(self, player: str) -> None:
        """Start over with a game that introduced itself."""
        self.leave("the game was started again")
        self._player = player
        self._conversation = Conversation()
        self.failure = None

    def _answer(self, event: Event) -> bytes:
        settings = self._settings
        match event:
            case Greeted():
                return self._conversation.greeting(seed=settings.seed, num_areas=settings.num_areas)
            case Ready():
                return self._conversation.reset(settings.engine)
            case Moved():
                return self._moved(event)
            case Left():
                self.leave(event.reason or "the game was closed")
                return self._conversation.close()

    def _moved(self, event: Moved) -> bytes:
        if event.gone and not self._begins_anew:
            # The trainer drops their open steps with the session; nothing less can.
            logger.warning(
                "%s: agents vanished without an end; all episodes begin anew", self._name
            )
            return self._begin_anew("agents vanished")
        self._begins_anew = False
        if not self._conversation.specs:
            return self._conversation.act({})
        client = self._client or self._joined()
        client.add_behaviours(event.new)
        for statistic in self._side_channels.read(event.side_channel):
            self._note(client, statistic)
        if not event.timesteps:
            return self._conversation.act({}, self._changed(client))
        try:
            actions = client.exchange(event.timesteps)
        except SessionLostError as error:
            logger.warning("%s: %s", self._name, error)
            return self._begin_anew("the session was lost")
        return self._conversation.act(actions, self._changed(client))

    def _note(self, client: TrainerClient, statistic: Statistic) -> None:
        try:
            client.note(statistic.name, statistic.value, statistic.aggregation)
        except SpecError as error:
            if not self._has_left_out:
                logger.warning("%s: statistics are left out: %s", self._name, error)
            self._has_left_out = True

    def _joined(self) -> TrainerClient:
        """A client that has joined the trainer, for all behaviours that are known."""
        client = self._client = self._make_client(tuple(self._conversation.specs.values()))
        self._known = {}
        client.connect()
        return client

    def _begin_anew(self, reason: str) -> bytes:
        self.leave(reason)
        self._begins_anew = True
        return self._conversation.reset(self._settings.engine)

    def _changed(self, client: TrainerClient) -> bytes:
        """Environment parameters that changed for the game, as side-channel messages."""
        now, known = client.environment_parameters, self._known
        if now is known:
            return b""
        self._known = now
        return b"".join(
            write_parameter(name, value) for name, value in now.items() if known.get(name) != value
        )

    def lose(self, player: str) -> None:
        """Drop a game whose call or connection broke, unless another one has replaced it."""
        if player != self._player:
            return
        self._player = ""
        if self._client is not None:  # one that said goodbye has left already
            logger.warning("%s: the game vanished; its open steps are dropped", self._name)
            self.leave("the game vanished")

    def interrupt(self) -> None:
        """End the wait for actions, if there is one. Any thread may call this."""
        client = self._client
        if client is not None:
            client.leave()

    def leave(self, reason: str) -> None:
        """Say goodbye to the trainer, which drops the steps that are open."""
        client, self._client = self._client, None
        if client is not None:
            client.close(reason=reason)

    def _end(self, words: str) -> bytes:
        self.leave(words)
        return self._conversation.close(words)
