"""A whole simulator's life over a transport shaped like a WebSocket: streams need no gRPC."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from entrain.native.connection import Connections
from entrain.native.stream import EndCode
from entrain.serving.front import Ending
from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.web_socket import CLOSE_CODES, Browser
from support.world import WALKER, actions_for

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Rows = Callable[..., TimestepBatch]


def hello(*, resume: str = "", spec: BehaviourSpec = WALKER) -> pb.ConnectRequest:
    return pb.ConnectRequest(
        hello=pb.Hello(
            min_version=1,
            max_version=1,
            simulator="browser",
            instance_id="tab-1",
            behaviours=[encode_spec(spec)],
            resume_session_id=resume,
        )
    )


def step(sequence: int, timesteps: TimestepBatch) -> pb.ConnectRequest:
    part = codec.encode_timesteps(WALKER, timesteps)
    return pb.ConnectRequest(step=pb.Step(sequence=sequence, behaviours=[part]))


async def reply(world: Any) -> None:
    """Answer the next batch, as a trainer's loop does."""
    batch = await anext(world.behaviour().batcher)
    await batch.reply(actions_for(WALKER, batch.timesteps))


def acted(response: pb.ConnectResponse) -> tuple[int, list[float]]:
    numbers = [
        number
        for part in response.act.behaviours
        for number in np.frombuffer(part.continuous, np.float32).tolist()
    ]
    return response.act.sequence, numbers


async def test_a_life_from_hello_over_a_broken_socket_to_goodbye(world: Any, rows: Rows) -> None:
    connections = Connections(world.sessions)
    browser = Browser(connections)
    browser.send(hello())
    welcome = (await browser.receive()).welcome
    assert not welcome.resumed
    browser.send(step(1, rows((7, FIRST), (8, FIRST))))
    await reply(world)
    assert acted(await browser.receive()) == (1, [7.0, 8.0])
    browser.send(step(2, rows((7, MID), (8, TERMINATED))))
    batch = await anext(world.behaviour().batcher)
    browser.socket.break_off()
    await browser.serving
    assert (len(world.participants), world.participants.num_running) == (1, 0)
    await batch.reply(actions_for(WALKER, batch.timesteps))

    again = Browser(connections)
    again.send(hello(resume=welcome.session_id))
    assert (await again.receive()).welcome.resumed
    again.send(step(2, rows((7, MID), (8, TERMINATED))))
    assert acted(await again.receive()) == (2, [7.0])
    again.send(step(3, rows((7, MID), (9, FIRST))))
    await reply(world)
    assert acted(await again.receive()) == (3, [7.0, 9.0])
    again.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason="the tab is closed")))
    assert await again.closed() == (1000, "")
    assert world.participants.counters["sessions_left"] == 1
    assert repr(connections) == "<Connections: 0 streams>"


async def test_a_newer_socket_takes_a_session_over(world: Any) -> None:
    connections = Connections(world.sessions)
    half_open = Browser(connections)
    half_open.send(hello())
    session_id = (await half_open.receive()).welcome.session_id
    newer = Browser(connections)
    newer.send(hello(resume=session_id))
    assert (await newer.receive()).welcome.resumed
    code, words = await half_open.closed()
    assert code == 4001
    assert "goes on in a newer stream" in words
    assert (len(world.participants), world.participants.num_running) == (1, 1)
    newer.socket.break_off()
    await newer.serving


async def test_refusals_are_told_in_words(world: Any, rows: Rows) -> None:
    connections = Connections(world.sessions)
    fish = Browser(connections)
    fish.send(hello(spec=BehaviourSpec("fish", WALKER.observations, WALKER.action)))
    code, words = await fish.closed()
    assert code == 1007
    assert "no policy for it" in words
    bad = Browser(connections)
    bad.send(hello())
    await bad.receive()
    bad.send(step(2, rows((7, FIRST))))
    code, words = await bad.closed()
    assert code == 1007
    assert "sent Step 2, expected Step 1" in words
    assert len(world.participants) == 0


async def test_close_is_told_and_later_sockets_are_sent_away(world: Any) -> None:
    connections = Connections(world.sessions)
    browser = Browser(connections)
    browser.send(hello())
    await browser.receive()
    closing = asyncio.ensure_future(connections.close(Ending.STOPPED, "back soon", goodbye_s=0.01))
    close = (await browser.receive()).close
    assert (close.reason, close.message) == (pb.CLOSE_REASON_STOPPED, "back soon")
    await closing
    assert await browser.closed() == (1000, "")
    assert len(world.participants) == 1
    late = Browser(connections)
    assert await late.closed() == (1012, "the trainer is stopping; dial again later")


async def test_a_stream_that_says_nothing_is_ended(world: Any) -> None:
    browser = Browser(Connections(world.sessions, hello_s=0.0))
    code, words = await browser.closed()
    assert code == 3008
    assert "said no Hello" in words


async def test_a_step_that_crosses_a_take_over_does_not_end_the_session(
    world: Any, rows: Rows
) -> None:
    first, second = world.join(), world.dial()
    assert second.hello(resume=first.stream.session_id).resumed
    first.step(1, (7, FIRST))
    assert world.participants.num_running == 1
    assert not world.is_due()
    second.step(1, (7, FIRST))
    assert world.serve().slot.tolist() == [0]


def test_every_end_has_a_code() -> None:
    assert set(CLOSE_CODES) == set(EndCode)


def test_what_carries_streams_imports_no_grpc() -> None:
    program = (
        "import sys, entrain.native.connection; "
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'grpc']"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
