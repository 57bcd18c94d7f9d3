"""Who breaks the rules of WebSocket itself, or of HTTP before it, ends alone and fills nothing."""

import asyncio
import contextlib
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from urllib.parse import urlsplit

import pytest

from entrain_envs import codec
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.attacked_run import CONFIG, WEBSOCKET, AttackedProgram, AttackedRun
from support.attackers import hello_of
from support.websocket_client import BINARY, CLOSE, PING, RawSocket, frame

Attacked = Callable[..., AbstractAsyncContextManager[AttackedRun]]
Program = Callable[..., AbstractContextManager[AttackedProgram]]

HELLO = pb.ConnectRequest(hello=hello_of(*BalanceBall(count=1).behaviours)).SerializeToString()

EMPTY_PART = frame(b"", kind=0, is_last=False)
TINY_PART = frame(b"a", kind=0, is_last=False)

COMPRESSED = 0x40
"""The bit of a frame that permessage-deflate uses."""


@pytest.fixture
def transport() -> str:
    return WEBSOCKET


def head(length: int) -> bytes:
    """Of a frame that says to be that long."""
    return struct.pack("!BBQ", 0x80 | BINARY, 0x80 | 127, length)


async def told(socket: RawSocket) -> int:
    """The code with which the trainer closes; 1006 if it is gone without one, 0 if it stays."""
    try:
        while True:
            kind, content = await socket.read(within_s=30.0)
            if kind == CLOSE:
                return int(struct.unpack("!H", content[:2])[0])
    except TimeoutError:
        return 0
    except (OSError, asyncio.IncompleteReadError):
        return 1006
    finally:
        await socket.end()


BROKEN: Sequence[tuple[str, bytes, set[int]]] = [
    ("a header that says 4 exabytes", head(2**62), {1009}),
    ("a header whose length has a sign", head(2**63 + 5), {1009}),
    ("a first message of 5 MiB", head(5 * 2**20), {1009}),
    ("no mask", frame(HELLO, is_masked=False), {1002}),
    ("compressed", frame(HELLO, bits=COMPRESSED), {1002}),
    ("of a kind that is none", frame(HELLO, kind=3), {1002}),
    ("a ping in parts", frame(b"", kind=PING, is_last=False), {1002}),
    ("a ping of 200 bytes", frame(bytes(200), kind=PING), {1002}),
    ("the middle of no message", frame(HELLO, kind=0), {1002}),
    ("a message within another", frame(b"a", is_last=False) + frame(b"b"), {1002}),
    ("a close frame of one byte", frame(b"a", kind=CLOSE), {1002}),
    ("more pings than anyone needs", frame(b"x", kind=PING) * 500, {1006}),
    ("a message in empty parts", frame(b"", is_last=False) + EMPTY_PART * 5000, {1008}),
    ("a message in tiny parts", frame(b"a", is_last=False) + TINY_PART * 5000, {1008}),
    ("a hundred messages at once", frame(HELLO) + frame(b"") * 100, {1008}),
]


async def test_frames_that_break_a_rule_end_their_socket_alone(attacked: Attacked) -> None:
    async with attacked() as scene:
        for name, content, codes in BROKEN:
            socket = await RawSocket.dial(scene.address)
            socket.writer.write(content)
            code = await told(socket)
            assert code in codes, f"{name}: {code}"
        await scene.citizen_goes_on()
        await scene.until(lambda: len(scene.run.participants) == 1)


async def test_endless_parts_are_bounded(attacked: Attacked) -> None:
    async with attacked() as scene:
        socket = await RawSocket.dial(scene.address)
        socket.writer.write(frame(b"", is_last=False))
        part = frame(bytes(2**20), kind=0, is_last=False)
        with contextlib.suppress(OSError):
            for _ in range(6):
                socket.writer.write(part)
                await socket.writer.drain()
        assert await told(socket) == 1009
        await scene.citizen_goes_on()


