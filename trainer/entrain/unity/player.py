"""One game from when it says who it is to its end: its conversation, and what it is to the run.

A game keeps nothing when it ends. Whatever comes after it is a new participant of the same name,
and the open steps of this one are dropped. Nothing here knows of ports, or of other games.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from entrain.config.unity import UnityConfig
from entrain.errors import BadStepError, SimulatorError
from entrain.serving.admission import JoinRequest
from entrain.serving.batch import nobody_waits
from entrain.serving.member import Presence
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain.unity.game_status import Stage
from entrain.unity.parameter_messages import ToldParameters
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.unity.conversation import Conversation, Greeted, Left, Moved, Ready, State
from entrain_envs.unity.errors import one_line
from entrain_envs.unity.messages import GameMessage
from entrain_envs.unity.side_channels import SideChannelReader, write_engine

logger = logging.getLogger(__name__)


class Player:
    """See the module. It is its participant's `Receiver`. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        options: UnityConfig,
        *,
        index: int,
        seed: int,
        host: str,
        predecessor: Participant | None,
    ) -> None:
        """It has said nothing yet.

        Args:
            participants: of the run.
            options: of games.
            index: of its place, from 0.
            seed: of its randomness.
            host: where it runs.
            predecessor: who had its place before, perhaps gone.
        """
        self.name = f"game-{index}"
        self.label = f"{self.name}@{host}"
        self.participant = predecessor
        self._participants = participants
        self._options = options
        self._index = index
        self._seed = seed
        self._host = host
        self._has_joined = False
        self.has_left = False
        """Whether it said that it leaves."""
        self._conversation = Conversation()
        self._channels = SideChannelReader(self.label)
        self._told = ToldParameters(participants.parameters)
        self._answer: asyncio.Future[bytes] | None = None
        self._taken: Callable[[], None] = nobody_waits

    def __repr__(self) -> str:
        return f"<Player {self.label}: {self._conversation!r}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be said."""
        return self._conversation.state is State.OVER

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if self.is_over:
            return Stage.LEFT if self.has_left else Stage.ABSENT
        if self._conversation.state is State.PLAYING:
            return Stage.PLAYING if self._conversation.specs else Stage.RESET
        return Stage.GREETED

    @property
    def specs(self) -> Sequence[BehaviourSpec]:
        """Of its behaviours that have had agents."""
        return tuple(self._conversation.specs.values())

    async def receive(self, message: GameMessage, *, size: int, began_s: float) -> bytes:
        """Take the game's next message and return the answer. Cancelled if the game is gone before.

        Args:
            message: as it came.
            size: of it in bytes.
            began_s: when reading it began.

        Raises:
            SimulatorError: it may not go on; see `refuse`.
        """
        try:
            if self._has_joined and self.participant is not None and not self.participant.is_live:
                # It was silent for so long that it was given up; its steps are dropped.
                self._has_joined = False
                self._conversation.forget()
            event = self._conversation.receive(message)
            if isinstance(event, Moved):
                return await self._move(event, size, began_s)
        except EntrainEnvsError as error:
            raise BadStepError(f"{self.label}: {error}") from None
        if isinstance(event, Greeted):
            said = event.initialization
            package = one_line(said.package_version)
            logger.info("%s connected: ML-Agents package %s", self.label, package)
            areas = self._options.num_areas
            return self._conversation.greeting(seed=self._seed, num_areas=areas)
        if isinstance(event, Ready):
            return self._conversation.reset(self._first_settings())
        return self._leave(event)

    def _first_settings(self) -> bytes:
        """The engine's settings and all environment parameters, for the game's side channel."""
        return write_engine(**self._options.engine.model_dump()) + self._told.all()

    async def _move(self, event: Moved, size: int, began_s: float) -> bytes:
        self._check(event.timesteps)
        self._participants.timings.decode += time.perf_counter() - began_s
        if event.new or not self._has_joined:
            await self._bring()
        participant = self.participant
        if participant is None or not self._has_joined:
            # It has no agents yet.
            return self._answer_to({})
        if participant.presence is Presence.DETACHED:
            self._participants.resume(participant, self._host)
        for behaviour, agent_id in event.gone.items():
            participant.drop(behaviour, agent_id)
        if event.side_channel:
            self._note_statistics(participant, event.side_channel)
        self._answer = asyncio.get_running_loop().create_future()
        self._taken = nobody_waits
        try:
            participant.ask(event.timesteps, size=size)
            return await self._answer
        finally:
            self._answer = None
            # gRPC sends the answer as soon as whoever called this returns.
            asyncio.get_running_loop().call_soon(self._taken)

    def _check(self, rows: Mapping[str, TimestepBatch]) -> None:
        """Raise SpecError if a number is not finite, or too large."""
        magnitudes, specs = self._participants.magnitudes, self._conversation.specs
        for name, timesteps in rows.items():
            timesteps.check(specs[name])
            magnitudes.check(specs[name], timesteps)

    async def _bring(self) -> None:
        """Join, or bring more behaviours than the game joined with."""
        participants = self._participants
        specs = tuple(self._conversation.specs.values())
        if not specs:
            return
        request = JoinRequest(
            simulator=self.name,
            instance_id=secrets.token_hex(16),
            peer=self._host,
            specs=specs,
            max_agents=0,
        )
        if not self._has_joined:
            participants.admission.check(request, list(participants))
        async with participants.behaviours.preparing(specs):
            if self._has_joined and self.participant is not None:
                participants.add_behaviours(self.participant, specs)
                return
            before = self.participant
            if before is not None and before.is_live:
                participants.lose(before, "was started again")
            self.participant = participants.join(request)
            self.participant.receiver = self
            self._has_joined = True

    def _note_statistics(self, participant: Participant, side_channel: bytes) -> None:
        """Of values that are to be the last one's, the first game's count."""
        found = self._channels.read(side_channel)
        participant.note_statistics(
            each for each in found if self._index == 0 or each.aggregation != "last"
        )

    def act(self, taken: Callable[[], None]) -> bool:
        """Answer the game with `Participant.answers`, if it still waits. See `Receiver`."""
        if self._answer is None or self._answer.done() or self.participant is None:
            return False
        began_s = time.perf_counter()
        participant = self.participant
        actions = {name: participant.answers[name] for name in participant.with_rows}
        self._taken = taken
        self._answer.set_result(self._answer_to(actions))
        self._participants.timings.encode += time.perf_counter() - began_s
        return True

    def _answer_to(self, actions: Mapping[str, ActionBatch]) -> bytes:
        """These actions, unless a lesson that requires a reset is over: then the order to reset.

        The steps that the actions opened are dropped with the game's next message.
        """
        must_reset, changed = self._told.take_reset(), self._told.changes()
        if not must_reset:
            return self._conversation.act(actions, changed)
        logger.info("%s begins all its episodes anew, for the next lesson", self.label)
        return self._conversation.reset(changed)

    def _leave(self, event: Left) -> bytes:
        self.has_left = True
        reason = event.reason or "the game ended, or Play was stopped"
        if self._has_joined and self.participant is not None and self.participant.is_live:
            self._participants.leave(self.participant, reason)
        else:
            logger.info("%s left (%s)", self.label, reason)
        return self._conversation.close()

    def refuse(self, error: SimulatorError) -> None:
        """The game may not go on because of what it sent; the caller tells it."""
        self._conversation.close()
        if self._has_joined and self.participant is not None and self.participant.is_live:
            self._participants.refuse_step(self.participant, error)
        else:
            self._participants.refuse_join(error, simulator=self.name)

    def vanish(self, words: str) -> None:
        """The game is gone without a word.

        In lockstep the others wait for the grace time, so that a run repeats in which a game is
        started again.
        """
        self._conversation.close()
        participant = self.participant
        if not self._has_joined or participant is None or not participant.is_live:
            logger.warning("%s %s", self.label, words)
        elif not self._participants.config.lockstep:
            self._participants.lose(participant, words)
        elif participant.presence is Presence.RUNNING:
            self._participants.detach(participant)
            logger.warning(
                "%s %s: it has %g s to come back",
                self.label,
                words,
                self._participants.config.grace_s,
            )

    def wait_no_more(self, words: str, *, level: int = logging.INFO) -> None:
        """Let batches wait for it no more until it speaks, because of what `words` say."""
        participant = self.participant
        if (
            self._has_joined
            and participant is not None
            and participant.presence is Presence.RUNNING
        ):
            self._participants.detach(participant)
            logger.log(
                level,
                "%s %s: in %g s its open steps are dropped; it may go on whenever it speaks",
                self.label,
                words,
                self._participants.config.grace_s,
            )

    def close(self, text: str) -> bytes:
        """The trainer has no more to say; also the answer to a call that waits."""
        closing = self._conversation.close(text)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(closing)
        return closing
