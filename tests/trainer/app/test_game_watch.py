"""A silent game is told of; one that froze is killed, for the launcher to start again."""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrain.app import game_watch
from entrain.app.game_watch import watch_games
from entrain.app.launcher import Launcher
from entrain.unity.diagnoses import GameWatch, LaunchedGame
from entrain.unity.game_status import GameStatus, Stage


@dataclass
class OneGame:
    """Never moves on."""

    stage: Stage

    @property
    def statuses(self) -> list[GameStatus]:
        return [GameStatus("game-0", "localhost:5005", self.stage, 2, is_its_turn=True)]


class Kills(Launcher):
    """Remembers who was killed."""

    def __init__(self) -> None:
        super().__init__([], environment={})
        self.killed: list[str] = []

    def is_running(self, name: str) -> bool:
        return not self.killed

    def end(self, name: str, because: str) -> None:
        self.killed.append(f"{name}: {because}")


async def looks(games: OneGame, launcher: Launcher, *, launched: bool, number: int = 100) -> None:
    """Looks so many times, a second apart by the clock."""
    about = {"game-0": LaunchedGame((Path("none"),))} if launched else {}
    now_s = 0.0
    enough = asyncio.Event()

    def clock() -> float:
        nonlocal now_s
        now_s += 1.0
        if now_s >= number:
            enough.set()
        return now_s

    watching = asyncio.create_task(
        watch_games(games, launcher, GameWatch(60.0, about), clock=clock)
    )
    await enough.wait()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_watch, "LOOK_S", 0.0)


async def test_a_launched_game_that_froze_is_killed_once_with_the_reason() -> None:
    launcher = Kills()
    await looks(OneGame(Stage.RESET), launcher, launched=True)
    (killed,) = launcher.killed
    assert killed.startswith("game-0: it was told to begin 60 s ago, and no agent has asked")


async def test_a_game_of_the_editor_is_told_of_and_never_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    launcher = Kills()
    with caplog.at_level(logging.WARNING):
        await looks(OneGame(Stage.PLAYING), launcher, launched=False)
    assert launcher.killed == []
    assert caplog.text.count("game-0 has sent nothing for 60 s") == 1
