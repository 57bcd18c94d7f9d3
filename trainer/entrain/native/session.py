"""One simulator's conversation, over all its streams, as a state machine without input or output.

    GREETING --attach--> RUNNING --detach--> DETACHED --attach--> RUNNING ...
    any --close--> CLOSED

A Step is split into one request per behaviour. The Act goes out when all of them are answered; it
is kept, so that a simulator whose stream broke can ask for it again. Nothing here knows of gRPC.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial

import numpy as np

from entrain.errors import BadStepError, UnexpectedMessageError
from entrain.serving.batch import Request
from entrain.serving.behaviours import Behaviour, by_name
from entrain.serving.limits import Limit
from entrain.serving.parameters import EnvironmentParameters
from entrain.serving.step_order import StepOrder
from entrain.state import State
from entrain.stopwatch import ServerTimings
from entrain_envs import codec
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class SessionState(Enum):
    """Where a conversation stands."""

    GREETING = "waiting for Hello"
    RUNNING = "running"
    DETACHED = "detached"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a session is with; never changes."""

    session_id: str
    simulator: str
    """For people, and for the order of rows in lockstep."""

    instance_id: str
    """Of the simulator's process."""

    joined: int
    """How many sessions joined before this one in this run."""

    seed: int
    """For the simulator's own randomness."""


Send = Callable[[bytes], None]
"""Takes a serialised ConnectResponse."""


def discard(_message: bytes) -> None:
    """Send nowhere: there is no stream."""


