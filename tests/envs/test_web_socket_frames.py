"""A WebSocket without a network: messages in parts, text, damage; what keeps no thread alive."""

import gc
import select
import selectors
import socket
import threading
import time

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from entrain_envs import web_socket
from entrain_envs.errors import BrokenStreamError
from entrain_envs.web_socket import WebSocket, ready_within
from entrain_envs.web_socket_frames import SUBPROTOCOL, Endpoint, Frames


def endpoint(port: int = 1) -> Endpoint:
    return Endpoint(host="localhost", port=port, path="/simulate", max_bytes=1000)


@pytest.fixture
def opened() -> Frames:
    """One end, after the handshake with a server."""
    frames, server = Frames(endpoint()), ServerProtocol(subprotocols=[SUBPROTOCOL])
    frames.begin()
    server.receive_data(b"".join(frames.outgoing))
    frames.outgoing.clear()
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    frames.take(b"".join(server.data_to_send()))
    return frames


def frame(opcode: Opcode, content: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, content, fin).serialize(mask=False)


def test_a_message_in_parts_is_one_message(opened: Frames) -> None:
    opened.take(frame(Opcode.BINARY, b"ab", fin=False) + frame(Opcode.CONT, b"cd", fin=False))
    assert not opened.messages
    opened.take(frame(Opcode.PING, b"?") + frame(Opcode.CONT, b"ef"))
    opened.take(frame(Opcode.BINARY, b"gh"))
    opened.take(frame(Opcode.BINARY, b"ij", fin=False) + frame(Opcode.CONT, b"kl"))
    assert list(opened.messages) == [b"abcdef", b"gh", b"ijkl"]
    assert len(opened.outgoing) == 1, "the ping is answered"


def test_damage_is_a_broken_stream(opened: Frames) -> None:
    opened.take(frame(Opcode.BINARY, b"ab") + b"\xf2\x00")
    assert list(opened.messages) == [b"ab"], "what came before counts"
    assert isinstance(opened.failure, BrokenStreamError)
    assert "damaged on the way" in str(opened.failure)


def test_text_is_told(opened: Frames) -> None:
    opened.take(frame(Opcode.TEXT, b"ab"))
    assert str(opened.failure) == "UNAVAILABLE: the trainer sent text"


def test_one_that_was_closed_dials_no_more() -> None:
    found = WebSocket(endpoint())
    found.close()
    with pytest.raises(BrokenStreamError, match="the connection was closed here"):
        found.receive(until_s=time.monotonic() + 60.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_nobody_has_any_more_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket is closed with it, of which Python warns."""
    monkeypatch.setattr(web_socket, "LOOK_S", 0.01)
    before = set(threading.enumerate())
    with socket.create_server(("localhost", 0)) as server:
        found = WebSocket(endpoint(server.getsockname()[1]))
        with pytest.raises(BrokenStreamError, match="DEADLINE_EXCEEDED"):
            found.receive(until_s=time.monotonic() + 0.05)
        (looking,) = set(threading.enumerate()) - before
        del found
        gc.collect()
        looking.join(10.0)
        assert not looking.is_alive()


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_wait_ends_by_what_is_waited_for_alone(
    has_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    here, there = socket.socketpair()
    with here, there:
        began_s = time.monotonic()
        ready_within(here, selectors.EVENT_WRITE, 60.0)
        there.send(b"x")
        ready_within(here, selectors.EVENT_READ, 60.0)
        assert time.monotonic() - began_s < 30.0
        here.recv(1)
        began_s = time.monotonic()
        ready_within(here, selectors.EVENT_READ, 0.03)
        assert time.monotonic() - began_s >= 0.02, "that it can be written is not asked"
