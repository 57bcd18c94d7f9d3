"""Lives carried over a transport, message by message, on the event loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc
import grpc.aio
from grpc.aio import EOF  # type: ignore[attr-defined]

from entrain_envs import codec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import ActionBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.lives import SPECS, Life, Rows
from support.websocket_client import CLOSE, RawSocket, frame


class Call(Protocol):
    """One open stream."""

    async def write(self, content: bytes) -> None: ...

    async def read(self) -> bytes | None:
        """The next message; None if there is none."""
        ...

    def cancel(self) -> None:
        """Be gone without a word."""
        ...


Connect = Callable[[], Awaitable[Call]]


class GrpcCall:
    """One over gRPC."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def write(self, content: bytes) -> None:
        await self._call.write(content)

    async def read(self) -> bytes | None:
        content: Any = await self._call.read()
        return None if content is EOF else content

    def cancel(self) -> None:
        self._call.cancel()


class WebSocketCall:
    """One over WebSocket."""

    def __init__(self, socket: RawSocket) -> None:
        self._socket = socket

    async def write(self, content: bytes) -> None:
        self._socket.writer.write(frame(content))
        await self._socket.writer.drain()

    async def read(self) -> bytes | None:
        kind, content = await self._socket.read()
        if kind != CLOSE:
            return content
        await self._socket.end()
        return None

    def cancel(self) -> None:
        self._socket.writer.transport.abort()


@asynccontextmanager
async def connected_by_grpc(address: str) -> AsyncIterator[Connect]:
    """Within the block, streams can be opened."""
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        raw: Any = channel

        async def connect() -> Call:
            return GrpcCall(raw.stream_stream("/entrain.v1.Trainer/Connect")())

        yield connect


@asynccontextmanager
async def connected_by_websocket(url: str) -> AsyncIterator[Connect]:
    """Within the block, streams can be opened."""

    async def connect() -> Call:
        return WebSocketCall(await RawSocket.dial(url))

    yield connect


class LivingSimulator:
    """One simulator, whose streams break as its life says."""

    def __init__(self, connect: Connect, life: Life) -> None:
        self._open = connect
        self._life = life
        self._session_id = ""

    async def live(self) -> None:
        """Connect, and act until the trainer closes."""
        rows = self._life.begin((await self._connect()).seed)
        step = 0
        while True:
            step += 1
            await self._send_step(step, rows)
            if self._life.breaks.get(step) == "before":
                await self._break()
                await self._send_step(step, rows)
            response = await self._receive()
            if response is None or not response.HasField("act"):
                self._call.cancel()
                return
            if self._life.breaks.get(step) == "after":
                await self._break()
                await self._send_step(step, rows)
                again = await self._receive()
                assert again == response
            rows = self._life.step(self._actions(response.act, rows))

    async def _connect(self) -> pb.Welcome:
        self._call = await self._open()
        hello = pb.Hello(
            min_version=1,
            max_version=1,
            simulator=self._life.name,
            instance_id="process",
            behaviours=[encode_spec(spec) for spec in SPECS.values()],
            resume_session_id=self._session_id,
        )
        await self._call.write(pb.ConnectRequest(hello=hello).SerializeToString())
        response = await self._receive()
        assert response is not None
        assert response.welcome.resumed == bool(self._session_id)
        self._session_id = response.welcome.session_id
        return response.welcome

    async def _break(self) -> None:
        self._call.cancel()
        await asyncio.sleep(0)
        await self._connect()

    async def _send_step(self, sequence: int, rows: Rows) -> None:
        step = pb.Step(
            sequence=sequence,
            behaviours=[codec.encode_timesteps(SPECS[name], part) for name, part in rows.items()],
        )
        await self._call.write(pb.ConnectRequest(step=step).SerializeToString())

    async def _receive(self) -> pb.ConnectResponse | None:
        content = await self._call.read()
        return None if content is None else pb.ConnectResponse.FromString(content)

    def _actions(self, act: pb.Act, rows: Rows) -> dict[str, ActionBatch]:
        return {
            part.behaviour: codec.decode_actions(
                SPECS[part.behaviour], part, int(rows[part.behaviour].needs_action.sum())
            )
            for part in act.behaviours
        }
