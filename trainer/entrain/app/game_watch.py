"""Watches the games of a run: says what is wrong with silent ones, and ends frozen ones.

What may be wrong is judged by `unity.diagnoses`; here is the clock, and what is done about it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from entrain.app.launcher import Launcher
from entrain.unity.diagnoses import GameWatch
from entrain.unity.game_status import GameStatus

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Time between two looks at the games."""


class Games(Protocol):
    """The part of the front of games that is watched."""

    @property
    def statuses(self) -> Sequence[GameStatus]:
        """Of every game of the run, there or not."""
        ...


async def watch_games(
    games: Games,
    launcher: Launcher,
    watch: GameWatch,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Never returns.

    Args:
        games: that are looked at.
        launcher: has started some of them; one that froze is killed, and the launcher decides
            whether it is started again.
        watch: judges.
        clock: seconds.
    """
    while True:
        await asyncio.sleep(LOOK_S)
        running = [name for name in watch.launched if launcher.is_running(name)]
        for finding in watch.look(games.statuses, running, now_s=clock()):
            if finding.is_frozen:
                launcher.end(finding.name, f"it {finding.words}")
            else:
                logger.warning("%s %s", finding.name, finding.words)
