"""What gRPC is told in each handshake while the files of a certificate change."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from entrain.config.run import ServerConfig
from entrain.errors import ServeError
from entrain.native import certificates
from entrain.native.certificates import ServerCertificates

Shown = tuple[bytes, bytes, bytes | None]
"""Key, certificate and authority: stands in for gRPC's configuration."""

HEAD = b"-----BEGIN CERTIFICATE-----\n"


class Handshakes:
    """A pair of files, and the callback that gRPC would make of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.certificate, self.key = folder / "server.pem", folder / "server.key"
        self.client_ca = folder / "ca.pem"
        self.first: Any = None
        self.newer: Callable[[], Shown | None] = lambda: None
        self.requires_client: bool | None = None
        self.reads = 0
        self.put("old")

        def make(first: Any, newer: Any, requires_client: bool) -> object:
            self.first, self.newer, self.requires_client = first, newer, requires_client
            return object()

        def check(certificate: Path, key: Path) -> None:
            self.reads += 1
            if certificate.read_bytes().split()[-1] != key.read_bytes().split()[-1]:
                raise ServeError("they do not work together")

        monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", make)
        monkeypatch.setattr(
            grpc,
            "ssl_server_certificate_configuration",
            lambda pairs, authority: (*pairs[0], authority),
        )
        monkeypatch.setattr(certificates, "check_pair", check)
        monkeypatch.setattr(certificates, "authority_in", Path.read_bytes)

    def put(self, age: str) -> None:
        """Have the files hold what is of this age."""
        for path in (self.certificate, self.key):
            path.write_bytes(HEAD + age.encode())

    def begin(self, **more: Any) -> ServerCertificates:
        """Read the files, and make credentials of them."""
        config = ServerConfig(tls_certificate=self.certificate, tls_key=self.key, **more)
        made = ServerCertificates.of(config)
        assert made is not None
        assert str(self.certificate) in repr(made)
        assert made.credentials() is made._given[0]
        return made


@pytest.fixture
def handshakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Handshakes]:
    yield Handshakes(tmp_path, monkeypatch)


def test_a_renewed_certificate_is_shown_once_and_an_unchanged_one_not_read(
    handshakes: Handshakes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    handshakes.begin()
    assert (handshakes.first, handshakes.requires_client) == ((HEAD + b"old",) * 2 + (None,), False)
    assert [handshakes.newer() for _ in range(3)] == [None] * 3
    assert handshakes.reads == 1
    handshakes.put("newer")
    assert handshakes.newer() == (HEAD + b"newer", HEAD + b"newer", None)
    assert handshakes.newer() is None
    assert handshakes.reads == 2
    assert f"that is in {handshakes.certificate} now" in caplog.text


def test_each_port_is_told_of_a_renewal(handshakes: Handshakes) -> None:
    made = handshakes.begin()
    first_port = handshakes.newer
    made.credentials()
    handshakes.put("newer")
    for newer in (first_port, handshakes.newer):
        told = newer()
        assert told is not None
        assert told[1] == HEAD + b"newer"
        assert newer() is None


@pytest.mark.parametrize("content", [HEAD + b"other", b"", None])
def test_files_that_are_wrong_leave_the_certificate_and_are_said_once(
    handshakes: Handshakes, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    handshakes.begin()
    if content is None:
        handshakes.key.unlink()
    else:
        handshakes.key.write_bytes(content)
    assert [handshakes.newer() for _ in range(3)] == [None] * 3
    assert caplog.text.count("simulators are shown the certificate from before") == 1
    handshakes.put("newer")
    told = handshakes.newer()
    assert told is not None
    assert told[0] == HEAD + b"newer"


def test_files_that_change_while_they_are_read_are_read_again(
    handshakes: Handshakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    handshakes.begin()
    handshakes.put("newer")
    monkeypatch.setattr(certificates, "check_pair", lambda *_: handshakes.put("the newest"))
    assert handshakes.newer() is None
    # Nothing changes any more.
    monkeypatch.setattr(certificates, "check_pair", lambda *_: None)
    told = handshakes.newer()
    assert told is not None
    assert told[1] == HEAD + b"the newest"


def test_a_renewed_authority_is_shown_too(handshakes: Handshakes) -> None:
    handshakes.client_ca.write_bytes(b"ours")
    handshakes.begin(tls_client_ca=handshakes.client_ca)
    assert (handshakes.first[2], handshakes.requires_client) == (b"ours", True)
    handshakes.client_ca.write_bytes(b"theirs")
    told = handshakes.newer()
    assert told is not None
    assert told[2] == b"theirs"
