"""One stream on loopback, over gRPC or WebSocket: what arrives, and how failures are told."""

import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from entrain_envs.client import TrainerClient
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import (
    BrokenStreamError,
    ConnectionLostError,
    MisfitError,
    MissingExtraError,
    NoRoomError,
    OptionError,
    RefusedError,
)
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import RowsOf, Serve, act, close, welcome
from support.damaging_proxy import DamagingProxy, swallow

POINT = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec((-1.0,), (1.0,)))
HELLO = pb.ConnectRequest(hello=pb.Hello(simulator="sim"))

Requests = Iterator[pb.ConnectRequest]
Responses = Iterator[pb.ConnectResponse]


def talk(requests: Requests, context: Any) -> Responses:
    """A trainer as it should be, until Goodbye."""
    for request in requests:
        kind = request.WhichOneof("message")
        if kind == "hello":
            yield welcome("abc", resumed=bool(request.hello.resume_session_id))
        elif kind == "step":
            yield act(POINT, request.step)
        else:
            return


def dial(address: str, **options: Any) -> Connection:
    return Destination(address=address, **options).open()


def test_a_message_goes_out_and_its_answer_comes_back(serve_both: Serve) -> None:
    connection = dial(serve_both(talk))
    connection.send(HELLO)
    assert connection.receive().welcome.session_id == "abc"
    connection.end(timeout_s=5.0)


def test_a_whole_conversation(serve_both: Serve, rows_of: RowsOf) -> None:
    with TrainerClient(serve_both(talk), [POINT], simulator="sim") as client:
        client.connect()
        for _ in range(20):
            actions = client.exchange({"point": rows_of(POINT, StepType.MID, StepType.FIRST)})
        assert actions["point"].continuous.tolist() == [[0.0], [1.0]]


def test_a_whole_conversation_over_a_unix_socket(
    serve: Serve, rows_of: RowsOf, tmp_path: Path
) -> None:
    address = serve(talk, address=f"unix:{tmp_path}/trainer")
    with TrainerClient(address, [POINT], simulator="sim") as client:
        client.connect()
        actions = client.exchange({"point": rows_of(POINT, StepType.FIRST)})
        assert len(actions["point"]) == 1


def test_a_stream_that_the_trainer_cuts_goes_on_where_it_was(
    serve_both: Serve, rows_of: RowsOf
) -> None:
    heard: list[int] = []

    def cut_at_the_second_step(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField("hello"):
                yield welcome("abc")
                continue
            heard.append(request.step.sequence)
            if request.step.sequence == 2:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cable pulled")
            yield act(POINT, request.step)

    def listen(requests: Requests, context: Any) -> Responses:
        for response in talk(requests, context):
            if response.HasField("act"):
                heard.append(response.act.sequence)
            yield response

    with TrainerClient(
        serve_both(cut_at_the_second_step, listen), [POINT], simulator="sim"
    ) as client:
        client.connect()
        for _ in range(3):
            client.exchange({"point": rows_of(POINT, StepType.MID)})
    assert heard == [1, 2, 2, 3]


def test_goodbye_reaches_the_trainer_before_the_stream_is_gone(serve_both: Serve) -> None:
    reasons: list[str] = []
    heard = threading.Event()

    def listen(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField("hello"):
                yield welcome()
            else:
                reasons.append(request.goodbye.reason)
                heard.set()
                return

    client = TrainerClient(serve_both(listen), [POINT], simulator="sim")
    client.connect()
    client.close(reason="done for today")
    assert heard.wait(5.0)
    assert reasons == ["done for today"]


def test_a_trainer_that_ends_without_close_broke_the_stream(serve_both: Serve) -> None:
    def leave(requests: Requests, context: Any) -> Responses:
        next(requests)
        yield from ()

    connection = dial(serve_both(leave))
    connection.send(HELLO)
    with pytest.raises(BrokenStreamError, match="ended the stream without a Close"):
        connection.receive()
    connection.end(timeout_s=0.0)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
)
def test_a_status_that_dialling_again_would_not_mend_is_a_refusal(
    code: grpc.StatusCode, serve_both: Serve
) -> None:
    def refuse(requests: Requests, context: Any) -> Responses:
        context.abort(code, "row 3 holds nan")
        yield from ()

    connection = dial(serve_both(refuse))
    with pytest.raises(RefusedError, match=rf"row 3 holds nan \({code.name}\)"):
        connection.receive()
    connection.end(timeout_s=0.0)


def test_a_limit_of_the_trainer_is_a_refusal_that_may_be_over_another_time(
    serve_both: Serve,
) -> None:
    def refuse(requests: Requests, context: Any) -> Responses:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "raise server.max_sessions")
        yield from ()

    with pytest.raises(NoRoomError, match=r"raise server.max_sessions \(RESOURCE_EXHAUSTED\)"):
        TrainerClient(serve_both(refuse), [POINT], simulator="sim").connect()


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_a_status_that_dialling_again_may_mend_is_a_broken_stream(
    code: grpc.StatusCode, serve_both: Serve
) -> None:
    def fail(requests: Requests, context: Any) -> Responses:
        context.abort(code, "try later")
        yield from ()

    connection = dial(serve_both(fail))
    with pytest.raises(BrokenStreamError, match=f"{code.name}: try later"):
        connection.receive()
    connection.end(timeout_s=0.0)


