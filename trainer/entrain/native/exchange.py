"""One Step of a simulator and its Act: read, checked for its turn, and answered.

A Step whose Act was lost with a broken stream may be sent again, as the first one of the next
stream, and gets the same Act. Nothing here knows what carries messages.
"""

import time
from collections.abc import Callable
from typing import Protocol

from entrain.errors import BadStepError, UnexpectedMessageError
from entrain.native.hello import read_behaviours
from entrain.quoting import listed, shortened
from entrain.serving.batch import nobody_waits
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain_envs.codec import BehaviourCodec
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.statistics_codec import decode_statistics
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class Sender(Protocol):
    """Takes what a simulator is told."""

    def send(self, message: bytes, taken: Callable[[], None]) -> None:
        """Send a serialised ConnectResponse soon; `taken` is called when the transport took it."""
        ...


class Exchange:
    """The newest Step of one simulator. It is its participant's `Receiver`."""

    def __init__(
        self, participant: Participant, participants: Participants, *, is_restored: bool
    ) -> None:
        self._participant = participant
        self._participants = participants
        self._parameters = participant.parameters
        self._known_parameters = self._parameters.values
        self._timings = participants.timings
        self._magnitudes = participants.magnitudes
        self._codecs: dict[str, BehaviourCodec] = {}
        self._sender: Sender | None = None
        self._may_repeat = False
        self._is_restored = is_restored
        self._held: pb.Step | None = None

    def attach(self, sender: Sender, *, may_repeat: bool) -> None:
        """A stream is there, whose Welcome told all parameters.

        Args:
            sender: the way to the simulator.
            may_repeat: whether its first Step may be one that was sent before.
        """
        self._sender = sender
        self._known_parameters = self._parameters.values
        self._may_repeat = may_repeat

    def detach(self) -> None:
        """The stream is gone. What is answered now is kept."""
        self._sender = None
        self._held = None

    def receive(self, step: pb.Step, *, size: int) -> bool:
        """Take a Step, or hold it: one that declares behaviours waits for `take_held`.

        Args:
            step: as it came.
            size: of its message in bytes.

        Returns:
            Whether it is held.

        Raises:
            UnexpectedMessageError: it is not this Step's turn.
            BadStepError: its content is wrong.
            LimitError: there is no room for so many agents or bytes.
        """
        if step.new_behaviours:
            self._held = step
            return True
        self._take(step, size)
        return False

    async def take_held(self, *, size: int, is_wanted: Callable[[], bool]) -> None:
        """Take the Step that is held, once there are networks for its new behaviours.

        They are made in a thread: nobody else waits for them.

        Args:
            size: of its message in bytes.
            is_wanted: asked then, whether Steps of this stream are still taken.

        Raises:
            BadHelloError, RefusedHelloError, LimitError: of its behaviours.
            UnexpectedMessageError, BadStepError: as of `receive`.
        """
        step, participant, participants = self._held, self._participant, self._participants
        assert step is not None
        if not (self._may_repeat or self._is_restored):
            self._check_turn(step.sequence)
        participant.keep_unread(size)
        try:
            most = participants.config.max_behaviours
            specs = read_behaviours(step.new_behaviours, participant.label, most=most)
            participants.admission.check_behaviours(specs, participant.label)
            async with participants.behaviours.preparing(specs):
                if is_wanted() and participant.is_live:
                    participants.add_behaviours(participant, specs)
                    self._take(step, size)
        finally:
            # Of a stream that was replaced meanwhile the new one may hold the same Step again.
            if self._held is step:
                self._held = None
            participant.keep_unread(0)

    def _take(self, step: pb.Step, size: int) -> None:
        participant = self._participant
        if (self._may_repeat or self._is_restored) and self._receive_first(step, size):
            return
        self._check_turn(step.sequence)
        rows = self._read(step)
        self._is_restored = False
        if step.statistics:
            participant.note_values(decode_statistics(step.statistics))
        participant.ask(rows, size=size)

    def _receive_first(self, step: pb.Step, size: int) -> bool:
        """Take the first Step of a resumed stream, if it was sent before; returns whether it was.

        If instead the simulator is further than a checkpoint knows it, go on from there.
        """
        participant, sequence = self._participant, step.sequence
        if self._is_restored and sequence > self._expected_sequence:
            self._participants.resync(participant, before=sequence)
        may_repeat, self._may_repeat = self._may_repeat, False
        if not may_repeat or sequence != participant.step_number:
            return False
        self._is_restored = False
        if participant.is_waiting:
            participant.ask_again(lambda: self._read(step), size=size)
        else:
            self.act(nobody_waits)
        return True

    def standing(self, sequence: int) -> pb.StepStanding:
        """Whether the Step of this number came on the stream that is open, and was answered."""
        participant = self._participant
        if self._held is not None and self._held.sequence == sequence:
            return pb.STEP_STANDING_HELD
        # Of a resumed stream that has brought no Step yet, what came before must be sent again.
        is_open = self._sender is not None and not self._may_repeat
        if not is_open or sequence != participant.step_number:
            return pb.STEP_STANDING_NOT_HELD
        return pb.STEP_STANDING_HELD if participant.is_waiting else pb.STEP_STANDING_ANSWERED

    @property
    def _expected_sequence(self) -> int:
        """Of the Step whose turn it is."""
        return self._participant.step_number + (not self._participant.is_waiting)

    def _check_turn(self, sequence: int) -> None:
        """Raise UnexpectedMessageError unless it is this Step's turn."""
        participant = self._participant
        if sequence == participant.step_number + 1 and not participant.is_waiting:
            return
        if participant.is_waiting:
            raise UnexpectedMessageError(
                f"{participant.label} sent Step {sequence} while Step {participant.step_number} "
                "has no Act yet; one unanswered Step is allowed: wait for its Act before the next"
            )
        raise UnexpectedMessageError(
            f"{participant.label} sent Step {sequence}, expected Step {self._expected_sequence}; "
            "number Steps 1, 2, 3, ... within a session, and send one again only after the stream "
            "broke"
        )

    def _read(self, step: pb.Step) -> dict[str, TimestepBatch]:
        """The rows of each behaviour that has any, held against its spec."""
        rows: dict[str, TimestepBatch] = {}
        seen: set[str] = set()
        for message in step.behaviours:
            name = message.behaviour
            codec = self._codecs.get(name) or self._make_codec(name)
            if name in seen:
                raise BadStepError(
                    f"{self._participant.label} sent behaviour '{name}' twice in Step "
                    f"{step.sequence}; put all its rows into one entry"
                )
            seen.add(name)
            try:
                timesteps = codec.decode_timesteps(message)
            except EntrainEnvsError as error:
                raise BadStepError(f"{self._participant.label}: {error}") from None
            if len(timesteps.agent_id):
                rows[name] = timesteps
        return rows

    def _make_codec(self, name: str) -> BehaviourCodec:
        behaviours = self._participant.behaviours
        if name not in behaviours:
            raise BadStepError(
                f"{self._participant.label} sent rows of behaviour '{shortened(name)}', unknown "
                f"from its Hello (which has: {listed(list(behaviours))}); declare every behaviour "
                "in Hello, or in new_behaviours of a Step"
            )
        self._codecs[name] = BehaviourCodec(behaviours[name].spec, self._magnitudes)
        return self._codecs[name]

    def act(self, taken: Callable[[], None]) -> bool:
        """Send the Act of the newest Step, if a stream is there to take it.

        A simulator that has just come back is about to send its Step again, and gets it then.
        """
        if self._sender is None or self._may_repeat:
            return False
        began_s = time.perf_counter()
        self._sender.send(self._write(), taken)
        self._timings.encode += time.perf_counter() - began_s
        return True

    def _write(self) -> bytes:
        """The Act of the newest Step, with the parameters that the simulator does not know yet."""
        participant = self._participant
        response = pb.ConnectResponse()
        act = response.act
        act.sequence = participant.step_number
        for name in participant.with_rows:
            codec = self._codecs.get(name) or self._make_codec(name)
            act.behaviours.append(codec.encode_actions(participant.answers[name]))
        if self._known_parameters is not self._parameters.values:
            changed = self._parameters.changed_since(self._known_parameters)
            act.changed_environment_parameters.update(changed)
            self._known_parameters = self._parameters.values
        return response.SerializeToString()
