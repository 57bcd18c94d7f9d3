"""Where to listen, and whether strangers reach it."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrain.config.run import ServerConfig
from entrain.errors import ConfigError, ServeError
from entrain.native.address import (
    TcpAddress,
    UnixAddress,
    check_exposure,
    clear_unix_path,
    parse_address,
    peer_host,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:50051", TcpAddress("localhost", 50051)),
        ("0.0.0.0:0", TcpAddress("0.0.0.0", 0)),
        ("[::1]:50051", TcpAddress("::1", 50051)),
        ("gpu.example.org:65535", TcpAddress("gpu.example.org", 65535)),
        ("unix:/tmp/entrain.sock", UnixAddress(Path("/tmp/entrain.sock"))),
        ("unix:///tmp/entrain.sock", UnixAddress(Path("/tmp/entrain.sock"))),
        ("unix:entrain.sock", UnixAddress(Path("entrain.sock"))),
    ],
)
def test_addresses_are_read(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        ":50051",
        "localhost:",
        "localhost:x",
        "h:65536",
        "::1:50051",
        "unix:",
        "h:²",
    ],
)
def test_what_is_no_address_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"server.address is '.*'; expected HOST:PORT such as"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("unix:x", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.7:1", False),
        ("localhost.example.org:1", False),
    ],
)
def test_only_loopback_and_unix_sockets_are_local(text: str, is_local: bool) -> None:
    assert parse_address(text).is_local is is_local


def test_an_exposed_address_without_tls_is_refused_with_three_remedies() -> None:
    with pytest.raises(ConfigError) as refusal:
        check_exposure(parse_address("0.0.0.0:50052"), ServerConfig())
    for remedy in ("server.tls_certificate and server.tls_key", "localhost:50052", "--insecure"):
        assert remedy in str(refusal.value)


def test_an_exposed_address_is_allowed_with_tls_or_by_explicit_word() -> None:
    exposed = parse_address("0.0.0.0:50051")
    check_exposure(exposed, ServerConfig(insecure=True))
    check_exposure(
        exposed, ServerConfig(tls_certificate=Path("server.pem"), tls_key=Path("server.key"))
    )
    check_exposure(parse_address("localhost:50051"), ServerConfig())


def test_what_to_dial_is_something_that_can_be_dialled() -> None:
    assert TcpAddress("localhost", 0).to_dial(1234) == "localhost:1234"
    assert TcpAddress("0.0.0.0", 0).to_dial(1234) == "localhost:1234"
    assert TcpAddress("::", 0).to_dial(1234) == "localhost:1234"
    assert TcpAddress("::1", 0).to_dial(1234) == "[::1]:1234"
    assert TcpAddress("10.0.0.7", 0).to_dial(1234) == "10.0.0.7:1234"


def test_localhost_is_both_loopback_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain.native.address.has_ipv6_loopback", lambda: True)
    assert TcpAddress("localhost", 1).hosts == ("127.0.0.1", "::1")
    monkeypatch.setattr("entrain.native.address.has_ipv6_loopback", lambda: False)
    assert TcpAddress("localhost", 1).hosts == ("127.0.0.1",)
    assert TcpAddress("0.0.0.0", 1).hosts == ("0.0.0.0",)


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("ipv4:10.0.0.7:41234", "10.0.0.7"),
        ("ipv6:%5B::1%5D:41234", "::1"),
        ("ipv6:[fe80::1]:41234", "fe80::1"),
        ("unix:", "unix"),
        ("", "unknown"),
    ],
)
def test_the_host_is_taken_out_of_what_grpc_calls_a_peer(peer: str, host: str) -> None:
    assert peer_host(peer) == host


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="entrain-") as path:
        yield Path(path)


needs_unix = pytest.mark.skipif(
    not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"
)


@needs_unix
def test_a_socket_that_nobody_listens_on_is_removed(folder: Path) -> None:
    path = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    clear_unix_path(UnixAddress(path))
    assert not path.exists()


@needs_unix
def test_a_socket_that_somebody_listens_on_is_left_alone(folder: Path) -> None:
    path = folder / "live.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        with pytest.raises(ServeError, match=r"another program listens on unix:.*live.sock"):
            clear_unix_path(UnixAddress(path))
    assert path.exists()


@needs_unix
def test_a_file_that_is_no_socket_is_left_alone(folder: Path) -> None:
    path = folder / "notes.txt"
    path.write_text("precious")
    with pytest.raises(ServeError, match=r"is a file that is no socket"):
        clear_unix_path(UnixAddress(path))
    assert path.read_text() == "precious"


@needs_unix
def test_a_missing_folder_and_a_long_path_are_told_apart(folder: Path) -> None:
    with pytest.raises(ServeError, match=r"the folder .*absent does not exist"):
        clear_unix_path(UnixAddress(folder / "absent" / "x.sock"))
    with pytest.raises(ServeError, match=r"longer than the 103 bytes"):
        clear_unix_path(UnixAddress(folder / ("x" * 103)))


def test_a_system_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(
        ServeError, match=r"has no unix sockets on this system; use localhost:50051"
    ):
        clear_unix_path(UnixAddress(Path("x.sock")))
