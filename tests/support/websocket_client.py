"""A simulator's end of a WebSocket, byte by byte: what it sends may break every rule."""

import asyncio
import base64
import os
import struct
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

from entrain_envs.wire import trainer_pb2 as pb

BINARY, TEXT, CLOSE, PING, PONG = 2, 1, 8, 9, 10

SUBPROTOCOL = "entrain.v1"


def frame(
    content: bytes,
    *,
    kind: int = BINARY,
    is_last: bool = True,
    is_masked: bool = True,
    bits: int = 0,
) -> bytes:
    """One frame; `bits` are those that extensions use."""
    head = bytes([(0x80 if is_last else 0) | bits | kind])
    mask_bit, size = (0x80 if is_masked else 0), len(content)
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65536:
        head += struct.pack("!BH", mask_bit | 126, size)
    else:
        head += struct.pack("!BQ", mask_bit | 127, size)
    if not is_masked:
        return head + content
    # A mask of zeros masks nothing, and is one.
    return head + bytes(4) + content


class RawSocket:
    """A connection to `url` on which the test writes frames by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.answer = ""
        """First line of the answer to the request for a WebSocket."""
        self.headers: Mapping[str, str] = {}
        self.words = ""
        """Of an answer that is none."""

    @classmethod
    async def dial(cls, url: str, *, subprotocols: str = SUBPROTOCOL, **headers: str) -> Self:
        """Ask for a WebSocket; further headers by name, `_` for `-`."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        socket = cls(reader, writer)
        further = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = {
            "Host": parts.netloc,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            **({"Sec-WebSocket-Protocol": subprotocols} if subprotocols else {}),
            **further,
        }
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"GET {parts.path} HTTP/1.1\r\n{text}\r\n".encode("latin-1"))
        await socket._read_answer()
        return socket

    async def _read_answer(self) -> None:
        async with asyncio.timeout(5.0):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        self.answer, *lines = head.strip().split("\r\n")
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        if not self.is_open:
            size = int(self.headers.get("content-length", 0))
            self.words = (await self.reader.readexactly(size)).decode()

    @property
    def status(self) -> int:
        """Of the answer; 101 is a WebSocket."""
        return int(self.answer.split()[1])

    @property
    def is_open(self) -> bool:
        return self.status == 101

    def send(self, request: pb.ConnectRequest) -> None:
        self.writer.write(frame(request.SerializeToString()))

    async def read(self, *, within_s: float = 8.0) -> tuple[int, bytes]:
        """Kind and content of the next frame."""
        async with asyncio.timeout(within_s):
            first, second = await self.reader.readexactly(2)
            size = second & 127
            assert second < 128, "a server masks nothing"
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 15, await self.reader.readexactly(size)

    async def receive(self, *, within_s: float = 8.0) -> pb.ConnectResponse:
        """The next message; pings are answered."""
        while True:
            kind, content = await self.read(within_s=within_s)
            if kind == PING:
                self.writer.write(frame(content, kind=PONG))
                continue
            assert kind == BINARY, (kind, content)
            return pb.ConnectResponse.FromString(content)

    async def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame, which is next."""
        kind, content = await self.read()
        assert kind == CLOSE, (kind, content)
        return struct.unpack("!H", content[:2])[0], content[2:].decode()

    async def end(self) -> None:
        """Whether it ended or not, be gone."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            return
