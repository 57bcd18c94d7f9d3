"""The C++ client's TLS by OpenSSL: whom it trusts, and that it plays and resumes over it."""

import ssl
import subprocess
from pathlib import Path

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.cpp_probe import compiled, shared_folder
from support.websocket_script import Line, scripted

pytestmark = pytest.mark.clients


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("tls", shared_folder(tmp_path_factory))


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cert.pem, for localhost and 127.0.0.1, and key.pem."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def context(pair: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair / "cert.pem", pair / "key.pem")
    return made


def play(program: Path, url: str, **options: object) -> subprocess.CompletedProcess[str]:
    words = [f"{name}={value}" for name, value in options.items()]
    return subprocess.run(
        [str(program), "play", url, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300.0,
    )


def complete(line: Line) -> None:
    line.welcome()
    assert len(line.serve_steps(99)) == 40


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("agents", [3, 20000])
def test_it_plays_over_tls(
    program: Path, pair: Path, context: ssl.SSLContext, host: str, agents: int
) -> None:
    with scripted(complete, tls=context) as script:
        url = script.url.replace("localhost", host)
        played = play(program, url, ca=pair / "cert.pem", steps=40, agents=agents)
        assert script.is_over
    assert played.returncode == 0, played.stderr
    # What OpenSSL allocates is its own; the client allocates nothing with it.
    assert "allocated 0" in played.stdout


def test_it_resumes_over_tls(program: Path, pair: Path, context: ssl.SSLContext) -> None:
    def breaks(line: Line) -> None:
        line.welcome()
        line.serve_steps(2)
        line.raw()
        line.cut()

    def goes_on(line: Line) -> None:
        assert line.welcome(resumed=True).resume_session_id == "session"
        assert line.serve_steps(1)[0].sequence == 3
        line.receive()
        line.close(pb.CLOSE_REASON_COMPLETED)

    with scripted(breaks, goes_on, tls=context) as script:
        played = play(program, script.url, ca=pair / "cert.pem", steps=99)
        assert script.is_over
    assert played.returncode == 0, played.stderr


def test_it_shows_its_own_certificate(program: Path, pair: Path, context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pair / "cert.pem")
    with scripted(complete, tls=context) as script:
        played = play(
            program,
            script.url,
            ca=pair / "cert.pem",
            certificate=pair / "cert.pem",
            key=pair / "key.pem",
            steps=40,
        )
        assert script.is_over
    assert played.returncode == 0, played.stderr


def test_an_authority_that_it_does_not_know_is_not_trusted(
    program: Path, context: ssl.SSLContext
) -> None:
    with scripted(tls=context) as script:
        played = play(program, script.url, connect_s=0.3)
    assert played.returncode == 1
    assert "the trainer's certificate was refused: self-signed certificate" in played.stderr


def test_a_certificate_for_another_host_is_not_trusted(
    program: Path, pair: Path, context: ssl.SSLContext
) -> None:
    with scripted(tls=context) as script:
        url = script.url.replace("localhost", "127.0.0.2")
        played = play(program, url, connect_s=0.3, ca=pair / "cert.pem")
    assert played.returncode == 1


def test_a_file_that_is_not_there_is_told_so(program: Path, context: ssl.SSLContext) -> None:
    with scripted(tls=context) as script:
        played = play(program, script.url, connect_s=0.3, ca="nowhere.pem")
    assert played.returncode == 1
    assert "No such file" in played.stderr
