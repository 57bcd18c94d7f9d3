"""Watches the games of a run: says what is wrong with silent ones, and ends frozen ones.

What may be wrong is judged by `unity.diagnoses`; here is the clock, and what is done about it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from entrain.app.games import make_game_watch, plan_games
from entrain.app.launcher import Launcher
from entrain.config.run import RunConfig
from entrain.serving.front import Front
from entrain.serving.fronts import Fronts
from entrain.unity.diagnoses import GameWatch
from entrain.unity.front import UnityFront
from entrain.unity.game_status import GameStatus, Stage

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Time between two looks at the games."""


MOST_PORTS = 8
"""Ports that one line names."""


class Games(Protocol):
    """The part of the front of games that is watched."""

    @property
    def statuses(self) -> Sequence[GameStatus]:
        """Of every game of the run, there or not."""
        ...

    def note_ended(self, name: str) -> None:
        """A program of that name has ended; harmless if it is no game, or known to be gone."""
        ...


class GameWatcher:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        games: Games,
        launcher: Launcher,
        watch: GameWatch,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch nothing yet.

        Args:
            games: that are looked at.
            launcher: starts some of them; one that froze is killed, and the launcher decides
                whether it is started again.
            watch: judges.
            clock: seconds.
        """
        self._games = games
        self._launcher = launcher
        self._watch = watch
        self._clock = clock
        launcher.on_end = games.note_ended

    def __repr__(self) -> str:
        return f"<GameWatcher: {self._watch.latest}>"

    @property
    def is_paused(self) -> bool:
        """Whether a game left that others started, and may start again whenever they like."""
        return any(
            game.stage is Stage.LEFT and game.name not in self._watch.launched
            for game in self._games.statuses
        )

    @property
    def cause(self) -> str:
        """The end of a message: what may be wrong with the game that is silent; "" if none is."""
        finding = self._watch.latest
        return "" if finding is None else f". {finding.name} {finding.words}"

    async def run(self) -> None:
        """Look again and again; never returns."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        running = [name for name in self._watch.launched if self._launcher.is_running(name)]
        for finding in self._watch.look(self._games.statuses, running, now_s=self._clock()):
            if finding.is_frozen:
                self._launcher.end(finding.name, f"it {finding.words}")
            else:
                logger.warning("%s %s", finding.name, finding.words)


def watch_over_games(
    config: RunConfig, front: Front, launcher: Launcher, *, logs: Path
) -> GameWatcher | None:
    """Lets `launcher` start the games that the run launches, and makes what watches all games.

    Args:
        config: of the run.
        front: listens.
        launcher: has started nothing yet.
        logs: folder for what games write and print.

    Returns:
        None if no games take part.
    """
    games = front.named("unity") if isinstance(front, Fronts) else front
    if config.unity is None or not isinstance(games, UnityFront):
        return None
    if config.unity.launch is None:
        logger.info(
            "press Play in the Unity Editor, or start a build with --mlagents-port %s",
            " or ".join(str(port.port) for port in games.ports[:MOST_PORTS]),
        )
    launched = plan_games(config.unity, ports=[port.port for port in games.ports], logs=logs)
    launcher.add(launched)
    return GameWatcher(games, launcher, make_game_watch(config.unity, launched))
