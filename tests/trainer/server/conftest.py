"""A server without a network: simulators talk to it by method calls, and time is a number."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np
import pytest

from entrain.config.run import ServerConfig
from entrain.native.sessions import Roster
from entrain.native.stream import StreamProtocol
from entrain.requests import SlotTimesteps
from entrain.run.state_files import decode_state, encode_state
from entrain.serving.batch import RequestBatch
from entrain.serving.behaviours import Behaviour, Behaviours, prepare_nothing
from entrain.serving.limits import max_message_bytes
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State
from entrain.stopwatch import ServerTimings
from entrain_envs import codec
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

WALKER = BehaviourSpec(
    "walker", (ObservationSpec("eyes", (2,)),), ActionSpec(low=(-1.0,), high=(1.0,))
)
BIRD = BehaviourSpec("bird", (ObservationSpec("height", ()),), ActionSpec(branches=(3, 2)))
SPECS = {spec.name: spec for spec in (WALKER, BIRD)}

Row = tuple[int, StepType] | tuple[int, StepType, float]
"""agent id, step type, reward."""


def timesteps_of(spec: BehaviourSpec, rows: Sequence[Row]) -> TimestepBatch:
    """Rows whose every observation is (agent id + reward), to be recognised by."""
    agent_id = np.array([row[0] for row in rows], np.int64)
    reward = np.array([row[2] if len(row) > 2 else 0.0 for row in rows], np.float32)
    seen = (agent_id + reward).astype(np.float32)
    return TimestepBatch(
        agent_id=agent_id,
        step_type=np.array([row[1] for row in rows], np.uint8),
        reward=reward,
        observation={
            observation.name: np.broadcast_to(
                seen.reshape(-1, *(1 for _ in observation.shape)), (len(rows), *observation.shape)
            ).astype(np.float32)
            for observation in spec.observations
        },
        action_mask=np.ones((len(rows), spec.action.num_choices), np.bool_),
    )


def actions_for(spec: BehaviourSpec, batch: SlotTimesteps, version: int = 0) -> ActionBatch:
    """Each action names the agent it is for: continuous agent id, discrete agent id modulo."""
    acting = batch.timesteps.agent_id[batch.timesteps.needs_action]
    return ActionBatch(
        continuous=np.repeat(acting[:, None], spec.action.continuous_size, 1).astype(np.float32),
        discrete=(acting[:, None] % np.array(spec.action.branches, np.int64)).astype(np.int32),
        policy_version=version,
    )


class FakeTimers:
    """`call_later` whose time passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waiting: list[FakeTimer] = []

    def clock(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> "FakeTimer":
        timer = FakeTimer(self.now_s + delay_s, callback)
        self.waiting.append(timer)
        return timer

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        due = [timer for timer in self.waiting if timer.due_s <= self.now_s + 1e-9]
        self.waiting = [timer for timer in self.waiting if timer not in due]
        for timer in due:
            if not timer.is_cancelled:
                timer.callback()


@dataclass
class FakeTimer:
    due_s: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class Simulator:
    """A simulator and the stream it has now."""

    world: "World"
    name: str
    instance_id: str
    specs: tuple[BehaviourSpec, ...]
    conversation: StreamProtocol
    inbox: list[pb.ConnectResponse] = field(default_factory=list)

    def send(self, **message: Any) -> None:
        self.conversation.receive(pb.ConnectRequest(**message).SerializeToString())

    def hello(self, *, resume: str = "", max_agents: int = 0) -> pb.Welcome:
        self.send(
            hello=pb.Hello(
                min_version=1,
                max_version=1,
                simulator=self.name,
                instance_id=self.instance_id,
                behaviours=[codec.encode_spec(spec) for spec in self.specs],
                max_agents=max_agents,
                resume_session_id=resume,
            )
        )
        welcome = self.inbox.pop().welcome
        assert welcome.session_id
        return welcome

    def step(self, sequence: int, *rows: Row, **rows_by_behaviour: Sequence[Row]) -> None:
        """Rows of 'walker', or of behaviours by name."""
        parts: dict[str, Sequence[Row]] = {"walker": rows} if rows else {}
        parts.update(rows_by_behaviour)
        self.send(
            step=pb.Step(
                sequence=sequence,
                behaviours=[
                    codec.encode_timesteps(SPECS[name], timesteps_of(SPECS[name], part))
                    for name, part in parts.items()
                ],
            )
        )

    def goodbye(self, reason: str = "") -> None:
        self.send(goodbye=pb.Goodbye(reason=reason))

    def acts(self) -> list[pb.Act]:
        """All Acts since this was last asked."""
        acts = [response.act for response in self.inbox if response.HasField("act")]
        self.inbox.clear()
        return acts

    def acted_agents(self) -> list[tuple[int, list[int]]]:
        """(sequence, agents of the walker actions) of all Acts since this was last asked."""
        return [
            (
                act.sequence,
                [
                    int(number)
                    for part in act.behaviours
                    for number in np.frombuffer(part.continuous, np.float32)
                ],
            )
            for act in self.acts()
        ]


class World:
    """See the module."""

    def __init__(
        self,
        *,
        expect: int = 1,
        accepts: Callable[[str], bool] = SPECS.__contains__,
        prepare: Callable[[Sequence[BehaviourSpec]], None] = prepare_nothing,
        **options: Any,
    ) -> None:
        self.config = ServerConfig(**options)
        self.timers = FakeTimers()
        self.parameters = EnvironmentParameters({"gravity": 9.5})
        self.seconds = ServerTimings()
        self.behaviours = Behaviours(
            self.config,
            accepts=accepts,
            policies=tuple(SPECS),
            prepare=prepare,
            clock=self.timers.clock,
            call_later=self.timers.call_later,
        )
        self.roster = Roster(
            self.config,
            self.behaviours,
            self.parameters,
            seconds=self.seconds,
            seed=7,
            expect=expect,
            clock=self.timers.clock,
        )

    def behaviour(self, name: str = "walker") -> Behaviour:
        return next(behaviour for behaviour in self.behaviours if behaviour.name == name)

    def converse(self, peer: str, send: Callable[[bytes], None]) -> StreamProtocol:
        """A new stream whose answers go there."""
        return StreamProtocol(
            self.roster,
            self.parameters,
            self.seconds,
            run_id="run",
            grace_s=self.config.grace_s,
            max_message_bytes=max_message_bytes(self.config),
            peer=peer,
            send=send,
        )

    def dial(
        self,
        name: str = "walker-sim",
        *,
        instance_id: str = "process-1",
        specs: tuple[BehaviourSpec, ...] = (WALKER,),
        peer: str = "10.0.0.7",
    ) -> Simulator:
        """A new stream, before its Hello."""
        inbox: list[pb.ConnectResponse] = []

        def send(content: bytes) -> None:
            inbox.append(pb.ConnectResponse.FromString(content))

        conversation = self.converse(peer, send)
        return Simulator(self, name, instance_id, specs, conversation, inbox)

    def join(self, name: str = "walker-sim", **options: Any) -> Simulator:
        """A new stream that has been welcomed."""
        simulator = self.dial(name, **options)
        simulator.hello()
        return simulator

    def is_due(self, name: str = "walker") -> bool:
        return self.behaviour(name).batcher.is_due

    def take(self, name: str = "walker") -> RequestBatch:
        assert self.is_due(name)
        return self.behaviour(name).batcher.take()

    def serve(self, name: str = "walker", *, version: int = 0) -> SlotTimesteps:
        """Answer the batch that is due, and return its rows."""
        batch = self.take(name)
        batch.reply(actions_for(SPECS[name], batch.timesteps, version))
        return batch.timesteps

    def state(self) -> State:
        return {"behaviours": self.behaviours.state(), "roster": self.roster.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Of another world, by way of the files of a checkpoint."""
        state = decode_state(*encode_state(state))
        self.behaviours.load_state(state["behaviours"])
        self.roster.load_state(state["roster"])


@pytest.fixture
def walker() -> BehaviourSpec:
    """Observes eyes[2], acts with one continuous number."""
    return WALKER


@pytest.fixture
def bird() -> BehaviourSpec:
    """Observes one height, acts with branches of 3 and 2."""
    return BIRD


@pytest.fixture
def make_world() -> Callable[..., World]:
    """Makes a world; options are those of ServerConfig."""
    return World


@pytest.fixture
def world() -> World:
    """One with default options."""
    return World()


@pytest.fixture
def rows() -> Callable[..., TimestepBatch]:
    """Rows of the walker: `rows((agent, step type, reward), ...)`."""

    def make(*rows: Row) -> TimestepBatch:
        return timesteps_of(WALKER, rows)

    return make


@pytest.fixture
def timers() -> FakeTimers:
    """A clock that stands still."""
    return FakeTimers()


@pytest.fixture
def count_statements() -> Callable[[Callable[[], object]], int]:
    """Counts the lines of both packages that a call runs."""

    def count(run: Callable[[], object]) -> int:
        lines = 0

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal lines
            source = frame.f_code.co_filename
            lines += event == "line" and any(
                name in source for name in ("entrain/serving/", "entrain/native/", "entrain_envs/")
            )
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            run()
        finally:
            sys.settrace(before)
        return lines

    return count
