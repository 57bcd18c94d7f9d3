"""A server on a real port, with simulators that are written out message by message."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc.aio import EOF  # type: ignore[attr-defined]

from entrain.config.run import ServerConfig
from entrain.requests import SlotTimesteps
from entrain.serving.behaviours import Behaviour, Opener, open_nothing
from entrain.serving.front import Ending
from entrain_envs import codec
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.native_server import NativeServer

WALKER = BehaviourSpec("walker", (ObservationSpec("eyes", (2,)),), ActionSpec((-1.0,), (1.0,)))
Row = tuple[int, StepType] | tuple[int, StepType, float]


def encode_rows(*rows: Row) -> pb.BehaviourStep:
    """Rows of the walker: (agent, step type, reward)."""
    return codec.encode_timesteps(
        WALKER,
        TimestepBatch(
            agent_id=np.array([row[0] for row in rows], np.int64),
            step_type=np.array([row[1] for row in rows], np.uint8),
            reward=np.array([row[2] if len(row) > 2 else 0.0 for row in rows], np.float32),
            observation={"eyes": np.zeros((len(rows), 2), np.float32)},
            action_mask=np.empty((len(rows), 0), np.bool_),
        ),
    )


class Simulator:
    """One stream to a server. `channel` stays open over several streams of a simulator."""

    def __init__(self, channel: Any, name: str, instance_id: str, metadata: dict[str, str]) -> None:
        self.channel = channel
        self.name = name
        self.instance_id = instance_id
        self.call = channel.stream_stream("/entrain.v1.Trainer/Connect")(
            metadata=tuple(metadata.items())
        )
        self.session_id = ""

    async def send(self, **message: Any) -> None:
        await self.call.write(pb.ConnectRequest(**message).SerializeToString())

    async def receive(self) -> pb.ConnectResponse:
        async with asyncio.timeout(10.0):
            content: bytes = await self.call.read()
        assert content is not EOF, f"the stream ended: {await self.call.details()}"
        return pb.ConnectResponse.FromString(content)

    async def hello(self, *, resume: str = "", **fields: Any) -> pb.Welcome:
        usual: dict[str, Any] = {
            "min_version": 1,
            "max_version": 1,
            "simulator": self.name,
            "instance_id": self.instance_id,
            "behaviours": [encode_spec(WALKER)],
            "resume_session_id": resume,
        }
        await self.send(hello=pb.Hello(**{**usual, **fields}))
        welcome = (await self.receive()).welcome
        self.session_id = welcome.session_id
        return welcome

    async def step(self, sequence: int, *rows: Row) -> None:
        await self.send(step=pb.Step(sequence=sequence, behaviours=[encode_rows(*rows)]))

    async def exchange(self, sequence: int, *rows: Row) -> list[int]:
        """The numbers that the agents of the Act got."""
        await self.step(sequence, *rows)
        act = (await self.receive()).act
        assert act.sequence == sequence
        return [int(n) for n in np.frombuffer(act.behaviours[0].continuous, np.float32)]

    async def status(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ends, once everything before has been read."""
        async with asyncio.timeout(10.0):
            try:
                while await self.call.read() is not EOF:
                    pass
            except grpc.aio.AioRpcError:
                pass
            return await self.call.code(), await self.call.details() or ""


class Running:
    """A server that answers, and everything its policy was shown."""

    def __init__(self, make: Callable[..., NativeServer]) -> None:
        self.address = ""
        self.known_as_sent = 0
        self._is_running = False
        self._new: list[Behaviour] = []
        self.seen: list[SlotTimesteps] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels: list[grpc.aio.Channel] = []
        self.server = make(on_new=self._serve_all)

    async def start(self) -> None:
        for behaviour in self._new:
            self._spawn(self._serve(behaviour))
        self._new.clear()
        self._is_running = True
        self.address = await self.server.start()

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _serve_all(self, behaviours: Sequence[Behaviour]) -> None:
        for behaviour in behaviours:
            if self._is_running:
                self._spawn(self._serve(behaviour))
            else:
                self._new.append(behaviour)

    async def _serve(self, behaviour: Behaviour) -> None:
        """Each agent's action is its own number."""
        async for requests in behaviour.batcher:
            self.seen.append(requests.timesteps)
            await self.may_answer.wait()
            timesteps = requests.timesteps.timesteps
            acting = timesteps.agent_id[timesteps.needs_action]
            await requests.reply(
                ActionBatch(
                    continuous=acting[:, None].astype(np.float32),
                    discrete=np.empty((len(acting), 0), np.int32),
                    policy_version=0,
                )
            )
            self.known_as_sent += 1

    def open_channel(self, **options: Any) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(self.address, **options)
        self._channels.append(channel)
        return channel

    def dial(
        self,
        name: str = "walker-sim",
        *,
        instance_id: str = "process-1",
        channel: grpc.aio.Channel | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Simulator:
        return Simulator(channel or self.open_channel(), name, instance_id, metadata or {})

    async def join(self, name: str = "walker-sim", **options: Any) -> Simulator:
        simulator = self.dial(name, **options)
        await simulator.hello()
        return simulator

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait for what a stream's end brings about; there is no event to wait for."""
        async with asyncio.timeout(10.0):
            while not is_true():
                await asyncio.sleep(0.002)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)
        self.may_answer.set()
        await self.server.stop(Ending.COMPLETED, "the test is over", goodbye_s=1.0)
        for task in list(self._tasks):
            await task


def make_server(
    *,
    expect: int = 1,
    clock: Callable[[], float] = time.monotonic,
    on_new: Opener = open_nothing,
    **options: Any,
) -> NativeServer:
    """A server of one policy, on any free port of loopback unless told otherwise."""
    return NativeServer(
        ServerConfig(**{"address": "localhost:0", **options}),
        accepts=lambda name: name == "walker",
        policies=("walker",),
        expect=expect,
        on_new=on_new,
        clock=clock,
    )


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Running]:
    running = Running(partial(make_server, **options))
    await running.start()
    try:
        yield running
    finally:
        await running.close()


Serve = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serve() -> Serve:
    """Runs a server with these options of ServerConfig inside an `async with`."""
    return serving


@pytest.fixture
def new_server() -> Callable[..., NativeServer]:
    """Makes a server that listens nowhere yet."""
    return make_server


@pytest.fixture
def new_running() -> Callable[..., Running]:
    """Makes what serves, which listens nowhere yet."""
    return lambda **options: Running(partial(make_server, **options))


@pytest.fixture
def encode() -> Callable[..., pb.BehaviourStep]:
    """Rows of the walker as they travel."""
    return encode_rows


@pytest.fixture
def walker() -> BehaviourSpec:
    """The behaviour that all simulators here have."""
    return WALKER
