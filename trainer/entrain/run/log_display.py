"""A display that logs one line per update, for output that is no terminal."""

import logging
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from entrain.metrics import EPISODE_RETURN_LAST, REWARD_PER_STEP, STEPS_PER_SECOND
from entrain.run.display import DisplayRow, SimulatorsRow
from entrain.run.json_lines import fields
from entrain.run.quantities import counted

logger = logging.getLogger(__name__)

UPDATE = "update %d%s: %s"


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
        logger.info(
            UPDATE,
            row.update,
            whose,
            update_text(row),
            extra=fields(
                policy=behaviour,
                update=row.update,
                env_steps=row.env_steps,
                total_steps=row.total_steps,
                episodes=row.episodes,
                **{"return": row.return_last},
                reward_per_step=row.reward_per_step,
                env_steps_per_second=row.env_steps_per_second,
                **({"late_steps": row.late_steps} if math.isfinite(row.late_steps) else {}),
                **({"lessons": dict(row.lessons)} if row.lessons else {}),
                **({"statistics": dict(row.statistics)} if row.statistics else {}),
            ),
        )

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


def is_update(record: logging.LogRecord) -> bool:
    """Whether a log record tells of an update."""
    return record.name == logger.name and record.msg == UPDATE


def update_text(row: DisplayRow) -> str:
    """`491,520 env steps, return 212.4 over the last 100 episodes (96 new), 9,830 steps/s`."""
    facts = [f"{row.env_steps:,} env steps"]
    if math.isfinite(row.return_last):
        over = last_episodes(row.episodes)
        new = f"{row.new_episodes:,} new" if row.new_episodes else "none new"
        facts.append(f"return {EPISODE_RETURN_LAST.text(row.return_last)} over {over} ({new})")
    else:
        facts.append("no episode has ended yet")
        if math.isfinite(row.reward_per_step):
            facts.append(f"reward {REWARD_PER_STEP.text(row.reward_per_step)} per step")
    if math.isfinite(row.env_steps_per_second):
        facts.append(f"{STEPS_PER_SECOND.text(row.env_steps_per_second)} steps/s")
    if row.late_text:
        facts.append(row.late_text)
    if row.lessons:
        facts.append(row.lessons_text)
    if row.statistics:
        facts.append(row.statistics_text)
    return ", ".join(facts)


def last_episodes(episodes: int) -> str:
    """Returns `the last 100 episodes`, or how many there were if they are fewer."""
    return "the last 100 episodes" if episodes > 100 else counted(episodes, "episode")
