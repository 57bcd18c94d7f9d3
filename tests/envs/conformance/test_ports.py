"""The kit's ports: TLS, tokens, strangers, what a stream's end looks like on the other side."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from entrain_envs.conformance.grpc_port import GrpcPort
from entrain_envs.conformance.listening import Access, read_place
from entrain_envs.conformance.port import End, SilentError, StreamOverError, WrongFormError
from entrain_envs.conformance.websocket_port import WebSocketPort, shown_token
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import BrokenStreamError, EntrainEnvsError, OptionError, RefusedError
from entrain_envs.wire import trainer_pb2 as pb

Port = GrpcPort | WebSocketPort

PLACES = ["localhost:0", "ws://localhost:0"]
HELLO = pb.ConnectRequest(hello=pb.Hello(simulator="sim"))


def port_at(text: str, access: Access | None = None) -> Port:
    place = read_place(text, option="--listen")
    kind = WebSocketPort if place.is_websocket else GrpcPort
    return kind(place, access or Access())


@contextlib.contextmanager
def dialled(address: str, **more: object) -> Iterator[Connection]:
    """A connection of the SDK that has said Hello, received from in a thread of its own."""
    connection = Destination(address=address, **more).open()  # type: ignore[arg-type]
    connection.send(HELLO)
    arrived: list[object] = []
    connection.arrived = arrived  # type: ignore[attr-defined]

    def receive() -> None:
        try:
            while True:
                arrived.append(connection.receive())
        except EntrainEnvsError as error:
            arrived.append(error)

    thread = threading.Thread(target=receive, daemon=True)
    thread.start()
    connection.thread = thread  # type: ignore[attr-defined]
    yield connection
    thread.join(5)
    connection.end(timeout_s=0.0)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("how", "error"),
    [
        (End.BROKEN, BrokenStreamError),
        (End.UNAVAILABLE, BrokenStreamError),
        (End.INVALID_ARGUMENT, RefusedError),
        (End.UNAUTHENTICATED, RefusedError),
        (End.RESOURCE_EXHAUSTED, RefusedError),
    ],
)
def test_an_end_reaches_the_simulator_as_that_of_a_trainer(
    place: str, how: End, error: type[Exception]
) -> None:
    with port_at(place) as port, dialled(port.address) as connection:
        stream = port.next_stream(timeout_s=5)
        assert stream is not None
        assert stream.receive(timeout_s=5) == HELLO.SerializeToString()
        with pytest.raises(SilentError):
            stream.receive(timeout_s=0.0)
        welcome = pb.ConnectResponse(welcome=pb.Welcome(session_id="s"))
        stream.send(welcome.SerializeToString())
        stream.end(how, "the words")
        connection.thread.join(5)  # type: ignore[attr-defined]
        first, last = connection.arrived  # type: ignore[attr-defined]
        assert first == welcome
        assert isinstance(last, error)
        assert how is End.BROKEN or "the words" in str(last)
        with pytest.raises(StreamOverError):
            stream.receive(timeout_s=5)


@pytest.mark.parametrize("place", PLACES)
def test_tls_with_client_certificates_and_a_token(place: str, certificate: Path) -> None:
    key, cert = certificate / "key.pem", certificate / "cert.pem"
    token = certificate / "token"
    token.write_text("secret\n")
    access = Access.read(token_file=token, certificate=cert, key=key, client_ca=cert)
    with port_at(place, access) as port:
        files = {"tls_ca": cert, "tls_certificate": cert, "tls_key": key, "token": "secret"}
        with dialled(port.address, **files):
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            assert stream.token == "secret"
            assert stream.receive(timeout_s=5) == HELLO.SerializeToString()
            stream.end(End.NORMAL)
        with dialled(port.address, tls_ca=cert):
            assert port.next_stream(timeout_s=0.3) is None


@pytest.mark.parametrize("place", PLACES)
def test_an_inquire_is_held_and_needs_the_token(place: str) -> None:
    with port_at(place, Access(token="secret")) as port:
        asked = pb.InquireRequest(session_id="s", instance_id="i", sequence=7)
        with dialled(port.address, token="secret") as connection:
            answer = connection.inquire(asked, timeout_s=5)
            assert answer.standing == pb.STEP_STANDING_HELD
            question = port.next_question(timeout_s=5)
            assert question is not None
            assert (question.session_id, question.instance_id, question.sequence) == ("s", "i", 7)
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            stream.end(End.NORMAL)
        with dialled(port.address, token="guess") as connection:
            with pytest.raises(RefusedError):
                connection.inquire(asked, timeout_s=5)
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            stream.end(End.UNAUTHENTICATED)


@pytest.mark.parametrize("place", PLACES)
def test_a_taken_place_is_told(place: str) -> None:
    with port_at(place) as port:
        scheme = "ws://" if place.startswith("ws") else ""
        taken = f"{scheme}localhost:{port.address.rpartition(':')[2]}"
        with pytest.raises(OptionError, match="cannot be listened on"):
            port_at(taken)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("reads", [0, 20])
def test_the_end_of_a_stream_comes_however_much_was_sent_unasked(place: str, reads: int) -> None:
    with port_at(place) as port, dialled(port.address) as connection:
        for _ in range(19):
            connection.send(HELLO)
        stream = port.next_stream(timeout_s=5)
        assert stream is not None
        for _ in range(reads):
            assert stream.receive(timeout_s=5) == HELLO.SerializeToString()
        stream.end(End.NORMAL)
        with pytest.raises(StreamOverError):
            for _ in range(20):
                stream.receive(timeout_s=5)


def test_another_path_is_told_and_text_is_no_message() -> None:
    with port_at("ws://localhost:0") as port:
        with pytest.raises(InvalidStatus, match="404"):
            connect(f"{port.address}/other")
        with connect(f"{port.address}/simulate", subprotocols=[Subprotocol("other")]) as socket:
            socket.send("hello")
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            assert stream.offers_subprotocol is False
            assert stream.answers_ping(timeout_s=5)
            with pytest.raises(WrongFormError, match="text message of 5"):
                stream.receive(timeout_s=5)
            stream.end(End.FAILED_PRECONDITION, "ü" * 200)
            refusal = pb.ConnectResponse.FromString(socket.recv(decode=False)).refusal
            assert (refusal.code, len(refusal.message)) == (9, 200)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4009, "ü" * 61)


@pytest.mark.parametrize("place", PLACES)
def test_only_so_many_simulators_and_questions_wait(place: str) -> None:
    with port_at(place) as port, contextlib.ExitStack() as crowd:
        assert port.next_question(timeout_s=0.0) is None
        waiting = [crowd.enter_context(dialled(port.address)) for _ in range(9)]
        refused = _first_refused(waiting)
        assert "the conformance kit looks at one simulator at a time" in str(refused)
        asked = pb.InquireRequest(session_id="s", instance_id="i", sequence=7)
        for _ in range(8):
            assert waiting[0].inquire(asked, timeout_s=5).standing == pb.STEP_STANDING_HELD
        with pytest.raises(EntrainEnvsError):
            waiting[0].inquire(asked, timeout_s=5)
        for _ in range(8):
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            stream.end(End.BROKEN)
        assert port.next_stream(timeout_s=0.0) is None


def _first_refused(connections: list[Connection]) -> object:
    """What the one heard that is told to go, whichever came last."""
    pause = threading.Event()
    for _ in range(2000):
        pause.wait(0.005)
        for connection in connections:
            for heard in connection.arrived:  # type: ignore[attr-defined]
                return heard
    return None


def test_a_unix_socket_is_listened_on(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/port"
    with port_at(address) as port:
        assert port.address == address
        with dialled(address):
            stream = port.next_stream(timeout_s=5)
            assert stream is not None
            assert stream.receive(timeout_s=5) == HELLO.SerializeToString()
            stream.end(End.NORMAL)


def test_what_is_said_to_a_simulator_that_is_gone_is_lost_without_a_word() -> None:
    with port_at("ws://localhost:0") as port:
        with connect(f"{port.address}/simulate", subprotocols=[Subprotocol("entrain.v1")]):
            stream = port.next_stream(timeout_s=5)
        assert stream is not None
        for _ in range(2):
            with pytest.raises(StreamOverError, match="1000"):
                stream.receive(timeout_s=5)
        stream.send(b"late")
        assert stream.answers_ping(timeout_s=5) is None, "that is no silent simulator"
        stream.end(End.BROKEN)


def test_a_question_that_cannot_be_read_has_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    with port_at("ws://localhost:0") as port:
        with connect(f"{port.address}/inquire") as socket:
            socket.send(b"\xff\xff")
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1000
        assert port.next_question(timeout_s=0.0) is None
    assert "an Inquire could not be answered: DecodeError" in caplog.text


@pytest.mark.parametrize(
    ("header", "offered", "token"),
    [
        ("Bearer  secret", ["entrain.token.b3RoZXI"], "secret"),
        ("Basic secret", [], ""),
        ("", ["entrain.v1", "entrain.token.b3RoZXI"], "other"),
        ("", ["entrain.token.A"], ""),
        ("", ["entrain.token._w"], ""),
        ("", ["entrain.v1"], ""),
    ],
)
def test_a_token_is_read_from_either_place(header: str, offered: list[str], token: str) -> None:
    headers = Headers({"Authorization": header} if header else {})
    assert shown_token(headers, offered) == token


def test_a_key_that_is_none_is_told(certificate: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key\n")
    access = Access.read(
        token_file=None, certificate=certificate / "cert.pem", key=key, client_ca=None
    )
    with pytest.raises(OptionError, match=r"do not work together .* unencrypted key"):
        port_at("ws://localhost:0", access)
