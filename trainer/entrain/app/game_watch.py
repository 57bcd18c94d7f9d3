"""Watches the games of a run: warns about silent ones, and ends frozen ones.

`unity.diagnoses` judges the games; this module has the clock, and acts on the findings.
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
"""Most ports that one line names."""


class Games(Protocol):
    """The part of the front of games that is watched."""

    @property
    def is_held(self) -> bool:
        """Whether the run is paused: nobody is expected to move on."""
        ...

    @property
    def statuses(self) -> Sequence[GameStatus]:
        """Of every game of the run, there or not."""
        ...

    def note_ended(self, name: str) -> None:
        """Note that a program ended; ignored if it is not a game, or is known to be gone."""
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
        """True if a game that the trainer did not start has left, and so may come back."""
        return any(
            game.stage is Stage.LEFT and game.name not in self._watch.launched
            for game in self._games.statuses
        )

    @property
    def cause(self) -> str:
        """The end of a message: the likely fault of a silent game; "" if none is silent."""
        finding = self._watch.latest
        return "" if finding is None else f". {finding.name} {finding.words}"

    async def run(self) -> None:
        """Look at the games every `LOOK_S`; never returns."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._look()

    def _look(self) -> None:
        if self._games.is_held:
            self._watch.excuse()
            return
        running = [name for name in self._watch.launched if self._launcher.is_running(name)]
        for finding in self._watch.look(self._games.statuses, running, now_s=self._clock()):
            if finding.is_frozen:
                self._launcher.end(finding.name, f"it {finding.words}")
            else:
                logger.warning("%s %s", finding.name, finding.words)


def watch_over_games(
    config: RunConfig, front: Front, launcher: Launcher, *, logs: Path
) -> GameWatcher | None:
    """Gives `launcher` the games that the run launches, and makes the watcher of all games.

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
