"""One Step of a simulator and its Act: read, checked for its turn, and answered.

A simulator that may have two Steps unanswered sends the second one early: it is read when it comes,
and taken when the one before it is answered. So batching sees one Step of a simulator at a time.

A Step whose Act was lost with a broken stream may be sent again, as the first one of the next
stream, and gets the same Act; so may two of them, in their order. Nothing here knows what carries
messages.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from entrain.errors import SimulatorError, UnexpectedMessageError
from entrain.native.hello import read_behaviours
from entrain.native.step_codec import StepCodec
from entrain.serving.batch import nobody_waits
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain_envs.statistics import StatisticValues
from entrain_envs.statistics_codec import decode_statistics
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class Sender(Protocol):
    """Takes what a simulator is told."""

    def send(self, message: bytes, taken: Callable[[], None]) -> None:
        """Send a serialised ConnectResponse soon; `taken` is called when the transport took it."""
        ...


@dataclass(frozen=True, eq=False)
class EarlyStep:
    """A Step that came while the one before it has no Act, read and checked by itself."""

    sequence: int
    rows: Mapping[str, TimestepBatch]
    statistics: Sequence[StatisticValues]
    size: int
    """Bytes of its message."""


def raise_error(error: SimulatorError) -> None:
    """The default `refuse` of an exchange: raises the error, and ends no stream."""
    raise error


class Exchange:
    """The newest Step of one simulator. It is its participant's `Receiver`."""

    def __init__(
        self, participant: Participant, participants: Participants, *, is_restored: bool
    ) -> None:
        self._participant = participant
        self._participants = participants
        self._timings = participants.timings
        self._codec = StepCodec(participant, participants.magnitudes)
        self._sender: Sender | None = None
        self._may_repeat = False
        self._is_restored = is_restored
        self._held: pb.Step | None = None
        self.max_unanswered_steps = 1
        """How many Steps may be without an Act at a time on the stream that is open: 1 or 2."""
        self._early: EarlyStep | None = None
        self._refuse: Callable[[SimulatorError], None] = raise_error

    def attach(
        self,
        sender: Sender,
        *,
        may_repeat: bool,
        max_unanswered_steps: int = 1,
        refuse: Callable[[SimulatorError], None] = raise_error,
    ) -> None:
        """Attach a stream, whose Welcome had all parameters.

        Args:
            sender: the way to the simulator.
            may_repeat: whether its first Step may be one that was sent before.
            max_unanswered_steps: how many of its Steps may be without an Act at a time, 1 or 2.
            refuse: ends the stream because of a Step that came early, and turns out to be wrong
                when its turn has come.
        """
        self._drop_early()
        self._refuse = refuse
        self.max_unanswered_steps = max_unanswered_steps
        self._participant.keeps_earlier = max_unanswered_steps > 1
        self._sender = sender
        self._codec.note_welcome()
        self._may_repeat = may_repeat

    def detach(self) -> None:
        """Detach the stream. The answer to the newest Step is kept for the next stream."""
        self._sender = None
        self._held = None
        self._drop_early()

    def _drop_early(self) -> None:
        """Forget the early Step. The simulator sends it again if it comes back."""
        self._early = None
        self._participant.keep_unread(0)

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

        The networks are made in a thread, so other simulators do not wait for them.

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
            self._check_may_come(step.sequence)
        participant.keep_unread(size)
        try:
            most = participants.config.max_behaviours
            specs = read_behaviours(step.new_behaviours, participant.label, most=most)
            participants.admission.check_behaviours(specs, participant.label)
            async with participants.behaviours.preparing(specs):
                if is_wanted() and participant.is_live:
                    participants.add_behaviours(participant, specs)
                    participant.keep_unread(0)
                    self._take(step, size)
        finally:
            # Of a stream that was replaced meanwhile the new one may hold the same Step again.
            if self._held is step:
                self._held = None
                if self._early is None:
                    participant.keep_unread(0)

    def _take(self, step: pb.Step, size: int) -> None:
        participant = self._participant
        if (self._may_repeat or self._is_restored) and self._receive_first(step, size):
            return
        if participant.is_waiting and self._may_be_early(step.sequence):
            participant.keep_unread(size)
            values = tuple(decode_statistics(step.statistics)) if step.statistics else ()
            rows = self._codec.read(step)
            participant.check_early(rows)
            self._early = EarlyStep(step.sequence, rows, values, size)
            return
        self._check_turn(step.sequence)
        rows = self._codec.read(step)
        self._is_restored = False
        if step.statistics:
            participant.note_values(decode_statistics(step.statistics))
        participant.ask(rows, size=size)

    def _may_be_early(self, sequence: int) -> bool:
        """True if the Step of that number is allowed before the newest one has its Act."""
        return (
            self.max_unanswered_steps > 1
            and self._early is None
            and sequence == self._participant.step_number + 1
        )

    def _take_early(self, early: EarlyStep) -> None:
        """The Step before it is answered: it is its turn."""
        participant = self._participant
        self._early = None
        try:
            participant.keep_unread(0)
            if early.statistics:
                participant.note_values(early.statistics)
            participant.ask(early.rows, size=early.size)
        except SimulatorError as error:
            self._refuse(error)

    def _receive_first(self, step: pb.Step, size: int) -> bool:
        """Take a first Step of a resumed stream, if it was sent before; returns whether it was.

        The Step before the newest may precede it. If instead the simulator is further than a
        checkpoint knows it, go on from there.
        """
        participant, sequence = self._participant, step.sequence
        if self._is_restored and sequence > self._expected_sequence:
            self._participants.resync(participant, before=sequence)
        earlier = participant.earlier
        if self._may_repeat and earlier is not None and sequence == earlier.number:
            assert self._sender is not None
            message = self._codec.write(earlier.number, earlier.with_rows, earlier.answers)
            self._sender.send(message, nobody_waits)
            return True
        may_repeat, self._may_repeat = self._may_repeat, False
        if not may_repeat or sequence != participant.step_number:
            return False
        self._is_restored = False
        if participant.is_waiting:
            participant.ask_again(lambda: self._codec.read(step), size=size)
        else:
            self.act(nobody_waits)
        return True

    def standing(self, sequence: int) -> pb.StepStanding:
        """Whether the Step of this number came on the stream that is open, and was answered."""
        participant = self._participant
        for unread in (self._held, self._early):
            if unread is not None and unread.sequence == sequence:
                return pb.STEP_STANDING_HELD
        # Of a resumed stream that has brought no Step yet, what came before must be sent again.
        is_open = self._sender is not None and not self._may_repeat
        earlier = participant.earlier
        if is_open and earlier is not None and sequence == earlier.number:
            return pb.STEP_STANDING_ANSWERED
        if not is_open or sequence != participant.step_number:
            return pb.STEP_STANDING_NOT_HELD
        return pb.STEP_STANDING_HELD if participant.is_waiting else pb.STEP_STANDING_ANSWERED

    @property
    def _expected_sequence(self) -> int:
        """Number of the Step whose turn it is."""
        return self._participant.step_number + (not self._participant.is_waiting)

    def _check_may_come(self, sequence: int) -> None:
        """Raise UnexpectedMessageError unless it is this Step's turn, or it may come early."""
        if not (self._participant.is_waiting and self._may_be_early(sequence)):
            self._check_turn(sequence)

    def _check_turn(self, sequence: int) -> None:
        """Raise UnexpectedMessageError unless it is this Step's turn."""
        participant = self._participant
        newest = participant.step_number
        if sequence == newest + 1 and not participant.is_waiting:
            return
        if not participant.is_waiting:
            expected = self._expected_sequence
        elif self.max_unanswered_steps == 1:
            raise UnexpectedMessageError(
                f"{participant.label} sent Step {sequence} while Step {newest} has no Act yet; one "
                "unanswered Step is allowed: wait for its Act before the next"
            )
        elif self._early is not None:
            raise UnexpectedMessageError(
                f"{participant.label} sent Step {sequence} while the Steps {newest} and "
                f"{newest + 1} have no Act yet; two unanswered Steps are allowed: wait for the Act "
                "of the first before the next"
            )
        else:
            expected = newest + 1
        raise UnexpectedMessageError(
            f"{participant.label} sent Step {sequence}, expected Step {expected}; "
            "number Steps 1, 2, 3, ... within a session, and send one again only after the stream "
            "broke"
        )

    def act(self, taken: Callable[[], None]) -> bool:
        """Send the Act of the newest Step, if a stream is there to take it.

        A simulator that has just come back gets it when it sends its Step again.
        """
        if self._sender is None or self._may_repeat:
            return False
        began_s = time.perf_counter()
        participant = self._participant
        message = self._codec.write(
            participant.step_number, participant.with_rows, participant.answers
        )
        self._sender.send(message, taken)
        self._timings.encode += time.perf_counter() - began_s
        if self._early is not None:
            self._take_early(self._early)
        return True