def test_a_server_that_is_no_trainer_is_told_apart() -> None:
    from concurrent import futures

    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    connection = dial(f"localhost:{port}")
    with pytest.raises(RefusedError, match="no entrain trainer"):
        connection.receive()
    connection.end(timeout_s=0.0)
    server.stop(0).wait()


def test_nobody_at_the_address_is_a_broken_stream() -> None:
    connection = dial("localhost:1")
    with pytest.raises(BrokenStreamError, match="UNAVAILABLE"):
        connection.receive()
    connection.end(timeout_s=0.0)


def test_a_trainer_that_says_nothing_is_given_up_in_time(serve_both: Serve) -> None:
    released = threading.Event()

    def brood(requests: Requests, context: Any) -> Responses:
        context.add_callback(released.set)
        released.wait(30.0)
        yield from ()

    connection = dial(serve_both(brood))
    began_s = time.monotonic()
    with pytest.raises(BrokenStreamError, match=r"CANCELLED|DEADLINE_EXCEEDED"):
        connection.receive(timeout_s=0.2)
    assert time.monotonic() - began_s < 5.0
    connection.end(timeout_s=0.0)


def test_ending_does_not_wait_for_a_trainer_that_never_ends(serve_both: Serve) -> None:
    released = threading.Event()

    def cling(requests: Requests, context: Any) -> Responses:
        context.add_callback(released.set)
        yield welcome()
        released.wait(30.0)

    connection = dial(serve_both(cling))
    connection.receive()
    began_s = time.monotonic()
    connection.end(timeout_s=0.2)
    assert time.monotonic() - began_s < 5.0
    assert released.wait(5.0)


def test_a_message_above_the_trainers_limit_is_refused_with_the_limit(
    serve: Serve, rows_of: RowsOf
) -> None:
    client = TrainerClient(serve(talk, max_receive=4096), [POINT], simulator="sim")
    client.connect()
    with pytest.raises(
        MisfitError,
        match=r"larger than max .* fewer agents .* smaller images, or raise server.max_message_mib",
    ):
        client.exchange({"point": rows_of(POINT, *[StepType.MID] * 1000)})


def test_an_answer_above_our_own_limit_is_told_with_our_own_option(
    serve: Serve, rows_of: RowsOf
) -> None:
    def ramble(requests: Requests, context: Any) -> Responses:
        for request in requests:
            yield welcome("x" * 10_000 if request.HasField("hello") else "")

    client = TrainerClient(serve(ramble), [POINT], simulator="sim", max_message_mib=0.004)
    with pytest.raises(MisfitError, match=r"larger than max .* raise max_message_mib of this"):
        client.connect()


def test_a_message_above_our_own_limit_never_leaves(serve: Serve, rows_of: RowsOf) -> None:
    client = TrainerClient(serve(talk), [POINT], simulator="sim", max_message_mib=0.004)
    client.connect()
    with pytest.raises(
        MisfitError, match=r"larger than max .* raise max_message_mib of .*--max-message-mib"
    ):
        client.exchange({"point": rows_of(POINT, *[StepType.MID] * 1000)})


