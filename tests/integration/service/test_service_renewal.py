"""Certificates and tokens that are renewed while the trainer runs, and simulators that stay."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from entrain_envs.timestep import StepType

FIRST, MID = StepType.FIRST, StepType.MID
Serve = Callable[..., Any]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")


def make_identity(folder: Path, name: str) -> None:
    """Writes NAME.key and NAME.pem: a certificate that is an authority for itself alone."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    about = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
    subprocess.run(
        [*command.split(), *about, *files], cwd=folder, check=True, capture_output=True, timeout=30
    )


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the trainer, two of simulators."""
    folder = tmp_path_factory.mktemp("identities")
    for name in ("old", "new", "old-client", "new-client"):
        make_identity(folder, name)
    return folder


class Secrets:
    """The files that a trainer is given, and what simulators need."""

    def __init__(self, identities: Path, folder: Path) -> None:
        self.identities = identities
        self.files = {
            "tls_certificate": folder / "trainer.pem",
            "tls_key": folder / "trainer.key",
            "tls_client_ca": folder / "clients.pem",
            "token_file": folder / "token",
        }
        self.put("old")

    def put(self, age: str, *options: str) -> None:
        """Have these files, or all, hold what is old or new."""
        contents = {
            "tls_certificate": self.read(f"{age}.pem"),
            "tls_key": self.read(f"{age}.key"),
            "tls_client_ca": self.read(f"{age}-client.pem"),
            "token_file": f"the {age} token\n".encode(),
        }
        for option in options or contents:
            # As renewals do: another file is moved to the place.
            new = self.files[option].with_suffix(".new")
            new.write_bytes(contents[option])
            new.replace(self.files[option])

    def read(self, name: str) -> bytes:
        return (self.identities / name).read_bytes()

    @asynccontextmanager
    async def channel(self, address: str, age: str) -> AsyncIterator[grpc.aio.Channel]:
        """A connection of its own, that trusts and shows what is old or new."""
        credentials = grpc.ssl_channel_credentials(
            root_certificates=self.read(f"{age}.pem"),
            private_key=self.read(f"{age}-client.key"),
            certificate_chain=self.read(f"{age}-client.pem"),
        )
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(address, credentials, options=own) as channel:
            yield channel


def bearer(age: str) -> dict[str, str]:
    return {"authorization": f"Bearer the {age} token"}


async def test_who_is_connected_stays_and_who_joins_is_shown_what_is_new(
    serve: Serve, identities: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "entrain")
    secrets = Secrets(identities, tmp_path)
    async with serve(**secrets.files) as running:
        address = running.address
        async with (
            secrets.channel(address, "old") as before,
            secrets.channel(address, "new") as after,
            secrets.channel(address, "old") as late,
        ):
            stays = await running.join("stays", channel=before, metadata=bearer("old"))
            assert await stays.exchange(1, (7, FIRST)) == [7]
            secrets.put("new")
            joins = await running.join("joins", channel=after, metadata=bearer("new"))
            assert await stays.exchange(2, (7, MID)) == [7]
            assert await joins.exchange(1, (9, FIRST)) == [9]
            code, _ = await running.dial(channel=late, metadata=bearer("old")).status()
            assert code is grpc.StatusCode.UNAVAILABLE
    for what in ("shown the certificate", "asked for the token"):
        assert caplog.text.count(f"simulators are {what} that is in {tmp_path}") == 1


@pytest.mark.parametrize("option", ["tls_certificate", "tls_key", "tls_client_ca"])
@pytest.mark.parametrize("content", [None, b"-----BEGIN CERTIFICATE-----\nMIIB"])
async def test_files_that_do_not_work_leave_the_certificate_as_it_was(
    serve: Serve,
    identities: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    option: str,
    content: bytes | None,
) -> None:
    secrets = Secrets(identities, tmp_path)
    async with serve(**secrets.files) as running:
        if content is None:
            secrets.files[option].unlink()
        else:
            secrets.files[option].write_bytes(content)
        for number in range(2):
            async with secrets.channel(running.address, "old") as channel:
                name = f"sim-{number}"
                simulator = await running.join(name, channel=channel, metadata=bearer("old"))
                assert await simulator.exchange(1, (number, FIRST)) == [number]
        assert caplog.text.count("simulators are shown the certificate from before: server.") == 1
        # The renewal is finished.
        secrets.put("new")
        async with secrets.channel(running.address, "new") as channel:
            await running.join("last", channel=channel, metadata=bearer("new"))


async def test_a_certificate_whose_key_is_not_there_yet_is_not_shown(
    serve: Serve, identities: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = Secrets(identities, tmp_path)
    async with serve(**secrets.files) as running:
        secrets.put("new", "tls_certificate")
        async with secrets.channel(running.address, "old") as channel:
            await running.join("one", channel=channel, metadata=bearer("old"))
        secrets.put("new", "tls_key", "tls_client_ca")
        async with secrets.channel(running.address, "new") as channel:
            await running.join("two", channel=channel, metadata=bearer("old"))
    assert caplog.text.count("do not work together") == 1
