"""Calls of gRPC carried to and from streams, with calls that are no sockets."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import quote

import grpc
import grpc.aio
import pytest
from grpc.aio import EOF, AbortError, InternalError, UsageError  # type: ignore[attr-defined]

from entrain.native.connection import Connections
from entrain.native.grpc_transport import STATUS, Service, fitting
from entrain.native.inquiry import Inquiries
from entrain.native.stream import END_CODES, EndCode
from entrain.serving.front import Ending
from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from support.world import actions_for

FIRST = StepType.FIRST
Make = Callable[..., Any]


class FakeContext:
    """A stream whose other end is the test.

    As in gRPC, a write is over only some time after the simulator may have read it, and until the
    first one is over the stream takes no status.
    """

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.written: list[pb.ConnectResponse] = []
        self.aborted: list[tuple[grpc.StatusCode, str]] = []
        self.is_gone = False
        self.is_writing = False
        self.may_end_writes = asyncio.Event()
        self.may_end_writes.set()

    def peer(self) -> str:
        return "ipv4:10.0.0.7:41234"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    async def read(self) -> Any:
        return await self.incoming.get()

    async def write(self, content: bytes) -> None:
        if self.is_gone:
            raise UsageError("the RPC is finished")
        self.written.append(pb.ConnectResponse.FromString(content))
        self.is_writing = True
        await self.may_end_writes.wait()
        self.is_writing = False

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        if self.is_gone:
            raise UsageError("the RPC is finished")
        if self.is_writing and len(self.written) == 1:
            raise InternalError("too many operations")
        self.aborted.append((code, details))
        raise AbortError

    def send(self, **message: Any) -> None:
        self.incoming.put_nowait(pb.ConnectRequest(**message).SerializeToString())

    def say_hello(self, spec: BehaviourSpec, *, resume: str = "") -> None:
        self.send(
            hello=pb.Hello(
                min_version=1,
                max_version=1,
                simulator="walker-sim",
                instance_id="process-1",
                behaviours=[encode_spec(spec)],
                resume_session_id=resume,
            )
        )


@pytest.fixture
def service(world: Any) -> Service:
    """Of a trainer without a network."""
    return Service(Connections(world.sessions), Inquiries(world.sessions), token=None)


async def connect(service: Any, context: FakeContext) -> None:
    """What gRPC does with a new stream."""
    try:
        await service.connect(None, context)
    except AbortError:
        return


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_every_kind_of_refusal_has_a_status() -> None:
    from entrain import errors

    leaves = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.SimulatorError)
        and kind is not errors.SimulatorError
    ]
    assert set(END_CODES) == set(leaves)
    assert set(STATUS) == set(EndCode)


async def test_a_stream_is_carried_from_hello_to_goodbye(
    service: Service, world: Any, walker: BehaviourSpec
) -> None:
    context = FakeContext()
    context.say_hello(walker)
    context.send(goodbye=pb.Goodbye())
    await connect(service, context)
    assert world.participants.counters["sessions_left"] == 1
    assert context.aborted == []


async def test_the_end_of_a_stream_detaches_its_session(
    service: Service, world: Any, walker: BehaviourSpec
) -> None:
    context = FakeContext()
    context.say_hello(walker)
    context.incoming.put_nowait(EOF)
    await connect(service, context)
    assert (len(world.participants), world.participants.num_running) == (1, 0)


async def test_a_cancelled_stream_detaches_its_session(
    service: Service, world: Any, walker: BehaviourSpec
) -> None:
    context = FakeContext()
    context.say_hello(walker)
    stream = asyncio.ensure_future(connect(service, context))
    await settle()
    assert world.participants.num_running == 1
    stream.cancel()
    await asyncio.wait({stream})
    assert (len(world.participants), world.participants.num_running) == (1, 0)
    assert repr(service) == "<Service: <Connections: 0 streams>>"


async def test_an_act_for_a_simulator_that_is_gone_is_kept_and_no_error(
    service: Service,
    world: Any,
    walker: BehaviourSpec,
    rows: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = FakeContext()
    context.say_hello(walker)
    stream = asyncio.ensure_future(connect(service, context))
    await settle()
    session_id = context.written[0].welcome.session_id
    step = pb.Step(sequence=1, behaviours=[codec.encode_timesteps(walker, rows((7, FIRST)))])
    context.send(step=step)
    await settle()
    context.is_gone = True
    world.serve()
    await stream
    assert (len(world.participants), world.participants.num_running) == (1, 0)

    again = FakeContext()
    again.say_hello(walker, resume=session_id)
    again.send(step=step)
    again.incoming.put_nowait(EOF)
    stream = asyncio.ensure_future(connect(service, again))
    await stream
    assert world.participants.counters["sessions_resumed"] == 1
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_a_refusal_that_nobody_hears_is_no_error(
    service: Service, world: Any, walker: BehaviourSpec
) -> None:
    context = FakeContext()
    context.send(step=pb.Step(sequence=1))
    context.is_gone = True
    await connect(service, context)
    assert context.aborted == []
    assert world.participants.counters["sessions_refused"] == 1


async def test_a_refusal_ends_the_stream_with_status_and_words(service: Service) -> None:
    context = FakeContext()
    context.send(step=pb.Step(sequence=1))
    await connect(service, context)
    ((code, details),) = context.aborted
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "sent Step while waiting for Hello" in details


async def test_a_refusal_waits_until_the_welcome_is_on_its_way(
    service: Service, walker: BehaviourSpec
) -> None:
    context = FakeContext()
    context.may_end_writes.clear()
    context.say_hello(walker)
    context.send(step=pb.Step(sequence=2))
    stream = asyncio.ensure_future(connect(service, context))
    await settle()
    assert context.aborted == []
    context.may_end_writes.set()
    await stream
    ((code, details),) = context.aborted
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "sent Step 2, expected Step 1" in details


async def test_a_simulator_that_does_not_read_keeps_no_stream_open(
    world: Any, walker: BehaviourSpec
) -> None:
    service = Service(
        Connections(world.sessions, last_words_s=0.0), Inquiries(world.sessions), token=None
    )
    context = FakeContext()
    context.may_end_writes.clear()
    context.say_hello(walker)
    context.send(step=pb.Step(sequence=2))
    await connect(service, context)
    assert repr(service) == "<Service: <Connections: 0 streams>>"
    assert len(world.participants) == 0


async def test_after_close_new_streams_are_told_to_dial_again_later(
    world: Any, walker: BehaviourSpec
) -> None:
    connections = Connections(world.sessions)
    service = Service(connections, Inquiries(world.sessions), token=None)
    await connections.close(Ending.STOPPED, "", goodbye_s=0.0)
    context = FakeContext()
    context.say_hello(walker)
    await connect(service, context)
    assert context.aborted == [
        (grpc.StatusCode.UNAVAILABLE, "the trainer is stopping; dial again later")
    ]


async def test_a_batch_is_told_that_its_act_is_taken_when_grpc_has_taken_it(
    service: Service, world: Any, walker: BehaviourSpec, rows: Make
) -> None:
    context = FakeContext()
    context.say_hello(walker)
    stream = asyncio.ensure_future(connect(service, context))
    await settle()
    part = codec.encode_timesteps(walker, rows((7, FIRST)))
    context.send(step=pb.Step(sequence=1, behaviours=[part]))
    await settle()
    context.may_end_writes.clear()
    batch = world.take()
    reply = asyncio.ensure_future(batch.reply(actions_for(walker, batch.timesteps)))
    await settle()
    assert context.written[-1].act.sequence == 1
    assert not reply.done()
    context.may_end_writes.set()
    await reply
    context.incoming.put_nowait(EOF)
    await stream


@pytest.mark.parametrize("character", ["a", "%", "ä", "走", "🐕"])
def test_a_reason_is_never_longer_than_grpc_shows(character: str) -> None:
    words = f"begins {character * 2000} ends"
    encoded = quote(fitting(words), safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")
    assert len(encoded) <= 6000
    assert fitting(words).startswith("begins")
    assert fitting(words).endswith("ends")