def test_messages_beyond_grpcs_own_limit_pass(serve_both: Serve) -> None:
    wide = BehaviourSpec("wide", (ObservationSpec("image", (1024, 1024), "uint8"),), POINT.action)

    def look(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField("hello"):
                yield welcome()
            elif request.HasField("step"):
                yield act(wide, request.step)
            else:
                return

    from entrain_envs.timestep import TimestepBatch

    timesteps = TimestepBatch.of(
        wide,
        agent_id=np.arange(8),
        step_type=StepType.FIRST,
        reward=0.0,
        observation={"image": np.zeros((8, 1024, 1024), np.uint8)},
    )
    with TrainerClient(serve_both(look), [wide], simulator="sim") as client:
        client.connect()
        assert len(client.exchange({"wide": timesteps})["wide"]) == 8


def test_a_token_in_a_file_is_read_for_each_dial(serve_both: Serve, tmp_path: Path) -> None:
    shown: list[str] = []

    def check(requests: Requests, context: Any) -> Responses:
        shown.extend(v for k, v in context.invocation_metadata() if k == "authorization")
        yield from talk(requests, context)

    token = tmp_path / "token"
    token.write_text("old\nsecond line\n")
    destination = Destination(address=serve_both(check), token=token)
    for text in ("old\n", "new\n"):
        token.write_text(text)
        connection = destination.open()
        connection.send(HELLO)
        connection.receive()
        connection.end(timeout_s=5.0)
    assert shown == ["Bearer old", "Bearer new"]
    for spoil in (lambda: token.write_text(""), token.unlink):
        spoil()
        with pytest.raises(OptionError, match="token file"):
            destination.open()
    with pytest.raises(OptionError, match="cannot read token file"):
        Destination(address="localhost:1", token=token)


def test_the_token_is_shown_as_a_bearer_token(serve_both: Serve) -> None:
    shown: list[str] = []

    def check(requests: Requests, context: Any) -> Responses:
        shown.extend(v for k, v in context.invocation_metadata() if k == "authorization")
        yield from talk(requests, context)

    for token in ("secret", ""):
        with TrainerClient(serve_both(check), [POINT], simulator="sim", token=token) as client:
            client.connect()
    assert shown == ["Bearer secret"]


def test_completion_ends_a_simulator(serve_both: Serve, rows_of: RowsOf) -> None:
    def finish(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField("hello"):
                yield welcome()
            elif request.HasField("step"):
                yield close(pb.CLOSE_REASON_COMPLETED, "trained")
            else:
                return

    with TrainerClient(serve_both(finish), [POINT], simulator="sim") as client:
        client.connect()
        client.exchange({"point": rows_of(POINT, StepType.FIRST)})
        pytest.fail("the exchange was answered")


def test_tls_with_the_right_authority_is_trusted(serve: Serve, certificate: Path) -> None:
    credentials = grpc.ssl_server_credentials(
        [((certificate / "key.pem").read_bytes(), (certificate / "cert.pem").read_bytes())]
    )
    address = serve(talk, credentials=credentials)
    with TrainerClient(
        address, [POINT], simulator="sim", tls_ca=certificate / "cert.pem"
    ) as client:
        assert client.connect().session_id == "abc"


def test_a_trainer_that_asks_for_a_certificate_gets_it(serve: Serve, certificate: Path) -> None:
    key, cert = certificate / "key.pem", certificate / "cert.pem"
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), cert.read_bytes())], cert.read_bytes(), require_client_auth=True
    )
    address = serve(talk, credentials=credentials)
    with TrainerClient(
        address, [POINT], simulator="sim", tls_ca=cert, tls_certificate=cert, tls_key=key
    ) as client:
        assert client.connect().session_id == "abc"
    with pytest.raises(ConnectionLostError, match="TLS"):
        TrainerClient(address, [POINT], simulator="sim", tls_ca=cert, connect_s=0.0).connect()


def test_plain_text_to_a_tls_trainer_is_told_with_the_usual_causes(
    serve: Serve, certificate: Path
) -> None:
    credentials = grpc.ssl_server_credentials(
        [((certificate / "key.pem").read_bytes(), (certificate / "cert.pem").read_bytes())]
    )
    client = TrainerClient(
        serve(talk, credentials=credentials), [POINT], simulator="sim", connect_s=0.0
    )
    with pytest.raises(ConnectionLostError, match="one side uses TLS and the other does not"):
        client.connect()


def test_a_certificate_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(OptionError, match=r"cannot read .*ca\.pem: No such file"):
        dial("localhost:1", tls_ca=missing)


def test_a_client_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="both its certificate and its key"):
        Destination(address="localhost:1", tls_ca=tmp_path, tls_certificate=tmp_path)


