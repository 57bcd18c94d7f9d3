"""The port of one game: bytes in, bytes out, and what is too long or never came."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from entrain_envs.unity.connections import open_connections
from entrain_envs.unity.errors import GameRefusedError, PortError
from entrain_envs.unity.ports import host_of, hosts_of
from entrain_envs.unity.service import LATE_S, METHOD, MOST_CALLS, ExchangePort


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def echo(message: bytes, _peer: str) -> bytes:
    if message == b"no":
        raise GameRefusedError("because of this")
    return message


@asynccontextmanager
async def listening(clock: Clock | None = None) -> AsyncIterator[ExchangePort]:
    port = ExchangePort(echo, port=0, max_message_bytes=1000, clock=clock or Clock())
    await port.start()
    try:
        yield port
    finally:
        await port.stop()


async def exchanged(port: int, message: bytes, host: str = "127.0.0.1") -> bytes:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with grpc.aio.insecure_channel(where) as channel:
        return bytes(await channel.unary_unary(METHOD, None, None)(message))


async def test_both_loopback_addresses_answer_and_no_other_does() -> None:
    async with listening() as port:
        assert port.address == f"localhost:{port.port}"
        for host in hosts_of("localhost"):
            assert await exchanged(port.port, b"hello", host) == b"hello"
        machine = socket.gethostbyname(socket.gethostname())
        if not machine.startswith("127."):
            with pytest.raises(grpc.aio.AioRpcError):
                await exchanged(port.port, b"hello", machine)


async def test_a_refusal_reaches_the_game_in_words() -> None:
    async with listening() as port:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await exchanged(port.port, b"no")
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert raised.value.details() == "because of this"


async def test_a_message_of_many_large_cameras_is_taken() -> None:
    async def measured(message: bytes, _peer: str) -> bytes:
        return str(len(message)).encode()

    port = ExchangePort(measured, port=0, max_message_bytes=13 << 20)
    await port.start()
    # 16 agents, each with a picture of floats; the limit of gRPC itself is 4 MiB.
    assert await exchanged(port.port, bytes(16 * 256 * 256 * 3 * 4)) == b"12582912"
    await port.stop()


async def test_a_message_that_grpc_refuses_is_known_to_have_been_lost() -> None:
    clock = Clock()
    async with listening(clock) as port:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await exchanged(port.port, bytes(2001))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert port.take_lost() == ""
        clock.now_s = LATE_S
        assert "longer than 2,000 bytes" in port.take_lost()
        assert port.take_lost() == ""
        assert await exchanged(port.port, b"hello") == b"hello"
        clock.now_s = 2 * LATE_S
        assert port.take_lost() == ""


async def test_a_game_may_wait_for_long_and_is_told_when_the_port_closes() -> None:
    answers: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def later(_message: bytes, _peer: str) -> bytes:
        return await answers

    port = ExchangePort(later, port=0, max_message_bytes=1000)
    await port.start()
    asking = asyncio.create_task(exchanged(port.port, b"hello"))
    await asyncio.sleep(0.05)
    answers.set_result(b"at last")
    await port.stop()
    assert await asking == b"at last"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_is_known_from_its_first_call_until_it_is_closed(host: str) -> None:
    peers: list[str] = []

    async def remember(message: bytes, peer: str) -> bytes:
        peers.append(peer)
        return message

    port = ExchangePort(remember, port=0, max_message_bytes=1000)
    await port.start()
    # The game may be closed between two calls: no call of it is there to be cancelled.
    where = f"[{host}]:{port.port}" if ":" in host else f"{host}:{port.port}"
    async with grpc.aio.insecure_channel(where) as channel:
        await channel.unary_unary(METHOD, None, None)(b"hello")
        known = open_connections()
        assert known is not None and set(peers) <= known
    async with asyncio.timeout(10):
        while (known := open_connections()) is None or set(peers) & known:
            await asyncio.sleep(0.01)
    await port.stop()


def test_connections_are_unknown_where_grpc_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("entrain_envs.unity.connections.cygrpc.channelz_get_servers")
    assert open_connections() is None


async def test_one_connection_has_few_calls_at_once() -> None:
    is_enough = asyncio.Event()
    under_way: list[int] = []

    async def slowly(message: bytes, _peer: str) -> bytes:
        under_way.append(under_way[-1] + 1 if under_way else 1)
        await is_enough.wait()
        under_way.append(under_way[-1] - 1)
        return message

    port = ExchangePort(slowly, port=0, max_message_bytes=1000)
    await port.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.port}") as channel:
        call = channel.unary_unary(METHOD, None, None)
        is_enough.set()
        await call(b"who I am")
        is_enough.clear()
        calls = [asyncio.ensure_future(call(b"hello")) for _ in range(3 * MOST_CALLS)]
        while not under_way or under_way[-1] < MOST_CALLS:
            await asyncio.sleep(0.01)
        is_enough.set()
        # Of those that are too many some wait, and some fail.
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert answers.count(b"hello") >= MOST_CALLS
    assert max(under_way) == MOST_CALLS
    await port.stop()


async def test_a_busy_port_is_refused_by_its_number() -> None:
    async with listening() as port:
        second = ExchangePort(echo, port=port.port, max_message_bytes=1000)
        with pytest.raises(PortError, match=f":{port.port}, which games dial, is in use by"):
            await second.start()


def test_the_host_of_a_peer() -> None:
    assert host_of("ipv4:127.0.0.1:41234") == "127.0.0.1"
    assert host_of("ipv6:%5B::1%5D:41234") == "::1"
    assert host_of("unix:") == "unix"
