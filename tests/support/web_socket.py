"""A transport shaped like a WebSocket: receive(), send(bytes), close(code, reason)."""

import asyncio
from collections.abc import Mapping

from entrain.native.connection import Connections, Transport
from entrain.native.stream import EndCode
from entrain_envs.wire import trainer_pb2 as pb

CLOSE_CODES: Mapping[EndCode, int] = {
    EndCode.DONE: 1000,
    EndCode.INVALID: 1007,
    EndCode.REFUSED: 1008,
    EndCode.UNAUTHENTICATED: 3000,
    EndCode.LIMIT: 1009,
    EndCode.REPLACED: 4001,
    EndCode.LATE: 3008,
    EndCode.STOPPING: 1012,
}


class DisconnectedError(Exception):
    """What a WebSocket library raises once the other end is gone."""


class WebSocket:
    """One end that the trainer holds; the test holds the other."""

    def __init__(self) -> None:
        self.to_trainer: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.to_simulator: asyncio.Queue[bytes | tuple[int, str]] = asyncio.Queue()
        self.is_broken = False

    async def receive(self) -> bytes:
        message = await self.to_trainer.get()
        if message is None:
            raise DisconnectedError
        return message

    async def send(self, message: bytes) -> None:
        if self.is_broken:
            raise DisconnectedError
        self.to_simulator.put_nowait(message)

    async def close(self, code: int, reason: str) -> None:
        if not self.is_broken:
            self.to_simulator.put_nowait((code, reason))

    def break_off(self) -> None:
        """The simulator's end is gone."""
        self.is_broken = True
        self.to_trainer.put_nowait(None)


async def serve_socket(connections: Connections, socket: WebSocket) -> None:
    """All that another transport has to do."""

    async def receive() -> bytes | None:
        try:
            return await socket.receive()
        except DisconnectedError:
            return None

    how = await connections.carry(Transport("10.0.0.9", receive, socket.send, DisconnectedError))
    await socket.close(CLOSE_CODES[how.code], how.words)


class Browser:
    """A simulator at the other end, message by message."""

    def __init__(self, connections: Connections) -> None:
        self.socket = WebSocket()
        self.serving = asyncio.ensure_future(serve_socket(connections, self.socket))

    def send(self, request: pb.ConnectRequest) -> None:
        self.socket.to_trainer.put_nowait(request.SerializeToString())

    async def receive(self) -> pb.ConnectResponse:
        async with asyncio.timeout(5.0):
            message = await self.socket.to_simulator.get()
        assert isinstance(message, bytes), f"closed: {message}"
        return pb.ConnectResponse.FromString(message)

    async def closed(self) -> tuple[int, str]:
        """Code and reason, once everything before has been read."""
        async with asyncio.timeout(5.0):
            while isinstance(message := await self.socket.to_simulator.get(), bytes):
                pass
            await self.serving
        return message
