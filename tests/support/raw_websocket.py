"""One WebSocket to a trainer in a thread that blocks, message by message, without any rule.

Nothing is read but by who asks for a message, and what is sent is sent whatever was heard.
"""

import base64
import os
import socket
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from entrain_envs.websocket_connection import CODES
from entrain_envs.wire import trainer_pb2 as pb
from support.websocket_client import BINARY, CLOSE, PING, PONG, frame

ANSWER_S = 2.0
"""How long a trainer may take to refuse what it was sent last."""

STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "UNAUTHENTICATED"}


class WebSocketStream:
    """See the module, and `attackers.RawStream`."""

    def __init__(self, address: str, *, token: str = "") -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [
            f"GET {parts.path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Protocol: entrain.v1",
            *([f"Authorization: Bearer {token}"] if token else []),
        ]
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._stream = self._socket.makefile("rb")
        self._is_over = threading.Event()
        self._code, self._details = "", ""
        self._read_answer()

    def _read_answer(self) -> None:
        status = int(self._stream.readline().split()[1])
        size = 0
        while line := self._stream.readline().strip():
            name, _, value = line.partition(b": ")
            size = int(value) if name.lower() == b"content-length" else size
        if status != 101:
            self._code = STATUSES.get(status, "UNAVAILABLE")
            self._details = self._stream.read(size).decode()

    def open(self, requests: Iterable[pb.ConnectRequest | bytes]) -> None:
        """Begin to send these, and then that no more follow."""
        if not self._code:
            threading.Thread(target=self._send, args=(requests,), daemon=True).start()

    def _send(self, requests: Iterable[pb.ConnectRequest | bytes]) -> None:
        # A trainer that ends the stream reads no more.
        with suppress(OSError):
            for each in requests:
                content = each if isinstance(each, bytes) else each.SerializeToString()
                self._socket.sendall(frame(content))
            # After a close frame, nothing is heard of what came before.
            if not self._is_over.wait(ANSWER_S):
                self._socket.sendall(frame(struct.pack("!H", 1000), kind=CLOSE))

    def hear(self) -> pb.ConnectResponse:
        """Wait for the next message; StopIteration if there is none."""
        while not self._code:
            kind, content = self._frame()
            if kind == PING:
                self._socket.sendall(frame(content, kind=PONG))
            elif kind == CLOSE:
                self._note_close(content)
            elif kind == BINARY:
                response = pb.ConnectResponse.FromString(content)
                if not response.HasField("refusal"):
                    return response
                self._details = response.refusal.message
        raise StopIteration

    def _frame(self) -> tuple[int, bytes]:
        try:
            head = self._stream.read(2)
            if len(head) < 2:
                return CLOSE, b""
            size = head[1]
            if size == 126:
                (size,) = struct.unpack("!H", self._stream.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._stream.read(8))
            content = self._stream.read(size)
        except (OSError, struct.error):
            return CLOSE, b""
        # What ends in the middle of a frame was cut off.
        return (head[0] & 15, content) if len(content) == size else (CLOSE, b"")

    def _note_close(self, content: bytes) -> None:
        code = struct.unpack("!H", content[:2])[0] if content else 1006
        known = {1000: "OK", 1003: "INVALID_ARGUMENT", 1008: "RESOURCE_EXHAUSTED"}
        known[1009] = "RESOURCE_EXHAUSTED"
        self._code = known.get(code) or CODES.get(code - 4000, "UNAVAILABLE")
        self._details = self._details or content[2:].decode()
        self._is_over.set()

    def cut(self) -> None:
        """Be gone without a word."""
        self._is_over.set()
        self._stream.close()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def end(self) -> dict[str, str]:
        """Read until the trainer ends the stream: {"code": ..., "details": ...}."""
        with suppress(StopIteration):
            while True:
                self.hear()
        self._stream.close()
        self._socket.close()
        return {"code": self._code, "details": self._details}
