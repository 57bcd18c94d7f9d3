"""Which simulators are connected, or in their grace time after a connection broke."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator

from entrain.config.run import ServerConfig
from entrain.errors import SimulatorError
from entrain.serving.batcher import CallLater
from entrain.serving.deadline import Deadline
from entrain.serving.member import Presence
from entrain.serving.participant import Participant

logger = logging.getLogger(__name__)

COUNTED = (
    "sessions_joined",
    "sessions_resumed",
    "sessions_resynced",
    "sessions_left",
    "sessions_lost",
    "sessions_refused",
    "steps_refused",
)
"""What is counted: participants that joined and that came back; that went on after the trainer had
forgotten some of their steps; that left by themselves or because the run was complete; that did not
come back in the grace time; simulators that were refused, and participants whose step was."""


class Attendance:
    """Keeps, counts and logs participants from when they have joined. Owned by the event loop."""

    def __init__(
        self, config: ServerConfig, *, clock: Callable[[], float], call_later: CallLater
    ) -> None:
        """Start without participants.

        Args:
            config: grace time, among others.
            clock: seconds.
            call_later: how to be called back after seconds.
        """
        self.config = config
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.refused: Counter[str] = Counter()
        """{why: refusals since the start}, of simulators and of steps; see `count_refusal`."""
        self._clock = clock
        self._by_id: dict[str, Participant] = {}
        self._expiry = Deadline(self.expire, clock=clock, call_later=call_later)
        self._is_paused = False
        self._is_held = False

    def __iter__(self) -> Iterator[Participant]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, participant_id: str) -> Participant | None:
        """The participant of that id, if it takes part."""
        return self._by_id.get(participant_id)

    @property
    def num_sessions(self) -> int:
        """Simulators that take part: connected, or in their grace time."""
        return len(self)

    @property
    def num_running(self) -> int:
        """Simulators that are connected."""
        return sum(participant.presence is Presence.RUNNING for participant in self)

    def resume(self, participant: Participant, peer: str) -> None:
        """A participant is connected again; its connection before need not be known as broken."""
        if participant.presence is Presence.RUNNING:
            self.detach(participant)
        participant.attach(peer)
        for behaviour in participant.behaviours.values():
            behaviour.batcher.attach(participant.id)
        self._schedule_expiry()
        self.counters["sessions_resumed"] += 1
        logger.info("%s came back: %d agents go on", participant.label, participant.num_agents)

    def resync(self, participant: Participant, *, before: int) -> None:
        """A participant is further than the checkpoint that the trainer came from; see `forget`."""
        logger.warning(
            "%s is at Step %d, but the checkpoint that this trainer came from knows it at Step %d: "
            "%d open steps dropped",
            participant.label,
            before,
            participant.step_number + (not participant.is_waiting),
            participant.num_agents,
        )
        participant.forget(before=before)
        for behaviour in participant.behaviours.values():
            behaviour.slots.release(participant.id)
        self.counters["sessions_resynced"] += 1

    def detach(self, participant: Participant) -> None:
        """A participant's connection broke: it has the grace time to come back."""
        participant.detach(deadline_s=self._clock() + self.config.grace_s)
        for behaviour in participant.behaviours.values():
            behaviour.batcher.detach(participant.id)
        self._schedule_expiry()

    def leave(self, participant: Participant, reason: str) -> None:
        """A participant says goodbye, or the run is complete."""
        words = f"{participant.label} left ({reason})" if reason else f"{participant.label} left"
        self._release(participant, "sessions_left", words)

    def lose(self, participant: Participant, words: str) -> None:
        """A participant is gone for good without a goodbye; `words` say how."""
        self._release(participant, "sessions_lost", f"{participant.label} {words}")

    def refuse_step(self, participant: Participant, error: SimulatorError) -> None:
        """A participant is out because of what it sent; the caller tells it."""
        self.count_refusal(error)
        self._release(participant, "steps_refused", f"session refused: {error}")

    def count_refusal(self, error: SimulatorError) -> None:
        """Count by the kind of error: `BadStepError` is "bad_step"."""
        kind = type(error).__name__.removesuffix("Error")
        self.refused["".join(f"_{it.lower()}" if it.isupper() else it for it in kind)[1:]] += 1

    def expire(self) -> None:
        """Release the participants whose grace time is over."""
        now_s = self._clock()
        for participant in [each for each in self if each.deadline_s <= now_s]:
            self._release(participant, "sessions_lost", f"{participant.label} left without goodbye")
        self._schedule_expiry()

    @property
    def next_deadline_s(self) -> float:
        """When `expire` has something to do; infinity if everyone is connected."""
        return min((participant.deadline_s for participant in self), default=float("inf"))

    def _schedule_expiry(self) -> None:
        is_endless = self._is_paused or self._is_held
        self._expiry.set(float("inf") if is_endless else self.next_deadline_s)

    def renew_deadlines(self) -> None:
        """Participants of a checkpoint have the grace time from now, when they can connect."""
        for participant in self:
            if participant.presence is Presence.DETACHED:
                participant.deadline_s = self._clock() + self.config.grace_s
        self._schedule_expiry()

    def _release(self, participant: Participant, counter: str, words: str) -> None:
        """End a participant, count it, and tell the log in these words."""
        open_steps = participant.num_agents
        del self._by_id[participant.id]
        participant.close()
        slots = sum(b.batcher.leave(participant.id) for b in participant.behaviours.values())
        self._schedule_expiry()
        self.counters[counter] += 1
        if counter == "sessions_left":
            agents = f", with {slots:,} agent{'' if slots == 1 else 's'}" if slots else ""
            logger.info("%s%s", words, agents)
            return
        if participant.is_of_checkpoint:
            logger.info(
                "%s: %s of its steps were under way at the checkpoint that the run goes on from; "
                "they are dropped, as always",
                participant.label,
                f"{open_steps:,}",
            )
            return
        logger.warning(
            "%s: %s slots released, %s open steps dropped", words, f"{slots:,}", f"{open_steps:,}"
        )

    @property
    def is_held(self) -> bool:
        """Whether batches wait until somebody lets the run go on."""
        return self._is_held

    @property
    def is_paused(self) -> bool:
        """Whether no more batches are handed out: the run ends."""
        return self._is_paused

    def stop_expiry(self) -> None:
        """From now on no grace time ends."""
        self._is_paused = True
        self._schedule_expiry()

    def leave_all(self, reason: str) -> None:
        """Everyone who is still there leaves."""
        for participant in list(self):
            self.leave(participant, reason)