async def test_slow_requests_are_ended(attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain.page.connection.HEAD_S", 0.2)
    async with attacked() as scene:
        url = urlsplit(scene.address)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(b"GET /simulate HTTP/1.1\r\nHost: ")
        async with asyncio.timeout(5.0):
            with contextlib.suppress(OSError):
                assert await reader.read() == b""
        writer.close()
        await scene.citizen_goes_on()


async def test_sockets_that_say_nothing_leave_room_for_simulators(attacked: Attacked) -> None:
    async with attacked(server="max_sessions: 3") as scene:
        # Two for each simulator and 64; the citizen has one.
        idle = [await RawSocket.dial(scene.address) for _ in range(2 * 3 + 64 - 1)]
        assert all(each.is_open for each in idle)
        late = await RawSocket.dial(scene.address)
        assert late.status == 503
        assert "server.max_sessions" in late.words
        await scene.citizen_goes_on()
        for each in idle:
            await each.end()
        await asyncio.sleep(0)
        await scene.until(lambda: "70" not in repr(scene.run.web_sockets))
        again = await RawSocket.dial(scene.address)
        assert again.is_open
        for each in (late, again):
            await each.end()


async def half_open(address: str, count: int) -> list[asyncio.StreamWriter]:
    """So many connections on which nothing is said."""
    url = urlsplit(address)
    opened = []
    for _ in range(count):
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        opened.append(writer)
    return opened


async def test_connections_that_ask_for_nothing_do_not_disturb_a_simulator(
    attacked: Attacked,
) -> None:
    async with attacked() as scene:
        opened = await half_open(scene.address, 300)
        await scene.citizen_goes_on()
        for each in opened:
            each.close()
        await scene.citizen_goes_on()


@pytest.mark.hostile
async def test_thousands_of_half_open_connections_leave_the_program_small(
    program: Program,
) -> None:
    with program() as scene:
        for _ in range(5):
            opened = await half_open(scene.address, 900)
            await asyncio.to_thread(scene.citizen_goes_on, 20)
            for each in opened:
                each.close()
        assert scene.peak_mib < 1000


@pytest.mark.hostile
async def test_floods_over_websocket_leave_the_program_small(program: Program) -> None:
    with program() as scene:
        for number in range(300):
            name, content, codes = BROKEN[number % len(BROKEN)]
            socket = await RawSocket.dial(scene.address)
            socket.writer.write(content * (1 + number % 7))
            code = await told(socket)
            assert code in codes | {1006}, f"{name}: {code}"
        big = await RawSocket.dial(scene.address)
        big.writer.write(frame(b"", is_last=False))
        with contextlib.suppress(OSError):
            for _ in range(2000):
                big.writer.write(EMPTY_PART * 1000)
                await big.writer.drain()
        await big.end()
        await asyncio.to_thread(scene.citizen_goes_on, 200)
        assert scene.peak_mib < 1000
        assert len(scene.log) < 200_000


FLY = BehaviourSpec("fly", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))


async def live_for_two_steps(url: str, number: int, all_are_in: asyncio.Barrier) -> float:
    """Join, wait for all others, act twice, say Goodbye; returns how long an answer took."""
    socket = await RawSocket.dial(url)
    socket.send(
        pb.ConnectRequest(hello=hello_of(FLY, simulator=f"fly-{number}", instance_id=f"{number}"))
    )
    assert (await socket.receive(within_s=60.0)).HasField("welcome")
    await all_are_in.wait()
    began_s = time.monotonic()
    for sequence in (1, 2):
        rows = TimestepBatch.of(
            FLY, agent_id=[number], step_type=sequence, reward=0.0, observation={"eye": [[0.5]]}
        )
        step = pb.Step(sequence=sequence, behaviours=[codec.encode_timesteps(FLY, rows)])
        socket.send(pb.ConnectRequest(step=step))
        act = (await socket.receive(within_s=60.0)).act
        assert (act.sequence, len(act.behaviours)) == (sequence, 1)
    waited_s = (time.monotonic() - began_s) / 2
    socket.send(pb.ConnectRequest(goodbye=pb.Goodbye()))
    assert await told(socket) == 1000
    return waited_s


@pytest.mark.hostile
@pytest.mark.parametrize("count", [1000])
async def test_a_thousand_sessions_join_and_leave_with_a_balanced_ledger(
    attacked: Attacked, count: int
) -> None:
    config = CONFIG.replace("rollout_steps: 400", "rollout_steps: 100000")
    async with attacked(config=config) as scene:
        barrier, dialling = asyncio.Barrier(count), asyncio.Semaphore(50)

        async def live(number: int) -> float:
            async with dialling:
                living = asyncio.create_task(live_for_two_steps(scene.address, number, barrier))
                await asyncio.sleep(0.02)
            return await living

        began_s = time.process_time()
        waits = await asyncio.gather(*(live(number) for number in range(count)))
        spent_s = time.process_time() - began_s
        await scene.until(lambda: len(scene.run.participants) == 1)
        assert scene.run.participants.counters["sessions_left"] == count
    ledger = scene.run.trainers["fly"].ledger
    # The second action of each has no outcome any more.
    counted = (ledger.opened, ledger.closed, ledger.dropped, ledger.open)
    assert counted == (2 * count, count, count, 0)
    sys.stdout.write(
        f"\n{count} sessions over WebSocket: {1000 * spent_s / count:.1f} ms of a processor "
        f"each, both ends together; an answer took {1000 * max(waits):.0f} ms at most\n"
    )
