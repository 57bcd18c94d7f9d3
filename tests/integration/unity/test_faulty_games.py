"""A game that breaks is told of in one line and costs its own open steps; no other notices."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.unity import front
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.unity import service
from live_run import config_from, train
from support.unity_game import Exchange, Ledger, Style, UnityGame
from support.unity_player import dialled

CONFIG = """
server: {max_message_mib: 0.25}
simulators: {expect: 1}
unity: {port: 0, games: 2}
policies:
  Ball:
    total_steps: 1000000
    rollout_steps: 100000
    network: {hidden_sizes: [8]}
"""

Fault = Callable[[int], None]
"""Does its worst on the port of the second game."""


def game_at(exchange: Exchange, *, balls: int = 3, version: str = "1.5.0") -> UnityGame:
    environment = BalanceBall(count=balls, behaviour="Ball")
    return UnityGame(environment, exchange, style=Style(communication_version=version))


def fails(game: Callable[[], object]) -> str:
    """What the game is told."""
    with pytest.raises(grpc.RpcError) as refusal:
        game()
    return str(refusal.value)


def speaks_another_version(port: int) -> None:
    exchange, hang_up = dialled(port)
    assert "speaks version 2.0.0" in fails(game_at(exchange, version="2.0.0").begin)
    hang_up()


def sends_garbage(port: int) -> None:
    exchange, hang_up = dialled(port)
    assert "no message of ML-Agents" in fails(lambda: exchange(b"\xff\xfe garbage \x00" * 10))
    hang_up()


def sends_garbage_while_it_plays(port: int) -> None:
    exchange, hang_up = dialled(port)
    game = game_at(exchange)
    game.step(game.begin())
    assert "no message of ML-Agents" in fails(lambda: exchange(b"\xff\xfe garbage \x00" * 10))
    hang_up()


def sends_too_much(port: int) -> None:
    exchange, hang_up = dialled(port)
    game = game_at(exchange)
    game.step(game.begin())
    assert "server.max_message_mib" in fails(lambda: exchange(b"\x0a" * 300_000))
    hang_up()


def sends_far_too_much(port: int) -> None:
    exchange, hang_up = dialled(port)
    game = game_at(exchange)
    game.step(game.begin())
    assert "RESOURCE_EXHAUSTED" in fails(lambda: exchange(b"\x0a" * 600_000))
    hang_up()
    time.sleep(0.3)  # until the trainer has looked again


def is_killed_amid_a_message(port: int) -> None:
    with CutWire(port) as wire:
        exchange, hang_up = dialled(wire.port)
        game = game_at(exchange, balls=100)
        rows = game.step(game.step(game.step(game.begin())))
        wire.cut_after(500)
        fails(lambda: game.step(rows))
        hang_up()


class CutWire:
    """Passes on what a game and a trainer say, until the game is cut off amid a message."""

    def __init__(self, upstream: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._upstream = upstream
        self._left: int | None = None
        self._ends: list[socket.socket] = []

    def __enter__(self) -> "CutWire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._close()

    def cut_after(self, size: int) -> None:
        """So many more bytes of the game arrive."""
        self._left = size

    def _accept(self) -> None:
        game, _ = self._listener.accept()
        # Only this one connection: the game that was killed does not dial again.
        self._listener.close()
        trainer = socket.create_connection(("127.0.0.1", self._upstream))
        self._ends = [game, trainer]
        threading.Thread(target=self._carry, args=(trainer, game), daemon=True).start()
        self._carry(game, trainer, is_cut=True)

    def _carry(self, source: socket.socket, sink: socket.socket, *, is_cut: bool = False) -> None:
        try:
            while content := source.recv(65536):
                if is_cut and self._left is not None:
                    content = content[: self._left]
                    self._left -= len(content)
                sink.sendall(content)
                if is_cut and self._left == 0:
                    break
        except OSError:
            pass
        self._close()

    def _close(self) -> None:
        for end in self._ends:
            end.close()


async def with_a_fault(folder: Path, fault: Fault) -> tuple[TrainingRun, Ledger]:
    """A run with a sound game, during which the second one breaks."""
    sound: list[Ledger] = []
    is_over = threading.Event()

    def play(ports: list[int]) -> None:
        try:
            exchange, hang_up = dialled(ports[0])
            game = game_at(exchange)
            rows = game.begin()
            breaking = threading.Thread(target=note, args=(ports[1],))
            breaking.start()
            while breaking.is_alive():
                rows = game.step(rows)
            for _ in range(20):
                rows = game.step(rows)
            game.leave()
            hang_up()
            sound.append(game.ledger)
        finally:
            is_over.set()

    failures: list[BaseException] = []

    def note(port: int) -> None:
        try:
            fault(port)
        except BaseException as error:
            failures.append(error)

    def begin_when_it_listens(run: TrainingRun) -> bool:
        ports = [] if playing else ports_of(run)
        if ports:
            playing.append(asyncio.create_task(asyncio.to_thread(play, ports)))
        return is_over.is_set()

    playing: list[asyncio.Task[None]] = []
    config = config_from(CONFIG, folder)
    _, run = await train(
        config, RunFolder.create(folder, "run"), stop_at=begin_when_it_listens, look_s=0.01
    )
    await playing[0]
    assert failures == []
    return run, sound[0]


def ports_of(run: TrainingRun) -> list[int]:
    """That games dial; none before they are listened on."""
    unity = run._front.named("unity")  # type: ignore[attr-defined]
    ports = [port.port for port in unity.ports]
    return ports if all(ports) else []


@dataclass(frozen=True)
class Expected:
    """What is told, and what the trainer counts besides the sound game."""

    words: str
    """Either of those between "|"."""

    opened: int = 0
    dropped: int = 0
    open: int = 0
    """A game that vanished without a word may be only slow."""

    counters: dict[str, int] = field(default_factory=dict)


EXPECTED: dict[Fault, Expected] = {
    speaks_another_version: Expected(
        "speaks version 2.0.0 of ML-Agents' communication (package 3.0.0), and this trainer speaks",
        counters={"sessions_joined": 1, "sessions_refused": 1},
    ),
    sends_garbage: Expected(
        "120 bytes came that are no message of ML-Agents",
        counters={"sessions_joined": 1, "sessions_refused": 1},
    ),
    sends_garbage_while_it_plays: Expected(
        "that are no message of ML-Agents",
        opened=3,
        dropped=3,
        counters={"sessions_joined": 2, "steps_refused": 1},
    ),
    sends_too_much: Expected(
        "the game sent a message of 300,000 bytes, and 262,144 are taken; raise server",
        opened=3,
        dropped=3,
        counters={"sessions_joined": 2, "steps_refused": 1},
    ),
    sends_far_too_much: Expected(
        "its message is longer than 524,288 bytes",
        opened=3,
        open=3,
        counters={"sessions_joined": 2},
    ),
    # Either its connection or its call is seen to have ended first, and that is said.
    is_killed_amid_a_message: Expected(
        "and its message did not: the game ended meanwhile|closed its connection without a goodbye",
        opened=300,
        open=100,
        counters={"sessions_joined": 2},
    ),
}


@pytest.mark.parametrize("fault", EXPECTED, ids=lambda fault: fault.__name__)
async def test_a_game_that_breaks_costs_its_own_open_steps(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    monkeypatch.setattr(front, "LOOK_S", 0.05)
    monkeypatch.setattr(service, "LATE_S", 0.1)
    with caplog.at_level(logging.WARNING):
        run, sound = await with_a_fault(tmp_path, fault)
    expected = EXPECTED[fault]
    assert any(words in caplog.text for words in expected.words.split("|"))
    counters = run.summary("stopped").counters
    assert {name: counters[name] for name in expected.counters} == expected.counters
    ledger = run.trainers["Ball"].ledger
    assert ledger.opened == sound.opened + expected.opened
    assert (ledger.dropped, ledger.open) == (3 + expected.dropped, expected.open)
    assert ledger.closed == sound.closed + expected.opened - expected.dropped - expected.open
