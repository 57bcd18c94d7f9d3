"""A trainer without a network: simulators talk to it by method calls, and time is a number."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from entrain.config.run import ServerConfig
from entrain.native.sessions import Sessions
from entrain.native.stream import Link, StreamEnd, StreamProtocol
from entrain.requests import SlotTimesteps, Unanswered
from entrain.run.state_files import decode_state, encode_state
from entrain.serving.batch import RequestBatch
from entrain.serving.behaviours import Behaviour, Behaviours, Opener, open_nothing
from entrain.serving.participants import Participants
from entrain.state import State
from entrain_envs import codec
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import encode_spec
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


def reply_now(batch: Unanswered, actions: ActionBatch) -> None:
    """Answer without waiting, which never yields to the event loop."""
    with pytest.raises(StopIteration):
        batch.reply(actions, wait=False).__await__().send(None)


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
    stream: StreamProtocol
    inbox: list[pb.ConnectResponse] = field(default_factory=list)

    def send(self, **message: Any) -> None:
        self.stream.receive(pb.ConnectRequest(**message).SerializeToString())

    def hello(
        self, *, resume: str = "", max_agents: int = 0, max_unanswered_steps: int = 0
    ) -> pb.Welcome:
        self.send(
            hello=pb.Hello(
                min_version=1,
                max_version=1,
                simulator=self.name,
                instance_id=self.instance_id,
                behaviours=[encode_spec(spec) for spec in self.specs],
                max_agents=max_agents,
                resume_session_id=resume,
                max_unanswered_steps=max_unanswered_steps,
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


@dataclass
class Inbox(Link):
    """Takes messages at once; a transport's outbox in earnest."""

    messages: list[pb.ConnectResponse]
    ended: list[StreamEnd] = field(default_factory=list)

    def send(self, message: bytes, taken: Callable[[], None]) -> None:
        self.messages.append(pb.ConnectResponse.FromString(message))
        taken()

    def end(self, how: StreamEnd) -> None:
        self.ended.append(how)


class World:
    """See the module."""

    def __init__(
        self,
        *,
        expect: int = 1,
        accepts: Callable[[str], bool] = SPECS.__contains__,
        on_new: Opener = open_nothing,
        **options: Any,
    ) -> None:
        self.config = ServerConfig(**options)
        self.timers = FakeTimers()
        self.behaviours = Behaviours(
            self.config,
            accepts=accepts,
            policies=tuple(SPECS),
            on_new=on_new,
            clock=self.timers.clock,
            call_later=self.timers.call_later,
        )
        self.participants = Participants(
            self.config,
            self.behaviours,
            seed=7,
            expect=expect,
            environment_parameters={"gravity": 9.5},
            clock=self.timers.clock,
            call_later=self.timers.call_later,
        )
        self.sessions = Sessions(self.participants, run_id="run")

    def behaviour(self, name: str = "walker") -> Behaviour:
        return self.behaviours[name]

    def dial(
        self,
        name: str = "walker-sim",
        *,
        instance_id: str = "process-1",
        specs: tuple[BehaviourSpec, ...] = (WALKER,),
        peer: str = "10.0.0.7",
        unheard: str = "",
    ) -> Simulator:
        """A new stream, before its Hello."""
        inbox: list[pb.ConnectResponse] = []
        stream = StreamProtocol(self.sessions, peer=peer, link=Inbox(inbox), unheard=unheard)
        return Simulator(self, name, instance_id, specs, stream, inbox)

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
        reply_now(batch, actions_for(SPECS[name], batch.timesteps, version))
        return batch.timesteps

    def state(self) -> State:
        return {"participants": self.participants.state(), "front": self.sessions.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Of another world, by way of the files of a checkpoint."""
        state = decode_state(*encode_state(state))
        self.participants.load_state(state["participants"])
        self.sessions.load_state(state["front"])
