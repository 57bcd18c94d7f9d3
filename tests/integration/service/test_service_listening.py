"""Where a server listens, with what certificates, and how it says that it cannot."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from entrain.config.run import ServerConfig
from entrain.errors import ConfigError, ServeError
from entrain.native.address import claim_port, has_ipv6_loopback
from entrain.serving.front import Ending
from entrain_envs.client import TrainerClient
from entrain_envs.connection import Destination
from entrain_envs.errors import BrokenStreamError, NoRoomError, RefusedError
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from integration.service.conftest import WALKER
from support.native_server import NativeServer

FIRST = StepType.FIRST
Serve = Callable[..., Any]
NewServer = Callable[..., Any]


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def test_localhost_listens_on_both_loopback_addresses(serve: Serve) -> None:
    async with serve(address="localhost:0") as running:
        port = port_of(running.address)
        hosts = ["127.0.0.1", "[::1]"] if has_ipv6_loopback() else ["127.0.0.1"]
        for host in hosts:
            running.address = f"{host}:{port}"
            simulator = await running.join(host)
            assert await simulator.exchange(1, (7, FIRST)) == [7]
            await simulator.send(goodbye=pb.Goodbye())
            await running.until(lambda: running.server.participants.num_sessions == 0)


async def test_a_port_in_use_is_named_with_how_to_choose_another(
    serve: Serve, new_server: NewServer
) -> None:
    async with serve() as running:
        second = new_server(address=running.address)
        with pytest.raises(ServeError) as refusal:
            await second.start()
        port = port_of(running.address)
        assert f":{port} is in use by another program" in str(refusal.value)
        assert "--set server.address=localhost:0" in str(refusal.value)
        assert await (await running.join()).exchange(1, (7, FIRST)) == [7]


async def test_a_port_in_use_by_another_kind_of_program_is_noticed(new_server: NewServer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"127.0.0.1:{port} is in use by another program \("
        ) as refusal:
            await new_server(address=f"localhost:{port}").start()
        if sys.platform == "linux":
            assert f"(process {os.getpid()}: " in str(refusal.value)


async def test_a_port_is_free_again_after_stop(serve: Serve, new_server: NewServer) -> None:
    async with serve() as running:
        address = running.address
    again = new_server(address=address)
    assert await again.start() == address
    await again.stop(Ending.COMPLETED, "")


async def test_a_port_that_another_program_snatches_is_given_up_for_another(
    serve: Serve, new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        taken = port_of(running.address)
        answers = iter([taken, taken])
        monkeypatch.setattr(
            "entrain.native.grpc_transport.claim_port",
            lambda address: next(answers, None) or claim_port(address),
        )
        second = new_server()
        address = await second.start()
        assert port_of(address) != taken
        await second.stop(Ending.COMPLETED, "")


async def test_a_port_that_another_program_snatches_is_an_error_if_it_was_asked_for(
    serve: Serve, new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        monkeypatch.setattr(
            "entrain.native.grpc_transport.claim_port", lambda _: port_of(running.address)
        )
        second = new_server(address=running.address)
        with pytest.raises(ServeError, match="cannot be listened on"):
            await second.start()
        await second.stop(Ending.COMPLETED, "")


async def test_a_server_that_never_started_can_be_stopped(new_server: NewServer) -> None:
    await new_server().stop(Ending.COMPLETED, "")


async def test_a_server_can_be_stopped_twice(serve: Serve) -> None:
    async with serve() as running:
        await running.server.stop(Ending.STOPPED, "")


async def test_a_host_that_is_not_here_is_told(new_server: NewServer) -> None:
    with pytest.raises(ServeError, match=r"192.0.2.1:5 is no address of this machine; listen on"):
        await new_server(address="192.0.2.1:5", insecure=True).start()


def test_an_exposed_address_is_refused_before_anything_is_listened_on(
    new_server: NewServer,
) -> None:
    with pytest.raises(ConfigError, match=r"server.address is '0.0.0.0:0', which other machines"):
        new_server(address="0.0.0.0:0")


async def test_an_exposed_address_by_explicit_word_is_served_and_warned_of(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(address="0.0.0.0:0", insecure=True) as running:
        assert running.address.startswith("localhost:")
        assert await (await running.join()).exchange(1, (7, FIRST)) == [7]
    assert "0.0.0.0:0 is open to other machines without TLS" in caplog.text


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="entrain-") as folder:
        yield Path(folder) / "s"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets")
async def test_a_unix_socket_serves_this_user_only_and_is_removed(
    serve: Serve, new_server: NewServer, socket_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(socket_path))
    async with serve(address=f"unix:{socket_path}") as running:
        assert running.address == f"unix:{socket_path}"
        assert socket_path.stat().st_mode & 0o777 == 0o600
        simulator = await running.join()
        assert await simulator.exchange(1, (7, FIRST)) == [7]
        with pytest.raises(ServeError, match="another program listens on unix:"):
            await new_server(address=running.address).start()
        assert await simulator.exchange(2, (7, StepType.MID)) == [7]
    assert not socket_path.exists()


async def health(address: str, service: str) -> str:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@pytest.mark.parametrize("service", ["", "entrain.v1.Trainer"])
async def test_health_is_serving_until_the_server_pauses(serve: Serve, service: str) -> None:
    async with serve() as running:
        assert await health(running.address, service) == "SERVING"
        running.server.pause()
        assert await health(running.address, service) == "NOT_SERVING"


@pytest.mark.parametrize("is_on", [True, False])
async def test_reflection_is_served_only_when_asked_for(serve: Serve, is_on: bool) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async with serve(reflection=is_on) as running:
        channel = running.open_channel()
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        if is_on:
            await call.write(request)
            answer = await call.read()
            names = {service.name for service in answer.list_services_response.service}
            assert "entrain.v1.Trainer" in names
        else:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await call.write(request)
                await call.read()


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a server's certificate for localhost, and a client's."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        folder,
        *("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem"),
        *("-days", "2", "-subj", "/CN=entrain test authority"),
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            folder,
            *("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr"),
            *("-subj", f"/CN={name}"),
        )
        openssl(
            folder,
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem"),
        )
    return folder


def tls_options(folder: Path) -> dict[str, Path]:
    return {"tls_certificate": folder / "server.pem", "tls_key": folder / "server.key"}


def secure_channel(address: str, folder: Path, *, with_client: bool) -> grpc.aio.Channel:
    def content(name: str) -> bytes:
        return (folder / name).read_bytes()

    credentials = grpc.ssl_channel_credentials(
        root_certificates=content("ca.pem"),
        private_key=content("client.key") if with_client else None,
        certificate_chain=content("client.pem") if with_client else None,
    )
    return grpc.aio.secure_channel(address, credentials)


@needs_openssl
async def test_tls_lets_in_who_trusts_the_certificate(serve: Serve, certificates: Path) -> None:
    async with serve(address="0.0.0.0:0", **tls_options(certificates)) as running:
        async with secure_channel(running.address, certificates, with_client=False) as channel:
            simulator = await running.join(channel=channel)
            assert await simulator.exchange(1, (7, FIRST)) == [7]
        code, _ = await running.dial().status()
        assert code is grpc.StatusCode.UNAVAILABLE


PLAIN_TEXT_TO_A_TLS_TRAINER = """
import asyncio, socket, sys
from pathlib import Path
from entrain.cli import main
assert main(["version"]) == 0
from entrain.config.run import ServerConfig
from entrain.native.front import NativeFront
from entrain.serving.behaviours import Behaviours
from entrain.serving.front import Ending
from entrain.serving.participants import Participants

