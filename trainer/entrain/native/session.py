"""One simulator's membership over all its streams: who it is, and which stream carries it now."""

from typing import Protocol

from entrain.errors import SimulatorError
from entrain.native.exchange import Exchange, Sender
from entrain.serving.member import Presence
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants


class Stream(Protocol):
    """A stream, as the session that it carries sees it."""

    def replace(self) -> None:
        """Another stream carries the session on."""
        ...

    def fail(self, error: SimulatorError) -> None:
        """A Step that it brought earlier was taken only now, and is refused."""
        ...


class Session:
    """See the module. Owned by the event loop."""

    def __init__(
        self, participant: Participant, participants: Participants, *, is_restored: bool = False
    ) -> None:
        """No stream carries it yet.

        Args:
            participant: what it is to the run.
            participants: of the run.
            is_restored: whether it comes from a checkpoint.
        """
        self.participant = participant
        self.id = participant.id
        self.exchange = Exchange(participant, participants, is_restored=is_restored)
        self.participants = participants
        """Among whom it takes part."""
        self._stream: Stream | None = None
        participant.receiver = self.exchange

    def __repr__(self) -> str:
        return f"<Session {self.label}: {self.participant.presence.value}>"

    @property
    def label(self) -> str:
        """For people: simulator@host."""
        return self.participant.label

    def attach(
        self, stream: Stream, sender: Sender, *, is_resumed: bool, max_unanswered_steps: int
    ) -> None:
        """A stream carries the session from here on; one that did before is replaced.

        Args:
            stream: the new one.
            sender: where its messages go.
            is_resumed: whether the session is older than the stream.
            max_unanswered_steps: how many Steps may be without an Act at a time, 1 or 2.
        """
        before, self._stream = self._stream, stream
        if before is not None:
            before.replace()
        self.exchange.attach(
            sender,
            may_repeat=is_resumed,
            max_unanswered_steps=max_unanswered_steps,
            refuse=stream.fail,
        )

    def detach(self) -> bool:
        """The stream broke: the session has the grace time to come back.

        Returns whether a Step waits for its Act.
        """
        self._stop_sending()
        if self.participant.presence is Presence.RUNNING:
            self.participants.detach(self.participant)
        return self.participant.is_waiting

    def leave(self, reason: str) -> None:
        """The simulator said Goodbye, or the run is complete."""
        self._stop_sending()
        if self.participant.is_live:
            self.participants.leave(self.participant, reason)

    def refuse(self, error: SimulatorError) -> None:
        """The session is over because of what the simulator sent."""
        self._stop_sending()
        if self.participant.is_live:
            self.participants.refuse_step(self.participant, error)

    def _stop_sending(self) -> None:
        self._stream = None
        self.exchange.detach()
