"""A silent game is told of; one that froze is killed, for the launcher to start again."""

import asyncio
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrain.app import game_watch
from entrain.app.game_watch import GameWatcher
from entrain.app.launch_plan import Simulator
from entrain.app.launcher import Launcher
from entrain.unity.diagnoses import GameWatch, LaunchedGame
from entrain.unity.game_status import GameStatus, Stage


@dataclass
class OneGame:
    """Never moves on."""

    stage: Stage
    is_held: bool = False

    @property
    def statuses(self) -> list[GameStatus]:
        return [GameStatus("game-0", "localhost:5005", self.stage, 2, is_its_turn=True)]

    def note_ended(self, name: str) -> None:
        self.stage = Stage.ABSENT


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

    watcher = GameWatcher(games, launcher, GameWatch(60.0, about), clock=clock)
    watching = asyncio.create_task(watcher.run())
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


def test_in_a_pause_nobody_froze_and_silence_counts_from_its_end() -> None:
    launcher, games = Kills(), OneGame(Stage.PLAYING)
    about = {"game-0": LaunchedGame((Path("none"),))}
    seconds = iter([0.0, 1001.0, 1060.0, 1061.0])
    watcher = GameWatcher(games, launcher, GameWatch(60.0, about), clock=seconds.__next__)
    for is_held in (False, True, True, False, False):
        games.is_held = is_held
        watcher._look()
    assert launcher.killed == []
    watcher._look()
    assert len(launcher.killed) == 1


async def test_a_game_of_the_editor_is_told_of_and_never_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    launcher = Kills()
    with caplog.at_level(logging.WARNING):
        await looks(OneGame(Stage.PLAYING), launcher, launched=False)
    assert launcher.killed == []
    assert caplog.text.count("game-0 has sent nothing for 60 s") == 1


async def test_the_front_is_told_when_the_program_of_a_game_has_ended(tmp_path: Path) -> None:
    games = OneGame(Stage.PLAYING)
    launcher = Launcher(
        [Simulator("game-0", (sys.executable, "-c", ""), tmp_path / "log")], environment={}
    )
    watcher = GameWatcher(games, launcher, GameWatch(60.0, {}))
    watching = asyncio.create_task(watcher.run())
    await launcher.start()
    async with asyncio.timeout(20):
        while not launcher.is_exhausted:
            await asyncio.sleep(0.01)
    watching.cancel()
    await launcher.stop()
    assert games.stage is Stage.ABSENT


def test_a_game_that_people_stopped_pauses_the_run_and_a_launched_one_does_not() -> None:
    games, launcher = OneGame(Stage.LEFT), Launcher([], environment={})
    assert GameWatcher(games, launcher, GameWatch(60.0, {})).is_paused
    about = {"game-0": LaunchedGame((Path("none"),))}
    assert not GameWatcher(games, launcher, GameWatch(60.0, about)).is_paused


def test_what_is_wrong_ends_the_message_of_a_run_that_waited_in_vain() -> None:
    watch = GameWatch(60.0, {})
    watcher = GameWatcher(OneGame(Stage.ABSENT), Launcher([], environment={}), watch)
    assert watcher.cause == ""
    for at_s in (0.0, 60.0):
        watch.look(OneGame(Stage.ABSENT).statuses, [], now_s=at_s)
    assert watcher.cause.startswith(". game-0 has not connected to localhost:5005 within 60 s:")
