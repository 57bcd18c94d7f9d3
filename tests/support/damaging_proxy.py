"""A network between simulators and a trainer that can damage what passes, without closing anything.

    with DamagingProxy(path, upstream) as proxy:
        ... simulators dial proxy.address ...
        proxy.damage(swallow, of="simulator")

Connections that are open then are damaged; those made later are whole.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Side = Literal["simulator", "trainer"]
"""Who sent it."""

Damage = Callable[[bytearray], None]
"""Changes a frame, its head included; an empty one is not passed on."""

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
HEAD = 9
DATA = 0

Frames = Callable[[BufferedIOBase, Side], Iterator[bytes]]
"""Divides what one side sends; the first part is what comes before the frames, whole always."""

BINARY = 2
"""The kind of WebSocket's frames that hold messages."""


def swallow(frame: bytearray) -> None:
    """Nothing arrives any more, pings neither."""
    frame.clear()


def swallow_messages(frame: bytearray) -> None:
    """Messages do not arrive; pings do."""
    if frame[3] == DATA:
        frame.clear()


def lengthen(frame: bytearray) -> None:
    """A message says that it is a million bytes longer than it is: its reader waits for them."""
    if frame[3] == DATA and len(frame) > HEAD + 5:
        frame[HEAD + 2] ^= 0x10


def misdirect(frame: bytearray) -> None:
    """A message claims to belong to a call that is long over."""
    if frame[3] == DATA:
        frame[5:9] = (2**20 + 1).to_bytes(4, "big")


def swallow_binary(frame: bytearray) -> None:
    """Of WebSocket: messages do not arrive; pings do."""
    if frame[0] & 15 == BINARY:
        frame.clear()


def lengthen_binary(frame: bytearray) -> None:
    """Of WebSocket: a short message says that it is longer than it is, by up to 64 bytes."""
    if frame[0] & 15 == BINARY and 0 < frame[1] & 127 < 60:
        frame[1] |= 64


def http2_frames(stream: BufferedIOBase, side: Side) -> Iterator[bytes]:
    """What comes before the first frame, then each frame."""
    yield stream.read(PREFACE if side == "simulator" else 0)
    while head := stream.read(HEAD):
        yield head + stream.read(int.from_bytes(head[:3], "big"))


def websocket_frames(stream: BufferedIOBase, side: Side) -> Iterator[bytes]:
    """The same of WebSocket."""
    before = b""
    while (line := stream.readline()).strip():
        before += line
    yield before + line
    while head := stream.read(2):
        size, more = head[1] & 127, {126: 2, 127: 8}.get(head[1] & 127, 0)
        if more:
            head += stream.read(more)
            size = int.from_bytes(head[2:], "big")
        yield head + stream.read((4 if head[1] & 128 else 0) + size)


class DamagingProxy:
    """See the module. Works in threads of its own."""

    def __init__(self, path: Path, upstream: Path) -> None:
        self.address = f"unix:{path}"
        self._upstream: Any = str(upstream)
        self._listen(socket.AF_UNIX, str(path), http2_frames)

    def _listen(self, family: int, place: Any, frames: Frames) -> None:
        self._family, self._frames = family, frames
        self.accepted = 0
        """Connections so far."""
        self.mutes = 0
        """So many of the next connections are accepted, and nothing is ever said on them."""
        self._links: list[_Link] = []
        self._mute: list[socket.socket] = []
        self._listener = socket.socket(family)
        self._listener.bind(place)
        self._listener.listen()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A closed listener does not wake the thread that accepts; one that is shut down does.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()
        for mute in self._mute:
            mute.close()

    def damage(self, how: Damage, *, of: Side) -> None:
        """Damage what is sent from now on over the connections that are open now."""
        for link in self._links:
            link.damage[of] = how

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.mutes:
                self.mutes -= 1
                self._mute.append(accepted)
                continue
            trainer = socket.socket(self._family)
            try:
                trainer.connect(self._upstream)
            except OSError:
                accepted.close()
                trainer.close()
                continue
            self._links.append(_Link(accepted, trainer, self._frames))


class WebSocketProxy(DamagingProxy):
    """The same for WebSocket, between two ports of loopback."""

    def __init__(self, port: int, upstream: int) -> None:
        self.address = f"ws://127.0.0.1:{port}"
        self._upstream = ("127.0.0.1", upstream)
        self._listen(socket.AF_INET, ("127.0.0.1", port), websocket_frames)


class _Link:
    """One connection through the proxy."""

    def __init__(self, simulator: socket.socket, trainer: socket.socket, frames: Frames) -> None:
        self._frames = frames
        self.damage: dict[Side, Damage] = {}
        self._sockets = simulator, trainer
        for arguments in (("simulator", simulator, trainer), ("trainer", trainer, simulator)):
            threading.Thread(target=self._carry, args=arguments, daemon=True).start()

    def close(self) -> None:
        """End it on both sides."""
        for each in self._sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
            finally:
                each.close()

    def _carry(self, side: Side, one: socket.socket, other: socket.socket) -> None:
        try:
            with one.makefile("rb") as stream:
                frames = self._frames(stream, side)
                other.sendall(next(frames))
                for each in frames:
                    frame = bytearray(each)
                    if side in self.damage:
                        self.damage[side](frame)
                    other.sendall(frame)
                # An end that damage hides is an end that the other side never sees.
                if side not in self.damage:
                    other.shutdown(socket.SHUT_WR)
        except (OSError, StopIteration):
            return
