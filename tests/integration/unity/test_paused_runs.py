"""A run with games of ML-Agents that is paused: they wait, and nobody is given up."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from entrain.app import game_watch
from entrain.app.game_watch import GameWatcher
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome
from entrain.state import State
from entrain.unity import front
from entrain.unity.place import Place
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import config_from, differences, newest, train
from support.ports import free_ports
from support.unity_game import GameOverError, Ledger, UnityGame
from support.unity_player import dialled

CONFIG = """
seed: 3
server: {{max_wait_s: 60, lockstep: true}}
unity: {{port: {port}, games: 2}}
policies:
  Ball:
    total_steps: 512
    rollout_steps: 128
    algorithm: {{minibatch_size: 64, num_epochs: 1}}
    network: {{hidden_sizes: [8]}}
"""
LOOK_S = 0.01
PAUSE_LOOKS = 40
PAUSE_S = 1000.0
"""By the clocks of those who look for silent games, which may be silent for 60 s."""


class Clock:
    """Seconds, which a test lets pass."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """That of those who look for silent games, which they do as often as the test looks."""
    clock = Clock()
    for module, kind in ((front, Place), (game_watch, GameWatcher)):
        monkeypatch.setattr(module, "LOOK_S", LOOK_S)
        defaults = kind.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "clock", clock)
    return clock


class Pausing:
    """Pauses a run for PAUSE_S once it has so many steps; asked again and again."""

    def __init__(self, at: int, clock: Clock) -> None:
        self.at = at
        self.seen: list[tuple[int, float]] = []
        """Steps and seconds of the run at each look while it stood still."""
        self.is_over = threading.Event()
        self._clock = clock

    def __call__(self, run: TrainingRun) -> bool:
        """Never says that the run is to stop."""
        if run.env_steps >= self.at and not self.seen and not run.control.pause.is_held:
            run.control.hold()
        # A game that computes has nothing to be answered: the run stands still for it, too.
        if run.control.pause.is_settled and not self.is_over.is_set():
            self.seen.append((run.env_steps, run.seconds))
            self._clock.ahead_s = PAUSE_S * len(self.seen) / PAUSE_LOOKS
            if len(self.seen) == PAUSE_LOOKS:
                run.control.go_on()
                self.is_over.set()
        return False


def game_at(port: int) -> tuple[UnityGame, Callable[[], None]]:
    exchange, hang_up = dialled(port)
    return UnityGame(BalanceBall(count=3, behaviour="Ball"), exchange), hang_up


Play = Callable[[UnityGame, int], Ledger]


async def trained(
    folder: Path, play: Play, pausing: Pausing | None = None
) -> tuple[Outcome, TrainingRun, list[Ledger]]:
    """A run of two games, each played by `play`, which is given the game and its number."""
    folder.mkdir()
    config: RunConfig = config_from(CONFIG.format(port=free_ports(2)), folder)
    assert config.unity is not None
    port = config.unity.port
    ledgers: dict[int, Ledger] = {}

    def play_one(number: int) -> None:
        game, hang_up = game_at(port + number)
        ledgers[number] = play(game, number)
        hang_up()

    threads = [threading.Thread(target=play_one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    outcome, run = await train(
        config, RunFolder.create(folder, "run"), stop_at=pausing, look_s=LOOK_S
    )
    for thread in threads:
        thread.join(30.0)
    return outcome, run, [ledgers[number] for number in range(2)]


def to_the_end(game: UnityGame, _number: int) -> Ledger:
    return game.play()


def policies(folder: Path) -> State:
    state: State = newest(RunFolder(folder / "run")).state["policies"]
    return state


def require_same(straight: State, paused: State) -> None:
    lines = differences(straight, paused)
    assert [line for line in lines if "/progress/seconds:" not in line] == []


async def test_a_game_that_waits_and_one_that_computes_all_through_a_pause_go_on_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    caplog.set_level(logging.INFO)
    await trained(tmp_path / "straight", to_the_end)
    # Both games have sent 33 outcomes of 3 agents each.
    pausing = Pausing(198, clock)

    def slowly(game: UnityGame, number: int) -> Ledger:
        rows = game.begin()
        with contextlib.suppress(GameOverError):
            while True:
                # Like a game in an Editor that is paused, too.
                assert number == 0 or game.ledger.closed < 99 or pausing.is_over.wait(30.0)
                rows = game.step(rows)
        return game.ledger

    outcome, run, _ = await trained(tmp_path / "paused", slowly, pausing)
    assert (outcome, len(set(pausing.seen))) == ("completed", 1)
    require_same(policies(tmp_path / "straight"), policies(tmp_path / "paused"))
    assert "silent" not in caplog.text
    assert "has sent nothing" not in caplog.text
    assert run.summary(outcome).counters["sessions_lost"] == 0
