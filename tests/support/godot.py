"""Godot 3 without a window, where this machine has it, and a trainer of a script for its games."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from entrain_envs.wire import trainer_pb2 as pb

PACKAGE = Path(__file__).parents[2] / "envs" / "godot"
GODOT = shutil.which("godot3-server")

needs_godot = pytest.mark.skipif(
    GODOT is None, reason="godot3-server is not installed: apt-get install godot3-server"
)

TIMEOUT_S = 120.0


def project(folder: Path, *files: Path) -> Path:
    """A new project with the addon and these files, as a user makes it; returns its folder."""
    folder.mkdir()
    shutil.copytree(PACKAGE / "godot3" / "addons", folder / "addons")
    (folder / "project.godot").write_text('config_version=4\n[application]\nconfig/name="game"\n')
    for file in files:
        shutil.copy(file, folder)
    return folder


def command(folder: Path, *words: str) -> Sequence[str]:
    """Runs the project in `folder` as fast as it can."""
    assert GODOT is not None
    return (GODOT, "--path", str(folder), "--fixed-fps", "60", "--disable-render-loop", *words)


def environment(folder: Path, **variables: str) -> Mapping[str, str]:
    """Of a game, which writes its own files below `folder`."""
    own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "LANG": "en_US.UTF-8"}
    return {**os.environ, **own, **variables}


def output(folder: Path, *words: str, **variables: str) -> tuple[int, str]:
    """Runs it to its end: exit code, and what it printed."""
    ended = subprocess.run(
        command(folder, *words),
        env=environment(folder, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
        text=True,
    )
    return ended.returncode, ended.stdout


class Game:
    """A game that runs. `ended` says how."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ended(self) -> tuple[int, str]:
        """Exit code, and what it printed."""
        async with asyncio.timeout(TIMEOUT_S):
            printed, _ = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, printed.decode()


@asynccontextmanager
async def running(folder: Path, *words: str, **variables: str) -> AsyncIterator[Game]:
    """Within the block, the project runs; afterwards it is killed if it does not end itself."""
    process = await asyncio.create_subprocess_exec(
        *command(folder, *words),
        env=environment(folder, **variables),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Game(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


class Stream:
    """One WebSocket of a game, as a script of a trainer sees it."""

    def __init__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.path = socket.request.path
        self.headers = socket.request.headers
        self.socket = socket

    async def receive(self) -> pb.ConnectRequest:
        """The next message."""
        async with asyncio.timeout(TIMEOUT_S):
            message = await self.socket.recv()
        assert isinstance(message, bytes)
        return pb.ConnectRequest.FromString(message)

    async def send(self, **message: object) -> None:
        """Send a ConnectResponse."""
        await self.socket.send(pb.ConnectResponse(**message).SerializeToString())  # type: ignore[arg-type]

    async def break_off(self) -> None:
        """The connection breaks, without a close frame."""
        self.socket.transport.abort()
        await self.socket.wait_closed()


class ScriptedTrainer:
    """Listens for games, and hands each connection to the test."""

    def __init__(self) -> None:
        self._streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.url = ""
        self.is_closing = False
        """Whether further connections end at once."""

    async def stream(self, path: str = "/simulate") -> Stream:
        """The next connection."""
        async with asyncio.timeout(TIMEOUT_S):
            stream = await self._streams.get()
        assert stream.path == path
        return stream

    async def take(self, socket: ServerConnection) -> None:
        """Hold a connection until it ends."""
        if self.is_closing:
            return
        self._streams.put_nowait(Stream(socket))
        await socket.wait_closed()


@asynccontextmanager
async def scripted_trainer() -> AsyncIterator[ScriptedTrainer]:
    """Within the block, a trainer that says what the test says."""
    trainer = ScriptedTrainer()
    protocols = [Subprotocol("entrain.v1")]
    listening = serve(
        trainer.take, "127.0.0.1", 0, subprotocols=protocols, compression=None, max_size=2**24
    )
    async with listening as server:
        port = next(iter(server.sockets)).getsockname()[1]
        trainer.url = f"ws://127.0.0.1:{port}"
        yield trainer