class Session:
    """See the module. Owned by the event loop.

    The caller submits the requests that `receive_step` returns, and releases what the session
    holds of slots and queues when it closes.
    """

    def __init__(
        self,
        identity: Identity,
        behaviours: Sequence[Behaviour],
        *,
        lockstep: bool,
        waiting_bytes: Limit,
        parameters: EnvironmentParameters,
        seconds: ServerTimings,
    ) -> None:
        self.identity = identity
        self.behaviours = tuple(behaviours)
        self.state_now = SessionState.GREETING
        self.peer = "unknown"
        self.deadline_s = float("inf")
        """When the session of a broken stream is given up."""
        self._by_name = by_name(behaviours)
        self._lockstep = lockstep
        self._waiting_bytes = waiting_bytes
        self._held_bytes = 0
        self._parameters = parameters
        self._known_parameters = parameters.values
        self._seconds = seconds
        self._send: Send = discard
        self._sequence = 0
        self._wanted: tuple[str, ...] = ()
        self._with_rows: tuple[str, ...] = ()
        self._answered: dict[str, pb.BehaviourAct] = {}
        self._asked: dict[str, StepOrder] = {}
        self._awaiting = {name: StepOrder() for name in self._by_name}
        self._claimed = dict.fromkeys(self._by_name, 0)
        self._may_repeat = False
        self._is_restored = False
        self._has_forgotten = False

    def __repr__(self) -> str:
        return f"<Session {self.label}: {self.state_now.value}>"

    @property
    def label(self) -> str:
        """For people: simulator@host."""
        return f"{self.identity.simulator}@{self.peer}"

    @property
    def rank(self) -> tuple[str, int]:
        """Where its rows stand in a lockstep batch."""
        return (self.identity.simulator, self.identity.joined)

    @property
    def num_agents(self) -> int:
        """Agents that await the outcome of an action."""
        return sum(len(awaiting) for awaiting in self._awaiting.values())

    @property
    def is_live(self) -> bool:
        """Whether it takes part: running, or its stream may yet come back."""
        return self.state_now in {SessionState.RUNNING, SessionState.DETACHED}

    @property
    def has_unanswered_step(self) -> bool:
        """Whether a Step arrived whose Act is not complete."""
        return len(self._answered) < len(self._wanted)

    def behaviour(self, name: str) -> Behaviour:
        """The behaviour of that name, one of its own."""
        return self._by_name[name]

    def attach(self, peer: str, send: Send) -> None:
        """A stream carries the conversation from here on; Welcome told it all parameters."""
        self.peer = peer
        self._send = send
        self._known_parameters = self._parameters.values
        self._may_repeat = self.state_now is SessionState.DETACHED
        self.state_now = SessionState.RUNNING
        self.deadline_s = float("inf")

    def detach(self, *, deadline_s: float) -> None:
        """The stream broke. What waits goes on waiting, and is kept for when it comes back."""
        self._require(SessionState.RUNNING, "the end of its stream")
        self._send = discard
        self.state_now = SessionState.DETACHED
        self.deadline_s = deadline_s

    def close(self) -> None:
        """The conversation is over; answers that still arrive go nowhere."""
        self.state_now = SessionState.CLOSED
        self._send = discard
        self._asked.clear()
        self._hold_bytes(0)
        for name in self._claimed:
            self._claim(name, 0)

    @property
    def expected_sequence(self) -> int:
        """Of the Step whose turn it is."""
        return self._sequence if self.has_unanswered_step else self._sequence + 1

    def is_ahead(self, sequence: int) -> bool:
        """Whether the simulator is further than this session, which came from a checkpoint."""
        return self._is_restored and sequence > self.expected_sequence

    def forget(self, *, before: int) -> None:
        """Go on from Step `before` although the Steps until then are lost.

        The trainer has come back from a checkpoint that is older than what it answered since. Which
        agents await an outcome is not known any more: see `StepOrder.welcome_strays`.
        """
        self._has_forgotten = True
        self._sequence = before - 1
        self._wanted = self._with_rows = ()
        self._answered.clear()
        self._asked.clear()
        for name in self._awaiting:
            self._awaiting[name] = StepOrder()
            self._claim(name, 0)

    def receive_step(self, step: pb.Step, *, size: int) -> tuple[Request, ...]:
        """What happened in the simulator: one request per behaviour, for the caller to submit.

        Args:
            step: as it came.
            size: of the message in bytes.

        Raises:
            UnexpectedMessageError: it is not this Step's turn.
            BadStepError: its content is wrong.
            LimitError: there is no room for so many agents or bytes.
        """
        self._require(SessionState.RUNNING, "Step")
        may_repeat, self._may_repeat = self._may_repeat, False
        if may_repeat and step.sequence == self._sequence:
            return self._receive_again(step, size)
        if step.sequence != self._sequence + 1 or self.has_unanswered_step:
            raise self._out_of_turn(step.sequence)
        parts = self._read(step)
        self._sequence = step.sequence
        self._with_rows = tuple(parts)
        self._wanted = tuple(self._by_name) if self._lockstep else self._with_rows
        self._answered = {}
        self._is_restored = False
        if not self._wanted:
            self._send(self._act())
        return self._ask(self._wanted, parts, size)

    def _receive_again(self, step: pb.Step, size: int) -> tuple[Request, ...]:
        """The unanswered Step of a stream that broke, or one whose Act was lost with the stream."""
        self._is_restored = False
        if not self.has_unanswered_step:
            self._send(self._act())
            return ()
        lost = [
            name for name in self._wanted if name not in self._answered and name not in self._asked
        ]
        return self._ask(lost, self._read(step), size) if lost else ()

    def _out_of_turn(self, sequence: int) -> UnexpectedMessageError:
        if self.has_unanswered_step:
            return UnexpectedMessageError(
                f"{self.label} sent Step {sequence} while Step {self._sequence} has no Act yet; "
                "one unanswered Step is allowed: wait for its Act before the next"
            )
        return UnexpectedMessageError(
            f"{self.label} sent Step {sequence}, expected Step {self.expected_sequence}; number "
            "Steps 1, 2, 3, ... within a session, and send one again only after the stream broke"
        )

    def _read(self, step: pb.Step) -> Mapping[str, TimestepBatch]:
        """The rows of each behaviour that has any, held against its spec."""
        parts: dict[str, TimestepBatch] = {}
        seen: set[str] = set()
        for message in step.behaviours:
            name = message.behaviour
            behaviour = self._by_name.get(name)
            if behaviour is None:
                raise BadStepError(
                    f"{self.label} sent rows of behaviour '{name}', unknown from its Hello "
                    f"(which has: {', '.join(self._by_name)}); declare every behaviour in Hello"
                )
            if name in seen:
                raise BadStepError(
                    f"{self.label} sent behaviour '{name}' twice in Step {step.sequence}; "
                    "put all its rows into one entry"
                )
            seen.add(name)
            try:
                timesteps = codec.decode_timesteps(behaviour.spec, message)
            except EntrainEnvsError as error:
                raise BadStepError(f"{self.label}: {error}") from None
            if len(timesteps):
                parts[name] = timesteps
        return parts

    def _ask(
        self, names: Sequence[str], parts: Mapping[str, TimestepBatch], size: int
    ) -> tuple[Request, ...]:
        """Requests for these behaviours; those without rows ask for nothing, and are counted."""
        requests = [self._request(name, parts) for name in names]
        asked = {
            name: self._awaiting_after(name, request.timesteps)
            for name, request in zip(names, requests, strict=True)
        }
        self._hold_bytes(size if names else 0)
        for name, awaiting in asked.items():
            self._claim(name, len(awaiting))
        self._asked.update(asked)
        return tuple(requests)

    def _request(self, name: str, parts: Mapping[str, TimestepBatch]) -> Request:
        timesteps = parts.get(name, self._by_name[name].no_rows)
        if self._has_forgotten:
            timesteps = self._awaiting[name].welcome_strays(timesteps)
        return Request(
            owner=self.identity.session_id,
            rank=self.rank,
            behaviour=name,
            timesteps=timesteps,
            num_actions=int(np.count_nonzero(timesteps.needs_action)),
            answer=self.answer_of(name),
        )

    def answer_of(self, name: str) -> Callable[[ActionBatch], None]:
        """What takes the actions of that behaviour's part of the newest Step."""
        return partial(self._answer, name, self._sequence)

    def _awaiting_after(self, name: str, timesteps: TimestepBatch) -> StepOrder:
        try:
            return self._awaiting[name].after(timesteps)
        except BadStepError as error:
            raise BadStepError(f"{self.label}: behaviour '{name}', {error}") from None

    def _answer(self, name: str, sequence: int, actions: ActionBatch) -> None:
        """Actions for the rows of one behaviour; sends the Act if they were the last missing.

        Ignored if the session has ended, or does not wait for them any more.
        """
        if sequence != self._sequence or name not in self._asked:
            return
        began_s = time.perf_counter()
        self._awaiting[name] = self._asked.pop(name)
        self._answered[name] = codec.encode_actions(self._by_name[name].spec, actions)
        if not self.has_unanswered_step:
            self._hold_bytes(0)
            # A simulator that has just come back is about to send the Step again: see there.
            if not self._may_repeat:
                self._send(self._act())
        self._seconds.encode += time.perf_counter() - began_s

    def _act(self) -> bytes:
        """The Act of the newest Step, with the parameters that the simulator does not know yet."""
        response = pb.ConnectResponse()
        response.act.sequence = self._sequence
        for name in self._with_rows:
            response.act.behaviours.append(self._answered[name])
        changed = self._parameters.changed_since(self._known_parameters)
        response.act.changed_environment_parameters.update(changed)
        self._known_parameters = self._parameters.values
        return response.SerializeToString()

    def _claim(self, name: str, agents: int) -> None:
        """Hold room for so many agents of the behaviour, instead of as many as before."""
        self._by_name[name].agents.take(agents - self._claimed[name], who=self.label)
        self._claimed[name] = agents

    def _hold_bytes(self, size: int) -> None:
        """Hold room for so many bytes of an unanswered Step, instead of as many as before."""
        self._waiting_bytes.take(size - self._held_bytes, who=self.label)
        self._held_bytes = size

    def _require(self, expected: SessionState, message: str) -> None:
        if self.state_now is not expected:
            raise UnexpectedMessageError(
                f"{self.label} sent {message} while {self.state_now.value}; "
                f"it is only expected while {expected.value}"
            )

    def state(self) -> State:
        """The conversation so far. Requests that no batch has taken are left out: the simulator
        sends their Step again.
        """
        asked = {
            behaviour.name: self._asked[behaviour.name]
            for behaviour in self.behaviours
            if behaviour.batcher.owes(self.identity.session_id)
        }
        return {
            **asdict(self.identity),
            "peer": self.peer,
            "behaviours": list(self._by_name),
            "sequence": self._sequence,
            "wanted": list(self._wanted),
            "with_rows": list(self._with_rows),
            "has_forgotten": self._has_forgotten,
            "parts": {
                str(index): {
                    "awaiting": self._awaiting[name].state(),
                    "asked": asked[name].state() if name in asked else None,
                    "answered": self._answered[name].SerializeToString()
                    if name in self._answered
                    else None,
                }
                for index, name in enumerate(self._by_name)
            },
        }

    def load_state(self, state: State, *, deadline_s: float) -> None:
        """Wait, detached, for the simulator to come back to where `state` was taken."""
        self.peer = state["peer"]
        self._sequence = state["sequence"]
        self._wanted = tuple(state["wanted"])
        self._with_rows = tuple(state["with_rows"])
        self._has_forgotten = state["has_forgotten"]
        for index, name in enumerate(self._by_name):
            part = state["parts"][str(index)]
            self._awaiting[name] = StepOrder.from_state(part["awaiting"])
            if part["asked"] is not None:
                self._asked[name] = StepOrder.from_state(part["asked"])
            if part["answered"] is not None:
                self._answered[name] = pb.BehaviourAct.FromString(part["answered"])
            self._claim(name, len(self._asked.get(name, self._awaiting[name])))
        self._is_restored = True
        self.state_now = SessionState.DETACHED
        self.deadline_s = deadline_s
