"""A stream over WebSocket: what cannot be sent or read, and files that are no certificates."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrain_envs.connection import Destination
from entrain_envs.errors import BrokenStreamError, MisfitError, OptionError, RefusedError
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import Serve

HELLO = pb.ConnectRequest(hello=pb.Hello(simulator="sim"))


def test_a_message_above_our_own_limit_is_never_sent() -> None:
    """Nobody listens there, and nothing is dialled."""
    connection = Destination(address="ws://localhost:1", max_message_mib=0.001).open()
    connection.send(pb.ConnectRequest(hello=pb.Hello(simulator="s" * 2000)))
    with pytest.raises(MisfitError, match=r"2,0\d\d bytes are to be sent.* raise max_message_mib"):
        connection.receive(timeout_s=5.0)
    connection.end(timeout_s=0.0)


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "INTERNAL: 2 bytes came that are no ConnectResponse"), (3999, "UNAVAILABLE: .*3999: odd")],
)
def test_what_makes_no_sense_is_a_broken_stream(
    code: int, words: str, serve_websocket: Serve
) -> None:
    def talk(requests: Iterator[pb.ConnectRequest], context: Any) -> Iterator[pb.ConnectResponse]:
        next(requests)
        if code:
            context.socket.close(code, "odd")
        else:
            context.socket.send(b"\xff\xff")
        yield from ()

    connection = Destination(address=serve_websocket(talk)).open()
    connection.send(HELLO)
    with pytest.raises(BrokenStreamError, match=words):
        connection.receive(timeout_s=5.0)
    connection.end(timeout_s=0.0)


@pytest.mark.parametrize(("code", "name"), [(4005, "NOT_FOUND"), (4099, "code 99")])
def test_a_refusal_of_another_status_is_final(serve_websocket: Serve, code: int, name: str) -> None:
    """As over gRPC, and in the clients of other languages."""

    def talk(_: Iterator[pb.ConnectRequest], context: Any) -> Iterator[pb.ConnectResponse]:
        context.socket.close(code, "gone")
        yield from ()

    connection = Destination(address=serve_websocket(talk)).open()
    connection.send(HELLO)
    with pytest.raises(RefusedError, match=rf"^gone \({name}\)$"):
        connection.receive(timeout_s=5.0)
    connection.end(timeout_s=0.0)


def test_a_file_that_is_no_certificate_is_named(certificate: Path, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("no PEM\n")
    to = Destination(address="wss://localhost:1", tls_ca=authority)
    with pytest.raises(OptionError, match=r"TLS cannot use .*ca.pem .*give PEM files"):
        to.open()
    authority.write_bytes((certificate / "cert.pem").read_bytes())
    connection = to.open()
    authority.write_text("damaged since\n")
    with pytest.raises(OptionError, match=r"TLS cannot use .*ca.pem"):
        connection.inquire(pb.InquireRequest(), timeout_s=5.0)
    connection.end(timeout_s=0.0)
