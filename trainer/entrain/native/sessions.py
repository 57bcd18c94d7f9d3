"""Who takes part: welcomes simulators, recognises those that come back, releases those that left.

Nothing here knows of gRPC or sockets: a stream is a function that takes what should be sent.
"""

import hashlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from entrain.config.run import ServerConfig
from entrain.errors import BadHelloError, LimitError, RefusedHelloError, SimulatorError
from entrain.native.hello import ParsedHello
from entrain.native.session import Identity, Send, Session, SessionState
from entrain.serving.batch import Reply
from entrain.serving.behaviours import Behaviour, Behaviours
from entrain.serving.limits import Limit
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State
from entrain.stopwatch import ServerTimings
from entrain_envs.timestep import ActionBatch
from entrain_envs.wire import trainer_pb2 as pb

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
"""What is counted: joined and resumed ones; those that went on after the trainer had forgotten some
of their Steps; those that left by themselves or because the run was complete; those that did not
come back in the grace time; Hellos and Steps that were refused."""


class Roster:
    """All sessions of a run. Owned by the event loop."""

    def __init__(
        self,
        config: ServerConfig,
        behaviours: Behaviours,
        parameters: EnvironmentParameters,
        *,
        seconds: ServerTimings,
        seed: int,
        expect: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody yet.

        Args:
            config: limits, grace time, lockstep.
            behaviours: of the run; sessions join their queues.
            parameters: of the environment.
            seconds: where time is noted.
            seed: of the run; simulators' seeds derive from it.
            expect: live sessions that must be there before the first batch.
            clock: seconds.
        """
        self._config = config
        self._behaviours = behaviours
        self._parameters = parameters
        self._seconds = seconds
        self._seed = seed
        self._expect = expect
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._joined = 0
        self._joined_by_name: Counter[str] = Counter()
        self._has_begun = False
        self._refusals: dict[str, str] = {}
        self._waiting_bytes = Limit(
            int(config.max_waiting_mib * 2**20),
            of="bytes of unanswered Steps",
            option="server.max_waiting_mib",
        )
        self.counters: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def has_begun(self) -> bool:
        """Whether as many simulators as expected have joined."""
        return self._has_begun

    @property
    def num_running(self) -> int:
        """Sessions whose stream is there."""
        return sum(session.state_now is SessionState.RUNNING for session in self)

    @property
    def refusals(self) -> Mapping[str, str]:
        """{simulator: why its Hello was refused} of those whose next one would be as well.

        Newest last. Who has joined since is not among them.
        """
        return dict(self._refusals)

    def welcome(self, greeting: ParsedHello, peer: str, send: Send) -> tuple[Session, bool]:
        """A simulator's session, attached to its stream, and whether it is resumed.

        The caller ends the stream that a resumed session had before, if it still has one.
        Raises BadHelloError, RefusedHelloError or LimitError and changes nothing then.
        """
        for spec in greeting.specs:
            self._behaviours.check(spec, who=greeting.who)
        session = self._to_resume(greeting)
        if session is not None:
            return self._resume(session, peer, send), True
        self._check_room(greeting)
        self._check_name(greeting)
        # Last of what may refuse it, for nothing undoes this.
        self._behaviours.prepare(greeting.specs, who=greeting.who)
        self._replace_restarted(greeting)
        return self._join(greeting, peer, send), False

    def _to_resume(self, greeting: ParsedHello) -> Session | None:
        session = self._sessions.get(greeting.resume_session_id)
        if session is None or session.identity.instance_id != greeting.instance_id:
            return None
        known = {behaviour.name for behaviour in session.behaviours}
        if known != {spec.name for spec in greeting.specs}:
            raise RefusedHelloError(
                f"{greeting.who} resumes its session with other behaviours than it began with; "
                f"expected {', '.join(sorted(known))}: leave resume_session_id empty to begin anew"
            )
        return session

    def _resume(self, session: Session, peer: str, send: Send) -> Session:
        if session.state_now is SessionState.RUNNING:
            self.detach(session)
        session.attach(peer, send)
        for behaviour in session.behaviours:
            behaviour.batcher.attach(session.identity.session_id)
        self.counters["sessions_resumed"] += 1
        logger.info("%s came back: %d agents go on", session.label, session.num_agents)
        return session

    def _check_room(self, greeting: ParsedHello) -> None:
        if len(self._sessions) >= self._config.max_sessions:
            raise LimitError(
                f"{greeting.who} would be simulator {len(self._sessions) + 1}, and this trainer "
                f"allows {self._config.max_sessions}; raise server.max_sessions of the trainer, "
                "or wait until another simulator leaves"
            )
        if greeting.max_agents > self._config.max_agents:
            raise LimitError(
                f"{greeting.who} announces up to {greeting.max_agents:,} agents, and this trainer "
                f"allows {self._config.max_agents:,}; raise server.max_agents of the trainer, or "
                "run fewer agents"
            )

    def _check_name(self, greeting: ParsedHello) -> None:
        """In lockstep a name is one simulator."""
        for other in self._namesakes(greeting.simulator):
            if self._config.lockstep and other.state_now is SessionState.RUNNING:
                raise RefusedHelloError(
                    f"{greeting.who} has the name of {other.label}, which is connected; in "
                    "lockstep the names order the rows of a batch: give every simulator a name "
                    "of its own"
                )

    def _replace_restarted(self, greeting: ParsedHello) -> None:
        """In lockstep a new process replaces one of its name whose stream broke.

        Else everyone would wait out the grace time of a process that has been started again.
        """
        if self._config.lockstep:
            for other in self._namesakes(greeting.simulator):
                self._release(other, "sessions_lost", f"{other.label} was started again")

    def _namesakes(self, simulator: str) -> list[Session]:
        return [session for session in self if session.identity.simulator == simulator]

    def _join(self, greeting: ParsedHello, peer: str, send: Send) -> Session:
        identity = Identity(
            session_id=secrets.token_hex(16),
            simulator=greeting.simulator,
            instance_id=greeting.instance_id,
            joined=self._joined,
            seed=self._simulator_seed(greeting.simulator),
        )
        self._joined += 1
        self._joined_by_name[greeting.simulator] += 1
        self._refusals.pop(greeting.simulator, None)
        session = self._make_session(
            identity, [self._behaviours.admit(spec) for spec in greeting.specs]
        )
        session.attach(peer, send)
        for behaviour in session.behaviours:
            behaviour.batcher.join(identity.session_id)
        self.counters["sessions_joined"] += 1
        self._log_joined(session, greeting)
        self._begin_if_complete()
        return session

    def _make_session(self, identity: Identity, behaviours: list[Behaviour]) -> Session:
        session = Session(
            identity,
            behaviours,
            lockstep=self._config.lockstep,
            waiting_bytes=self._waiting_bytes,
            parameters=self._parameters,
            seconds=self._seconds,
        )
        self._sessions[identity.session_id] = session
        return session

    def _log_joined(self, session: Session, greeting: ParsedHello) -> None:
        agents = f"up to {greeting.max_agents} agents" if greeting.max_agents else "agents"
        names = ", ".join(f"'{behaviour.name}'" for behaviour in session.behaviours)
        waiting = ""
        if not self._has_begun and len(self) < self._expect:
            waiting = f" (simulator {len(self)} of {self._expect} to begin with)"
        logger.info("%s joined: %s of %s%s", session.label, agents, names, waiting)

    def _begin_if_complete(self) -> None:
        self._has_begun = self._has_begun or len(self) >= self._expect
        if self._has_begun:
            for behaviour in self._behaviours:
                behaviour.batcher.open()

    def _simulator_seed(self, simulator: str) -> int:
        """The same for the same run seed and name; in greedy mode also for how often it joined.

        In lockstep the name alone decides, for a name is one simulator however often it joins.
        """
        ordinal = 0 if self._config.lockstep else self._joined_by_name[simulator]
        content = f"{self._seed}/{ordinal}/{simulator}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")

    def receive_step(self, session: Session, step: pb.Step, *, size: int) -> None:
        """Put what a simulator sent into the queues of its behaviours."""
        if session.is_ahead(step.sequence):
            self._resync(session, step.sequence)
        requests = session.receive_step(step, size=size)
        for request in requests:
            session.behaviour(request.behaviour).batcher.submit(request)

    def _resync(self, session: Session, sequence: int) -> None:
        logger.warning(
            "%s is at Step %d, but the checkpoint that this trainer came from knows it at Step %d: "
            "%d open steps dropped",
            session.label,
            sequence,
            session.expected_sequence,
            session.num_agents,
        )
        session.forget(before=sequence)
        for behaviour in session.behaviours:
            behaviour.slots.release(session.identity.session_id)
        self.counters["sessions_resynced"] += 1

    def detach(self, session: Session) -> None:
        """A session's stream broke: it has the grace time to come back."""
        session.detach(deadline_s=self._clock() + self._config.grace_s)
        for behaviour in session.behaviours:
            behaviour.batcher.detach(session.identity.session_id)

    def leave(self, session: Session, reason: str) -> None:
        """A session is over by Goodbye, or because the run is complete."""
        words = f"{session.label} left ({reason})" if reason else f"{session.label} left"
        self._release(session, "sessions_left", words)

    def refuse_step(self, session: Session, error: SimulatorError) -> None:
        """A session is over because of what it sent; the caller says so to the simulator."""
        self._release(session, "steps_refused", f"session refused: {error}")

    def refuse_hello(self, error: SimulatorError, *, simulator: str) -> None:
        """A simulator, "" if it gave no name yet, is not welcome; the caller says so to it."""
        self.counters["sessions_refused"] += 1
        logger.warning("refused: %s", error)
        is_final = isinstance(error, BadHelloError | RefusedHelloError)
        if is_final and simulator and not self._namesakes(simulator):
            self._refusals.pop(simulator, None)
            self._refusals[simulator] = str(error)
            if len(self._refusals) > self._config.max_sessions:
                del self._refusals[next(iter(self._refusals))]

    def expire(self) -> None:
        """Release the sessions whose grace time is over."""
        now_s = self._clock()
        for session in [session for session in self if session.deadline_s <= now_s]:
            self._release(session, "sessions_lost", f"{session.label} left without goodbye")

    @property
    def next_deadline_s(self) -> float:
        """When `expire` has something to do; infinity if no stream is broken."""
        return min((session.deadline_s for session in self), default=float("inf"))

    def renew_deadlines(self) -> None:
        """Sessions of a checkpoint have the grace time from when the trainer listens again."""
        for session in self:
            if session.state_now is SessionState.DETACHED:
                session.deadline_s = self._clock() + self._config.grace_s

    def _release(self, session: Session, counter: str, words: str) -> None:
        """End a session, count it, and tell the log in these words."""
        open_steps = session.num_agents
        del self._sessions[session.identity.session_id]
        session.close()
        slots = sum(
            behaviour.batcher.leave(session.identity.session_id) for behaviour in session.behaviours
        )
        self.counters[counter] += 1
        logger.log(
            logging.INFO if counter == "sessions_left" else logging.WARNING,
            "%s: %s slots released, %s open steps dropped",
            words,
            f"{slots:,}",
            f"{open_steps:,}",
        )

    def state(self) -> State:
        """All sessions, and what numbers those that join next."""
        return {
            "joined": self._joined,
            "joined_names": list(self._joined_by_name),
            "joined_counts": list(self._joined_by_name.values()),
            "has_begun": self._has_begun,
            "counters": dict(self.counters),
            "sessions": {str(index): session.state() for index, session in enumerate(self)},
            "unanswered": {
                str(index): self._unanswered_state(behaviour)
                for index, behaviour in enumerate(self._behaviours)
            },
        }

    @staticmethod
    def _unanswered_state(behaviour: Behaviour) -> State:
        unanswered = behaviour.batcher.unanswered
        owed = () if unanswered is None else unanswered.owed
        return {
            "is_out": unanswered is not None,
            "owners": [reply.owner for reply in owed],
            "num_actions": [reply.num_actions for reply in owed],
        }

    def load_state(self, state: State) -> None:
        """Wait for the sessions that `state` was taken of to come back."""
        self._joined = state["joined"]
        self._joined_by_name = Counter(
            dict(zip(state["joined_names"], state["joined_counts"], strict=True))
        )
        self._has_begun = state["has_begun"]
        for name in COUNTED:
            self.counters[name] = state["counters"].get(name, 0)
        by_name: Mapping[str, Behaviour] = {b.name: b for b in self._behaviours}
        for index in sorted(state["sessions"], key=int):
            self._load_session(state["sessions"][index], by_name)
        for index, behaviour in enumerate(self._behaviours):
            self._load_unanswered(behaviour, state["unanswered"][str(index)])
        if self._has_begun:
            self._begin_if_complete()

    def _load_session(self, state: State, by_name: Mapping[str, Behaviour]) -> None:
        identity = Identity(
            session_id=state["session_id"],
            simulator=state["simulator"],
            instance_id=state["instance_id"],
            joined=state["joined"],
            seed=state["seed"],
        )
        session = self._make_session(identity, [by_name[name] for name in state["behaviours"]])
        session.load_state(state, deadline_s=self._clock() + self._config.grace_s)
        for behaviour in session.behaviours:
            behaviour.batcher.restore(identity.session_id)

    def _load_unanswered(self, behaviour: Behaviour, state: State) -> None:
        if not state["is_out"]:
            return
        behaviour.batcher.restore_unanswered(
            [
                Reply(owner, num_actions, self._answer_of(owner, behaviour.name))
                for owner, num_actions in zip(state["owners"], state["num_actions"], strict=True)
            ]
        )

    def _answer_of(self, owner: str, behaviour: str) -> Callable[[ActionBatch], None]:
        session = self._sessions.get(owner)
        return _nobody if session is None else session.answer_of(behaviour)


def _nobody(_actions: ActionBatch) -> None:
    """Take the actions for a simulator that left while its batch was out."""