async def serve(certificate, key):
    config = ServerConfig(
        address="localhost:0", tls_certificate=Path(certificate), tls_key=Path(key)
    )
    behaviours = Behaviours(config, accepts=bool, policies=())
    participants = Participants(config, behaviours, seed=1, expect=1, environment_parameters={})
    server = NativeFront(participants, run_id="run")
    port = int((await server.start()).rpartition(":")[2])
    with socket.create_connection(("localhost", port)) as stranger:
        stranger.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
        await asyncio.to_thread(stranger.recv, 1)
    await server.stop(Ending.COMPLETED, "")

asyncio.run(serve(*sys.argv[1:]))
"""


@needs_openssl
@pytest.mark.parametrize(("verbosity", "is_quiet"), [(None, True), ("INFO", False)])
def test_a_stranger_without_tls_prints_no_line_of_grpcs_own_unless_it_was_asked_for(
    certificates: Path, verbosity: str | None, is_quiet: bool
) -> None:
    surroundings = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    if verbosity is not None:
        surroundings["GRPC_VERBOSITY"] = verbosity
    files = (str(certificates / "server.pem"), str(certificates / "server.key"))
    process = subprocess.run(
        [sys.executable, "-c", PLAIN_TEXT_TO_A_TLS_TRAINER, *files],
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert (process.stderr == "") is is_quiet


@needs_openssl
async def test_mutual_tls_lets_in_who_shows_a_certificate(serve: Serve, certificates: Path) -> None:
    options = {**tls_options(certificates), "tls_client_ca": certificates / "ca.pem"}
    async with serve(**options) as running:
        async with secure_channel(running.address, certificates, with_client=True) as channel:
            simulator = await running.join(channel=channel)
            assert await simulator.exchange(1, (7, FIRST)) == [7]
        async with secure_channel(running.address, certificates, with_client=False) as channel:
            code, _ = await running.dial(channel=channel).status()
            assert code is grpc.StatusCode.UNAVAILABLE


@needs_openssl
async def test_a_key_that_does_not_fit_its_certificate_is_refused_at_the_start(
    new_server: NewServer, certificates: Path
) -> None:
    options = {**tls_options(certificates), "tls_key": certificates / "client.key"}
    with pytest.raises(ServeError, match="do not work together"):
        await new_server(**options).start()


@needs_openssl
async def test_a_missing_certificate_is_refused_at_the_start(
    new_server: NewServer, certificates: Path
) -> None:
    options = {**tls_options(certificates), "tls_certificate": certificates / "absent.pem"}
    with pytest.raises(ServeError, match=r"server.tls_certificate is .*absent.pem, which cannot"):
        await new_server(**options).start()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may listen anywhere")
async def test_a_port_that_needs_privileges_is_told(new_server: NewServer) -> None:
    with pytest.raises(ServeError, match="may not be listened on by this user"):
        await new_server(address="127.0.0.1:1").start()


@needs_openssl
async def test_mutual_tls_over_websocket_lets_in_who_shows_a_certificate(
    certificates: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("s3cret")
    options: dict[str, Any] = {
        **tls_options(certificates),
        "tls_client_ca": certificates / "ca.pem",
        "token_file": tmp_path / "token",
        "max_message_mib": 0.5,
    }
    # Other machines would reach it: with TLS, they may.
    server = NativeServer(ServerConfig(address="localhost:0", websocket="0.0.0.0:0", **options))
    await server.start()
    url = server.front.websocket_url
    assert url.startswith("wss://localhost:")
    own: dict[str, Any] = {
        "tls_ca": certificates / "ca.pem",
        "tls_certificate": certificates / "client.pem",
        "tls_key": certificates / "client.key",
    }

    def meet() -> None:
        with TrainerClient(url, [WALKER], simulator="guest", token="s3cret", **own) as client:
            assert client.connect().max_message_bytes == 2**19
        stream = Destination(address=url, token="s3cret", **own).open()
        stream.send(pb.ConnectRequest(hello=pb.Hello(simulator="x" * 3 * 2**20)))
        with pytest.raises(NoRoomError, match="expected a Hello of at most"):
            stream.receive(timeout_s=10.0)
        stream.end(timeout_s=0.0)
        without = {"tls_ca": own["tls_ca"], "token": "s3cret"}
        cases: list[tuple[dict[str, Any], str]] = [
            ({**own, "token": "other"}, "a token that is not this trainer's"),
            (without, "UNAVAILABLE"),
        ]
        for refused, words in cases:
            stream = Destination(address=url, **refused).open()
            with pytest.raises((RefusedError, BrokenStreamError), match=words):
                stream.receive(timeout_s=10.0)
            stream.end(timeout_s=0.0)

    await asyncio.to_thread(meet)
    await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.1)
    assert server.participants.counters["sessions_joined"] == 1