def test_a_client_certificate_needs_the_trainers_authority(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give that as tls_ca"):
        Destination(address="localhost:1", tls_certificate=tmp_path, tls_key=tmp_path)


def test_unix_sockets_are_refused_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(OptionError, match="no unix sockets on Windows; use HOST:PORT"):
        Destination(address="unix:/tmp/trainer")


def test_a_channel_that_never_closes_holds_nobody_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(requests: Requests, context: Any) -> Responses:
        yield welcome("abc")

    connection: Any = dial(serve(hang_up))
    connection.receive()
    channel, is_over = connection._channel, threading.Event()
    connection._channel = SimpleNamespace(close=is_over.wait)
    monkeypatch.setattr("entrain_envs.grpc_connection.CLOSE_S", 0.01)
    connection.end(timeout_s=5.0)
    is_over.set()
    channel.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no such signals")
def test_a_goodbye_is_heard_although_a_signal_interrupted_a_read(serve_both: Serve) -> None:
    heard: list[str] = []
    is_waiting = threading.Event()

    def silent(requests: Requests, context: Any) -> Responses:
        for request in requests:
            heard.append(str(request.WhichOneof("message")))
            if heard[-1] == "hello":
                yield welcome("abc")
                is_waiting.set()
            elif heard[-1] == "goodbye":
                return

    connection = dial(serve_both(silent))
    connection.send(HELLO)
    connection.receive()
    main = threading.get_ident()

    def interrupt() -> None:
        is_waiting.wait(5.0)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    interrupter = threading.Timer(0.2, interrupt)
    interrupter.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            connection.receive()
    finally:
        signal.signal(signal.SIGUSR1, before)
    connection.send(pb.ConnectRequest(goodbye=pb.Goodbye()))
    connection.end(timeout_s=5.0)
    assert heard == ["hello", "goodbye"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="Windows has no such signals")
def test_a_client_asked_to_leave_while_it_waits_says_goodbye_and_is_interrupted(
    serve_both: Serve, rows_of: RowsOf
) -> None:
    heard: list[str] = []
    main = threading.get_ident()

    def silent(requests: Requests, context: Any) -> Responses:
        for request in requests:
            heard.append(str(request.WhichOneof("message")))
            if heard[-1] == "hello":
                yield welcome("abc")
            elif heard[-1] == "step":
                # It has sent the step, and waits a moment later.
                threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGUSR1)).start()
            else:
                return

    client = TrainerClient(serve_both(silent), [POINT], simulator="sim")
    asked: list[bool] = []
    before = signal.signal(signal.SIGUSR1, lambda *_: asked.append(client.leave()))
    try:
        with pytest.raises(KeyboardInterrupt), client:
            client.exchange({"point": rows_of(POINT, StepType.FIRST)})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert asked == [True]
    assert heard == ["hello", "step", "goodbye"]
    assert not client.leave()


def test_a_silent_stream_is_waited_for_where_the_trainer_cannot_be_asked(
    serve: Serve, rows_of: RowsOf
) -> None:
    def slow(requests: Requests, context: Any) -> Responses:
        for request in requests:
            if request.HasField("hello"):
                yield welcome()
            elif request.HasField("step"):
                # Of an older trainer: it has no Inquire.
                threading.Event().wait(0.3)
                yield act(POINT, request.step)

    def again(requests: Requests, context: Any) -> Responses:
        raise AssertionError("the client dialled again")

    with TrainerClient(serve(slow, again), [POINT], simulator="sim", silence_s=0.05) as client:
        client.connect()
        assert len(client.exchange({"point": rows_of(POINT, StepType.FIRST)})["point"]) == 1


def test_a_trainer_that_is_gone_behind_a_silent_stream_is_dialled_as_usual(
    serve: Serve, rows_of: RowsOf, tmp_path: Path
) -> None:
    address = serve(talk, address=f"unix:{tmp_path}/t")
    with DamagingProxy(tmp_path / "p", tmp_path / "t") as proxy:
        client = TrainerClient(
            *(proxy.address, [POINT]),
            simulator="sim",
            silence_s=0.1,
            answer_s=1.0,
            reconnect_s=0.1,
        )
        client.connect()
        proxy.damage(swallow, of="simulator")
        proxy.damage(swallow, of="trainer")
        Path(address.removeprefix("unix:")).unlink()
        with pytest.raises(ConnectionLostError, match=r"no trainer answered at .* within 0.1 s"):
            client.exchange({"point": rows_of(POINT, StepType.FIRST)})
        client.close()


