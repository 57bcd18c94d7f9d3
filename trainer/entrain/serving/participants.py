"""Who takes part in a run: who may join and with what, from when on batches are handed out.

Nothing here knows how simulators are connected: a wire calls these methods, and gives each
participant a `Receiver` for its answers.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from entrain.config.environment_parameters import Value
from entrain.config.run import ServerConfig
from entrain.errors import BadHelloError, RefusedHelloError, SimulatorError
from entrain.serving.admission import Admission, JoinRequest, namesakes
from entrain.serving.attendance import COUNTED, Attendance
from entrain.serving.batcher import CallLater, call_later_on_loop
from entrain.serving.behaviours import Behaviour, Behaviours
from entrain.serving.empty_steps import MOST_LINES
from entrain.serving.limits import Limit, max_message_bytes
from entrain.serving.measures import Measures
from entrain.serving.member import Identity
from entrain.serving.parameters import EnvironmentParameters
from entrain.serving.participant import Participant
from entrain.serving.refusals import Refusals
from entrain.serving.repeated_lines import RepeatedLines
from entrain.serving.statistics import Reports, Statistics
from entrain.serving.unanswered import load_unanswered, unanswered_state
from entrain.state import State
from entrain.stopwatch import ServerTimings
from entrain_envs.magnitudes import Magnitudes
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)


class Participants(Attendance):
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        behaviours: Behaviours,
        *,
        seed: int,
        expect: int,
        environment_parameters: Mapping[str, Value],
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later_on_loop,
        measures: Measures | None = None,
    ) -> None:
        """Start without participants.

        Args:
            config: limits, grace time, lockstep.
            behaviours: of the run; participants join their queues.
            seed: of the run; simulators' seeds derive from it.
            expect: participants that must be there before the first batch.
            environment_parameters: what each is at first.
            clock: seconds.
            call_later: how to be called back after seconds.
            measures: time exchanges; None times nothing.
        """
        super().__init__(config, clock=clock, call_later=call_later)
        self.behaviours = behaviours
        self.measures = measures
        self.parameters = EnvironmentParameters(environment_parameters)
        self.timings = ServerTimings()
        """Where wires note the time that they take."""
        self.magnitudes = Magnitudes(reward=config.max_reward, observation=config.max_observation)
        """Of the numbers that participants may send."""
        self.statistics = Statistics(
            most_names=config.max_statistics, clock=clock, call_later=call_later
        )
        """What participants report beside their rows."""
        self.admission = Admission(config, self.behaviours, seed=seed)
        self.expected = expect
        """Simulators that must be there before the first batch."""
        self._has_begun = False
        self._refusals = Refusals(most=config.max_sessions, clock=clock, call_later=call_later)
        self._empty_steps = RepeatedLines(most=MOST_LINES, clock=clock, call_later=call_later)
        self._waiting_bytes = Limit(
            int(config.max_waiting_mib * 2**20),
            of="bytes of Steps and their answers",
            option="server.max_waiting_mib",
        )

    def __repr__(self) -> str:
        return f"<Participants: {len(self)} simulators>"

    @property
    def num_agents(self) -> int:
        """Agents alive over all simulators."""
        return sum(behaviour.slots.num_agents for behaviour in self.behaviours)

    @property
    def has_begun(self) -> bool:
        """Whether as many simulators as expected have joined, so that batches are handed out."""
        return self._has_begun

    @property
    def refusals(self) -> Mapping[str, str]:
        """{simulator: why it was refused} of those that would be refused again.

        Newest last. Who has joined since is not among them.
        """
        return self._refusals.reasons

    def join(self, request: JoinRequest) -> Participant:
        """A new participant; it is connected.

        Raises:
            BadHelloError, RefusedHelloError, LimitError: it may not join; nothing was changed.
        """
        self.admission.check(request, list(self))
        # Last of what may refuse it, for nothing undoes this.
        behaviours = self.behaviours.admit(request.specs, who=request.who)
        self._replace_restarted(request)
        self._refusals.forget(request.simulator)
        participant = self._make_participant(
            self.admission.identify(request), behaviours, request.peer
        )
        for behaviour in behaviours:
            behaviour.batcher.join(participant.id)
        self.counters["sessions_joined"] += 1
        self._log_joined(participant, request)
        self._begin_if_complete()
        return participant

    def simulators_of(self, behaviour: str, slot: Int64Array) -> NDArray[np.object_]:
        """[N] names of the simulators whose agents have these slots [N]; "" of one that left."""
        return self.told_by(behaviour, slot, lambda participant: participant.identity.simulator)

    def told_by(
        self, behaviour: str, slot: Int64Array, ask: Callable[[Participant], str]
    ) -> NDArray[np.object_]:
        """[N] what `ask` returns of the participants whose agents have these slots [N]; "" of one
        that left.
        """
        owners, position = np.unique(
            self.behaviours[behaviour].slots.owners(slot), return_inverse=True
        )
        participants = map(self.get, owners)
        told = ["" if participant is None else ask(participant) for participant in participants]
        return np.array(told, np.object_)[position]

    def add_behaviours(self, participant: Participant, specs: Sequence[BehaviourSpec]) -> None:
        """Add behaviours to a participant after it joined; it keeps those it has.

        Within `behaviours.preparing(specs)` this is quick, and others do not wait for networks.

        Raises:
            BadHelloError, RefusedHelloError, LimitError: as of `join`; nothing was changed.
        """
        self.admission.check_behaviours(specs, participant.label)
        new = [spec for spec in specs if spec.name not in participant.behaviours]
        if not new:
            return
        behaviours = self.behaviours.admit(new, who=participant.label)
        participant.add(behaviours)
        for behaviour in behaviours:
            behaviour.batcher.join(participant.id)
        names = ", ".join(f"'{behaviour.name}'" for behaviour in behaviours)
        logger.info("%s brings more agents: of %s", participant.label, names)
        self._begin_if_complete()

    def _replace_restarted(self, request: JoinRequest) -> None:
        """In lockstep a new process replaces one of its name whose connection broke.

        Else everyone would wait out the grace time of a process that has been started again.
        """
        if self.config.lockstep:
            for other in namesakes(request.simulator, list(self)):
                self._release(other, "sessions_lost", f"{other.label} was started again")

    def _make_participant(
        self, identity: Identity, behaviours: Iterable[Behaviour], peer: str
    ) -> Participant:
        participant = self._by_id[identity.id] = Participant(
            identity,
            behaviours,
            peer=peer,
            lockstep=self.config.lockstep,
            waiting_bytes=self._waiting_bytes,
            max_answer_bytes=max_message_bytes(self.config),
            parameters=self.parameters.of(simulator=identity.simulator, seed=identity.seed),
            reports=Reports(self.statistics),
            empty_steps=self._empty_steps,
            timer=None if self.measures is None else self.measures.timer(),
        )
        participant.joined_at = time.time()
        return participant

    def _log_joined(self, participant: Participant, request: JoinRequest) -> None:
        agents = f"up to {request.max_agents} agents" if request.max_agents else "agents"
        names = ", ".join(f"'{name}'" for name in participant.behaviours)
        waiting = ""
        if not self._has_begun and len(self) < self.expected:
            waiting = (
                f" (waiting for {self.expected - len(self)} more of {self.expected} simulators)"
            )
        logger.info("%s joined: %s of %s%s", participant.label, agents, names, waiting)

    def _begin_if_complete(self) -> None:
        self._has_begun = self._has_begun or len(self) >= self.expected
        if self._has_begun and not self._is_held:
            for behaviour in self.behaviours:
                behaviour.batcher.open()

    def refuse_join(self, error: SimulatorError, *, simulator: str) -> None:
        """A simulator, "" if it gave no name, may not join; the caller tells it."""
        self.counters["sessions_refused"] += 1
        self.count_refusal(error)
        self._refusals.log(error)
        is_final = isinstance(error, BadHelloError | RefusedHelloError)
        if is_final and simulator and not namesakes(simulator, self):
            self._refusals.note(simulator, str(error))

    def hold(self) -> None:
        """Hand out no batches until `go_on`. Whoever asks waits, and nobody's grace time ends."""
        self._is_held = True
        for behaviour in self.behaviours:
            behaviour.batcher.hold()
        self._schedule_expiry()

    def go_on(self) -> None:
        """Hand out batches again. Who is not connected has all of the grace time from now."""
        self._is_held = False
        self.renew_deadlines()
        self._begin_if_complete()

    def pause(self) -> None:
        """Hand out no more batches: iterations over batchers end, for good. Nothing expires."""
        self.behaviours.close()
        self.stop_expiry()
        self._refusals.flush()
        self.statistics.flush()
        self._empty_steps.flush()

    def state(self) -> State:
        """All participants and behaviours, and what numbers those that join next."""
        return {
            "behaviours": self.behaviours.state(),
            "admission": self.admission.state(),
            "has_begun": self._has_begun,
            "counters": dict(self.counters),
            "statistics": self.statistics.state(),
            "participants": {str(index): each.state() for index, each in enumerate(self)},
            "unanswered": {
                str(index): unanswered_state(behaviour)
                for index, behaviour in enumerate(self.behaviours)
            },
        }

    def load_state(self, state: State) -> None:
        """Wait for the participants that `state` was taken of to come back.

        Of a batch that was out, `unanswered` of its behaviour's batcher owes the answer: its rows
        are not handed out again.
        """
        self.behaviours.load_state(state["behaviours"])
        self.admission.load_state(state["admission"])
        self._has_begun = state["has_begun"]
        if "statistics" in state:
            self.statistics.load_state(state["statistics"])
        for name in COUNTED:
            self.counters[name] = state["counters"].get(name, 0)
        for index in sorted(state["participants"], key=int):
            self._load_participant(state["participants"][index])
        for index, behaviour in enumerate(self.behaviours):
            load_unanswered(behaviour, state["unanswered"][str(index)], self._by_id)
        if self._has_begun:
            self._begin_if_complete()

    def _load_participant(self, state: State) -> None:
        identity = Identity(
            id=state["id"],
            simulator=state["simulator"],
            instance_id=state["instance_id"],
            joined=state["joined"],
            seed=state["seed"],
        )
        behaviours = [self.behaviours[name] for name in state["behaviours"]]
        participant = self._make_participant(identity, behaviours, state["peer"])
        participant.load_state(state, deadline_s=self._clock() + self.config.grace_s)
        participant.is_of_checkpoint = True
        for behaviour in behaviours:
            behaviour.batcher.restore(identity.id)
