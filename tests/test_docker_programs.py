"""The programs of docker/: certificates, pip's configuration for a build, the health check."""

import configparser
import importlib.util
import re
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

DOCKER = Path(__file__).parents[1] / "docker"


def docker_module(name: str) -> ModuleType:
    """A program of docker/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docker_{name}", DOCKER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("bash") is None,
    reason="needs bash and openssl",
)


def make_certificates(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(DOCKER / "make-certificates.sh"), str(folder), *names],
        capture_output=True,
        text=True,
        check=False,
    )


def shake_hands(folder: Path, name: str) -> None:
    """TLS in memory, as a simulator that dials `name` would; SSLError if it distrusts."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "trainer.pem", folder / "trainer.key")
    dialling = ssl.create_default_context(cafile=folder / "authority.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = dialling.wrap_bio(to_client, to_server, server_hostname=name)
    left: list[Callable[[], None]] = [client.do_handshake, server.do_handshake]
    for _ in range(10):
        for side in list(left):
            try:
                side()
            except ssl.SSLWantReadError:
                continue
            left.remove(side)
        if not left:
            return
    raise AssertionError("the handshake does not end")


@needs_openssl
def test_simulators_trust_the_trainer_under_its_names_and_under_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = make_certificates(folder, "gpu.example", "10.0.0.7")
    assert made.returncode == 0, made.stderr
    for name in ("trainer", "localhost", "127.0.0.1", "::1", "gpu.example", "10.0.0.7"):
        shake_hands(folder, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="elsewhere"):
        shake_hands(folder, "elsewhere")


@needs_openssl
def test_secrets_are_kept_from_others_and_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make_certificates(folder).returncode == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "authority.key").stat().st_mode) == 0o600
    token = (folder / "token").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}\n", token)
    again = make_certificates(folder)
    assert again.returncode == 1
    assert f"{folder}/authority.pem exists" in again.stderr
    assert (folder / "token").read_text() == token
    # Who may join may not therefore read a run's page.
    assert (folder / "read-token").read_text() != token


@needs_openssl
def test_two_calls_make_two_tokens(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert make_certificates(tmp_path / name).returncode == 0
    assert (tmp_path / "one/token").read_text() != (tmp_path / "two/token").read_text()


pip_configuration = docker_module("pip_configuration")


def test_what_install_is_told_wins_over_files_and_the_environment_over_both() -> None:
    lines = [
        ":env:.cert='/from/environment.pem'",
        "global.cert='/global.pem'",
        "install.cert='/install.pem'",
        "global.index-url='https://mirror.example/simple'",
        "install.index-url='https://install.example/simple'",
        "global.timeout='60'",
    ]
    for listing in (lines, list(reversed(lines))):
        assert pip_configuration.merge(listing) == {
            "cert": "/from/environment.pem",
            "index-url": "https://install.example/simple",
            "timeout": "60",
        }


def test_options_that_are_not_about_where_packages_come_from_stay_here() -> None:
    lines = ["global.target='/somewhere'", "download.cert='/x.pem'", "", "no option at all"]
    assert pip_configuration.merge(lines) == {}


def test_a_rendered_configuration_reads_back_as_it_was() -> None:
    options = {
        "cert": "/a 100%.pem",
        "find-links": "/one\n/two",
        "index-url": "https://user:p%40ss@mirror.example/simple",
    }
    parser = configparser.RawConfigParser()
    parser.read_string(pip_configuration.render(options))
    assert {name: it.strip() for name, it in parser["global"].items()} == options


def test_a_build_is_shown_the_local_files_that_the_configuration_names(tmp_path: Path) -> None:
    wheels, index, certificate = tmp_path / "wheels", tmp_path / "index", tmp_path / "ca.pem"
    (index / "simple").mkdir(parents=True)
    wheels.mkdir()
    certificate.touch()
    options = {
        "cert": str(certificate),
        "find-links": f"{wheels}\n{tmp_path}/is-not-there",
        "extra-index-url": f"{(index / 'simple').as_uri()} https://mirror.example/simple",
        "timeout": "60",
    }
    # The index's `simple` pages link to files beside it.
    assert set(pip_configuration.local_paths(options)) == {wheels, certificate, index}


def test_a_configuration_with_a_password_can_be_read_by_its_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:secret@mirror.example/simple")
    target = tmp_path / "pip.conf"
    assert pip_configuration.main(target) == 0
    assert "user:secret" in target.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


healthcheck = docker_module("healthcheck")


class FakeChannel:
    """Answers every call with one health status, and notes what was asked."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.asked: list[str] = []

    def __enter__(self) -> "FakeChannel":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def unary_stream(self, *method: object, **options: object) -> None:
        """Asked for by the stub's constructor."""

    def unary_unary(self, *method: object, **options: object) -> Callable[..., Any]:
        def answer(
            request: health_pb2.HealthCheckRequest, *, timeout: float
        ) -> health_pb2.HealthCheckResponse:
            self.asked.append(request.service)
            return health_pb2.HealthCheckResponse(status=self._status)

        return answer


@pytest.mark.parametrize(("rank", "port"), [("", 50051), ("0", 50051), ("3", 50054)])
def test_the_health_check_asks_the_port_of_its_rank(rank: str, port: int) -> None:
    assert healthcheck.usual_address({"RANK": rank}) == f"localhost:{port}"


@pytest.mark.parametrize(("status", "code"), [("SERVING", 0), ("NOT_SERVING", 1), ("UNKNOWN", 1)])
def test_only_a_trainer_that_serves_is_healthy(
    status: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    channel = FakeChannel(health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    monkeypatch.setattr(healthcheck, "open_channel", lambda settings: channel)
    assert healthcheck.main({}) == code
    assert capsys.readouterr().out == f"{status}\n"
    assert channel.asked == ["entrain.v1.Trainer"]


def test_a_trainer_that_does_not_answer_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refused(grpc.RpcError):
        pass

    def refuse(channel: object) -> str:
        raise Refused("connection refused")

    monkeypatch.setattr(healthcheck, "ask", refuse)
    monkeypatch.setattr(healthcheck, "open_channel", lambda settings: FakeChannel(0))
    assert healthcheck.main({}) == 1
    assert capsys.readouterr().out == "no answer: connection refused\n"


def test_a_health_check_without_its_authority_says_which_file_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "authority.pem"
    assert healthcheck.main({"ENTRAIN_HEALTH_CA": str(missing)}) == 1
    assert str(missing) in capsys.readouterr().out
