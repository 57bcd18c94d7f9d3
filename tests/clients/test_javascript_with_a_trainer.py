"""The JavaScript client's own sockets, in Node, with a trainer: TLS, tokens, refusals, silence."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.config.run import ServerConfig
from entrain.native.inquiry import Inquiries
from entrain.run.folder import RunFolder
from entrain.serving.behaviours import Behaviour
from entrain.serving.front import Ending
from entrain_envs.timestep import ActionBatch
from entrain_envs.wire import trainer_pb2 as pb
from live_run import config_from, train
from support.native_server import NativeServer
from support.node import NODE, needs_node, running
from support.ports import free_port

pytestmark = [needs_node, pytest.mark.clients]

DIAL = Path(__file__).parent / "javascript" / "dial.js"
ROWS = ("1", "2", "4", "1", "2")
"""FIRST, MID, TRUNCATED, FIRST, MID."""


class Serving:
    """A server that answers each agent by its own number."""

    def __init__(self, config: ServerConfig) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.server = NativeServer(config, on_new=self._open)

    def _open(self, behaviours: Sequence[Behaviour]) -> None:
        self.tasks += [asyncio.ensure_future(self._serve(each)) for each in behaviours]

    async def _serve(self, behaviour: Behaviour) -> None:
        async for requests in behaviour.batcher:
            await self.may_answer.wait()
            timesteps = requests.timesteps.timesteps
            acting = timesteps.agent_id[timesteps.needs_action]
            nothing = np.empty((len(acting), 0), np.int32)
            await requests.reply(ActionBatch(acting[:, None].astype(np.float32), nothing, 0))

    @property
    def url(self) -> str:
        return self.server.front.websocket_url


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Serving]:
    config = ServerConfig(address="localhost:0", websocket="localhost:0", **options)
    it = Serving(config)
    await it.server.start()
    try:
        yield it
    finally:
        it.may_answer.set()
        await it.server.stop(Ending.COMPLETED, "the test is over", goodbye_s=0.1)
        await asyncio.gather(*it.tasks)


async def dial(url: str, *step_types: str, **options: Any) -> list[str]:
    """The lines of a program in Node that joins, sends rows of these types, and leaves."""
    process = await asyncio.create_subprocess_exec(
        NODE, str(DIAL), url, json.dumps(options), *step_types, stdout=subprocess.PIPE
    )
    async with asyncio.timeout(120.0):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().splitlines()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed cert.pem for localhost, its key.pem, and a token."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing (Debian: apt-get install openssl)")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(
        [*command.split(), *about, *files], cwd=folder, check=True, capture_output=True, timeout=120
    )
    (folder / "token").write_text("s3cret/+\n")
    return folder


async def test_a_session_from_hello_to_goodbye() -> None:
    async with serving() as it:
        lines = await dial(it.url, *ROWS)
        counters = it.server.participants.counters
        assert counters["sessions_joined"] == counters["sessions_left"] == 1
    acts = ["acts 7", "acts 7", "acts ", "acts 7", "acts 7"]
    assert lines[1:] == ["joined run with gravity 9.5", *acts, "left"]


async def test_tls_and_a_token_from_a_file(certificate: Path) -> None:
    secured = {
        "tls_certificate": certificate / "cert.pem",
        "tls_key": certificate / "key.pem",
        "token_file": certificate / "token",
    }
    trusting = {"tlsCa": str(certificate / "cert.pem")}
    async with serving(**secured) as it:
        assert it.url.startswith("wss://")
        token_file = str(certificate / "token")
        assert (await dial(it.url, *ROWS, tokenFile=token_file, **trusting))[-1] == "left"
        no_scheme = it.url.removeprefix("wss://").removesuffix("/simulate")
        assert (await dial(no_scheme, token="s3cret/+", **trusting))[-1] == "left"
        wrong = (await dial(it.url, token="guess", **trusting))[-1]
        assert wrong.startswith("MisfitError: ")
        assert "HTTP 401" in wrong
        strange = (await dial(it.url, token="s3cret/+", connectS=1))[-1]
        assert strange.startswith("ConnectionLostError: ")
        assert "self-signed certificate" in strange
        plain = (await dial(it.url.replace("wss", "ws"), connectS=1))[-1]
        assert plain.startswith("ConnectionLostError: ")


async def test_what_the_trainer_refuses_is_said_in_its_words() -> None:
    async with serving() as it:
        out_of_order = await dial(it.url, "2")
        assert out_of_order[-1].startswith("RefusedError: ")
        assert "INVALID_ARGUMENT" in out_of_order[-1]
        elsewhere = (await dial(it.url.replace("/simulate", "/there")))[-1]
        assert elsewhere.startswith("MisfitError: ")
        assert "404" in elsewhere


async def test_a_simulator_whose_step_the_trainer_holds_waits_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[bytes] = []
    answer = Inquiries.answer

    def noted(inquiries: Inquiries, content: bytes, *, peer: str) -> bytes:
        answers.append(answer(inquiries, content, peer=peer))
        return answers[-1]

    monkeypatch.setattr(Inquiries, "answer", noted)
    async with serving() as it:
        it.may_answer.clear()
        dialling = asyncio.ensure_future(dial(it.url, "1", silenceS=0.1))
        async with asyncio.timeout(120.0):
            while len(answers) < 3:
                await asyncio.sleep(0.01)
        it.may_answer.set()
        lines = await dialling
    standings = {pb.InquireResponse.FromString(each).standing for each in answers}
    assert standings == {pb.STEP_STANDING_HELD}
    assert lines[-2:] == ["acts 7", "left"]
    assert not any("lost the trainer" in line for line in lines)


async def test_two_kinds_of_agents_in_two_halves_are_counted_exactly(tmp_path: Path) -> None:
    port = free_port()
    text = f"""
        server:
          address: localhost:0
          websocket: localhost:{port}
          max_unanswered_steps: 2
        policies:
          "*":
            total_steps: 1500
            rollout_steps: 250
            network: {{hidden_sizes: [8]}}
            algorithm: {{num_epochs: 1}}
    """
    meadow = Path(__file__).parent / "javascript" / "meadow.js"
    with running(meadow, f"ws://localhost:{port}"):
        outcome, run = await train(
            config_from(text, tmp_path), RunFolder.create(tmp_path / "runs", "run")
        )
    assert outcome == "completed"
    for name in ("rabbit", "fox"):
        ledger = run.trainers[name].ledger
        assert ledger.opened == ledger.closed + ledger.dropped + ledger.open
        assert ledger.closed >= 250