def test_wss_with_the_right_authority_is_trusted_and_gets_a_certificate(
    serve_websocket: Serve, certificate: Path
) -> None:
    key, cert = certificate / "key.pem", certificate / "cert.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    address = serve_websocket(talk, ssl=context)
    own: dict[str, Any] = {"simulator": "sim", "tls_certificate": cert, "tls_key": key}
    with TrainerClient(address, [POINT], tls_ca=cert, **own) as client:
        assert client.connect().session_id == "abc"
    with pytest.raises(ConnectionLostError, match="certificate verify failed"):
        TrainerClient(address, [POINT], connect_s=0.0, **own).connect()


def test_what_speaks_no_websocket_is_told_apart(serve: Serve) -> None:
    connection = dial(f"ws://{serve(talk)}")
    with pytest.raises(BrokenStreamError, match=r"speaks no WebSocket|connection"):
        connection.receive(timeout_s=5.0)
    connection.end(timeout_s=0.0)


@pytest.mark.parametrize(
    "address",
    [
        "ws://",
        "ws://:50052",
        "wss://host:port",
        "ws://user@host:1",
        "ws://host:1/?q",
        "ws://h:70000",
    ],
)
def test_an_address_of_no_websocket_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="no address of a WebSocket; expected ws://HOST:PORT"):
        Destination(address=address)


def test_an_authority_without_tls_is_refused(certificate: Path) -> None:
    with pytest.raises(OptionError, match="dial wss://localhost:1"):
        Destination(address="ws://localhost:1", tls_ca=certificate / "cert.pem")


def test_a_missing_package_for_websocket_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain_envs.connection.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'entrain-envs\[websocket\]'"):
        Destination(address="ws://localhost:1")


def test_a_websocket_refused_by_http_is_told_with_the_words(serve_websocket: Serve) -> None:
    def refuse(status: int, words: str) -> Any:
        return lambda connection, _request: connection.respond(status, words)

    for status, kind in (
        *((status, RefusedError) for status in (401, 404, 405)),
        *((status, BrokenStreamError) for status in (408, 500, 503, 507)),
    ):
        address = serve_websocket(talk, process_request=refuse(status, f"because of {status}"))
        connection = dial(address)
        with pytest.raises(kind, match=f"because of {status}"):
            connection.receive(timeout_s=5.0)
        connection.end(timeout_s=0.0)


def test_an_answer_above_our_own_limit_over_websocket_is_a_misfit(serve_websocket: Serve) -> None:
    def ramble(requests: Requests, context: Any) -> Responses:
        for _ in requests:
            yield welcome("x" * 10_000)

    client = TrainerClient(serve_websocket(ramble), [POINT], simulator="sim", max_message_mib=0.004)
    words = "and 'sim' do not fit: a message is too long .* raise max_message_mib of this"
    with pytest.raises(MisfitError, match=words):
        client.connect()


def test_pings_are_answered_while_the_simulator_computes(
    serve_websocket: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entrain_envs.web_socket.LOOK_S", 0.05)
    is_answered = threading.Event()

    def ping(requests: Requests, context: Any) -> Responses:
        yield welcome("abc")
        if context.socket.ping().wait(5.0):
            is_answered.set()
        yield welcome("later")

    connection = dial(serve_websocket(ping, ping_interval=None))
    connection.receive()
    assert is_answered.wait(5.0)
    assert connection.receive(timeout_s=5.0).welcome.session_id == "later"
    connection.end(timeout_s=5.0)


def test_a_step_whose_sending_is_interrupted_is_sent_once(
    serve_websocket: Serve, rows_of: RowsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = []

    def note(requests: Requests, context: Any) -> Responses:
        for request in requests:
            came.append(request.WhichOneof("message"))
            yield from talk(iter([request]), context)

    send = socket.socket.send

    def send_and_interrupt(self: socket.socket, content: bytes) -> int:
        send(self, content)
        raise KeyboardInterrupt

    client = TrainerClient(serve_websocket(note), [POINT], simulator="sim")
    client.connect()
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "send", send_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.exchange({"point": rows_of(POINT, StepType.FIRST)})
    client.close()
    assert came == ["hello", "step", "goodbye"]


def test_a_websocket_on_which_nothing_is_heard_is_pinged_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("entrain_envs.web_socket.SILENT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = dial(f"ws://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(BrokenStreamError, match="nothing was heard for 0 s, not even"):
            connection.receive(timeout_s=5.0)
        connection.end(timeout_s=0.0)
