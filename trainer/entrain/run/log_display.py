"""A display that logs one line per update, for output that is no terminal."""

import logging
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from entrain.metrics import EPISODE_RETURN_MEAN, EPISODE_RETURN_STD, STEPS_PER_SECOND
from entrain.run.display import DisplayRow, SimulatorsRow
from entrain.run.quantities import counted

logger = logging.getLogger(__name__)


class LogDisplay:
    """Logs each update; names its behaviour once there are several."""

    def __init__(self) -> None:
        self._behaviours: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Nothing to prepare."""

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Log the numbers of one update."""
        self._behaviours.add(behaviour)
        whose = f" of '{behaviour}'" if len(self._behaviours) > 1 else ""
        logger.info("update %d%s: %s", row.update, whose, update_text(row))

    def serving(
        self,
        simulators: SimulatorsRow,  # noqa: ARG002 - who is there is logged where they join
        env_steps: Mapping[str, int],
    ) -> None:
        """Remember which behaviours there are."""
        self._behaviours.update(env_steps)

    def message(self, text: str) -> None:
        """Log it."""
        logger.info("%s", text)

    def stop(self) -> None:
        """Nothing to put back."""


def update_text(row: DisplayRow) -> str:
    """`491,520 env steps, return 212.4 +- 18.0 over 96 episodes, 9,830 steps/s`."""
    facts = [f"{row.env_steps:,} env steps"]
    if row.episodes and math.isfinite(row.return_mean):
        spread = ""
        if math.isfinite(row.return_std):
            spread = f" +- {EPISODE_RETURN_STD.text(row.return_std)}"
        over = counted(row.episodes, "episode")
        facts.append(f"return {EPISODE_RETURN_MEAN.text(row.return_mean)}{spread} over {over}")
    else:
        facts.append("no episode ended")
    if math.isfinite(row.env_steps_per_second):
        facts.append(f"{STEPS_PER_SECOND.text(row.env_steps_per_second)} steps/s")
    return ", ".join(facts)
