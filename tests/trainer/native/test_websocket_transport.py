"""The native wire over WebSocket: who is let in, what is carried, and how it ends."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from entrain.config.run import ServerConfig
from entrain.native.stream import EndCode
from entrain.native.websocket_transport import (
    INQUIRE,
    NUMBERS,
    SIMULATE,
    _answer_request,
    fitting,
)
from entrain.serving.front import Ending
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb
from support.native_server import NativeServer
from support.websocket_client import PING, PONG, TEXT, RawSocket, frame


def hello(spec: BehaviourSpec, **fields: Any) -> pb.ConnectRequest:
    return pb.ConnectRequest(
        hello=pb.Hello(
            min_version=1,
            max_version=1,
            simulator="walker-sim",
            instance_id="process-1",
            behaviours=[encode_spec(spec)],
            **fields,
        )
    )


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret/+\n")
    return path


async def serve(**options: Any) -> NativeServer:
    config = ServerConfig(address="localhost:0", websocket="127.0.0.1:0", **options)
    server = NativeServer(config)
    await server.start()
    return server


@pytest.fixture
async def server() -> AsyncIterator[NativeServer]:
    server = await serve(origins=("https://game.example",))
    yield server
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)


async def test_a_stream_is_carried_from_hello_to_goodbye(
    server: NativeServer, walker: BehaviourSpec
) -> None:
    socket = await RawSocket.dial(server.front.websocket_url)
    assert socket.headers["sec-websocket-protocol"] == "entrain.v1"
    assert "sec-websocket-extensions" not in socket.headers
    socket.send(hello(walker))
    assert (await socket.receive()).welcome.session_id
    socket.send(pb.ConnectRequest(goodbye=pb.Goodbye()))
    assert await socket.closed() == (1000, "")
    assert server.participants.counters["sessions_left"] == 1
    await socket.end()


async def test_a_refusal_is_a_last_message_and_then_a_close_frame(
    server: NativeServer, walker: BehaviourSpec
) -> None:
    socket = await RawSocket.dial(server.front.websocket_url)
    socket.writer.write(frame(b"\xff\xff"))
    refusal = (await socket.receive()).refusal
    assert refusal.code == 3
    assert "2 bytes that are no ConnectRequest" in refusal.message
    code, reason = await socket.closed()
    assert code == 4003
    assert refusal.message.startswith(reason)
    await socket.end()


async def test_a_message_in_parts_is_one_message(
    server: NativeServer, walker: BehaviourSpec
) -> None:
    socket = await RawSocket.dial(server.front.websocket_url)
    content = hello(walker).SerializeToString()
    parts = [content[:5], b"", content[5:9], content[9:]]
    for number, part in enumerate(parts):
        kind, is_last = (0 if number else 2), number == len(parts) - 1
        socket.writer.write(frame(part, kind=kind, is_last=is_last))
        socket.writer.write(frame(b"there?", kind=PING))
    assert [await socket.read() for _ in parts] == [(PONG, b"there?")] * len(parts)
    assert (await socket.receive()).HasField("welcome")
    await socket.end()


async def test_text_is_refused_in_words(server: NativeServer) -> None:
    socket = await RawSocket.dial(server.front.websocket_url)
    socket.writer.write(frame(b"hello", kind=TEXT))
    assert "as one binary message" in (await socket.receive()).refusal.message
    assert (await socket.closed())[0] == 1003
    await socket.end()


async def test_a_message_that_is_too_long_is_refused_before_it_is_there(
    walker: BehaviourSpec,
) -> None:
    server = await serve(max_message_mib=1.0)
    socket = await RawSocket.dial(server.front.websocket_url)
    socket.send(hello(walker))
    assert (await socket.receive()).welcome.max_message_bytes == 2**20
    socket.writer.write(frame(bytes(2**20 + 1))[:20])
    refusal = (await socket.receive()).refusal
    assert refusal.code == 8
    assert "server.max_message_mib" in refusal.message
    assert (await socket.closed())[0] == 1009
    assert server.participants.counters["sessions_refused"] == 0
    assert len(server.participants) == 0
    await socket.end()
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)


async def test_an_inquiry_is_answered(server: NativeServer, walker: BehaviourSpec) -> None:
    url = server.front.websocket_url.replace("/simulate", "/inquire")
    socket = await RawSocket.dial(url)
    request = pb.InquireRequest(session_id="none", instance_id="process-1", sequence=1)
    socket.writer.write(frame(request.SerializeToString()))
    _, content = await socket.read()
    assert pb.InquireResponse.FromString(content).standing == pb.STEP_STANDING_NOT_HELD
    assert await socket.closed() == (1000, "")
    await socket.end()


async def test_who_is_told_what_before_there_is_a_socket(server: NativeServer) -> None:
    url = server.front.websocket_url
    strangers: list[tuple[int, str, dict[str, Any]]] = [
        (404, url.replace("simulate", "elsewhere"), {}),
        (400, url, {"subprotocols": ""}),
        (400, url, {"subprotocols": "graphql-ws"}),
        (403, url, {"Origin": "https://evil.example"}),
        (403, url, {"Origin": "https://game.example:8443"}),
        (403, url, {"Origin": "null"}),
        (403, url, {"Origin": "file://"}),
        (400, url, {"Sec_WebSocket_Key": "short"}),
    ]
    for status, where, headers in strangers:
        socket = await RawSocket.dial(where, **headers)
        assert socket.status == status, headers
        is_file = headers.get("Origin") in {"null", "file://"}
        assert ("serve the page" in socket.words) is is_file, headers
        await socket.end()
    friend = await RawSocket.dial(url, Origin="https://game.example", Cookie="entrain-1=x")
    assert friend.is_open
    await friend.end()


async def test_a_token_comes_as_header_or_as_subprotocol(token_file: Path) -> None:
    server = await serve(token_file=token_file)
    url = server.front.websocket_url
    encoded = base64.urlsafe_b64encode(b"s3cret/+").decode().rstrip("=")
    for right in (
        {"Authorization": "Bearer s3cret/+"},
        {"subprotocols": f"entrain.v1, entrain.token.{encoded}"},
    ):
        socket = await RawSocket.dial(url, **right)
        assert socket.is_open
        assert socket.headers["sec-websocket-protocol"] == "entrain.v1"
        await socket.end()
    for wrong in (
        {},
        {"Authorization": "Bearer other"},
        {"Cookie": "authorization=Bearer s3cret/+"},
        {"subprotocols": "entrain.v1, entrain.token.b3RoZXI"},
        {"subprotocols": "entrain.v1, entrain.token.%%%"},
        {"subprotocols": f"entrain.token.{encoded}, entrain.v1", "Authorization": "Bearer no"},
    ):
        socket = await RawSocket.dial(url, **wrong)
        assert socket.status == 401
        assert "token" in socket.words
        await socket.end()
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)


async def test_guesses_at_a_token_are_limited_and_the_right_one_is_not(token_file: Path) -> None:
    server = await serve(token_file=token_file)
    url = server.front.websocket_url
    statuses = []
    for _ in range(12):
        socket = await RawSocket.dial(url, Authorization="Bearer guess")
        statuses.append(socket.status)
        await socket.end()
    assert statuses == [401] * 10 + [429] * 2
    friend = await RawSocket.dial(url, Authorization="Bearer s3cret/+")
    assert friend.is_open
    await friend.end()
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.01)


async def test_the_run_ends_with_a_close_a_goodbye_and_a_close_frame(
    walker: BehaviourSpec,
) -> None:
    server = await serve()
    socket = await RawSocket.dial(server.front.websocket_url)
    socket.send(hello(walker))
    await socket.receive()
    stopping = asyncio.ensure_future(server.stop(Ending.COMPLETED, "all done"))
    assert (await socket.receive()).close.message == "all done"
    late = await RawSocket.dial(server.front.websocket_url)
    assert late.status == 503
    socket.send(pb.ConnectRequest(goodbye=pb.Goodbye()))
    assert await socket.closed() == (1000, "")
    await socket.end()
    await late.end()
    await stopping
    with pytest.raises(OSError):
        await RawSocket.dial(server.front.websocket_url)


def test_every_kind_of_end_has_a_number_but_a_normal_one() -> None:
    assert set(NUMBERS) == set(EndCode) - {EndCode.DONE}


def test_the_words_of_a_close_frame_are_cut_between_characters() -> None:
    assert fitting("ä" * 100) == "ä" * 61


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/healthz", 200, "ok"),
        (SIMULATE, 426, "only a WebSocket is answered here"),
        (INQUIRE, 426, "only a WebSocket is answered here"),
        ("/", 404, "there is nothing here"),
    ],
)
async def test_a_request_that_is_none_for_a_websocket_is_answered_in_words(
    path: str, status: int, words: str
) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await _answer_request({"path": path}, send)
    start, body = sent
    assert (start["type"], start["status"]) == ("http.response.start", status)
    assert body == {"type": "http.response.body", "body": f"{words}\n".encode()}
    assert dict(start["headers"])[b"content-length"] == str(len(words) + 1).encode()
