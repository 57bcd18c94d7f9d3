"""The TensorBoard events of all behaviours of a run: a file for each, made anew if it is lost."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from entrain.run.events import NO_HISTOGRAMS, EventFile
from entrain.serving.aggregates import Histogram

logger = logging.getLogger(__name__)

RETRY_S = 30.0
"""Time between two tries to write events where a file was lost."""


class EventFiles:
    """Owned by one process. Errors of the disk are logged and never raised."""

    def __init__(
        self, folder_of: Callable[[str], Path], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Open nothing yet.

        Args:
            folder_of: says where the events of a behaviour go.
            clock: seconds.
        """
        self._folder_of = folder_of
        self._clock = clock
        self._files: dict[str, EventFile] = {}
        self._opened: set[str] = set()
        self._tried_s = -math.inf
        self._purge_steps: dict[str, int] | None = None

    def __repr__(self) -> str:
        return f"<EventFiles of {', '.join(self._files) or 'no behaviour'}>"

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """Void what was measured after these env steps of each behaviour, or of others at all."""
        self.close()
        self._purge_steps = {name: steps + 1 for name, steps in env_steps.items()}
        self._opened = set()

    def add(
        self,
        behaviour: str,
        metrics: Mapping[str, float],
        histograms: Mapping[str, Histogram] = NO_HISTOGRAMS,
        *,
        step: int,
        wall_time: float,
    ) -> None:
        """Add one value of each metric, and how those of others are distributed, at `step`."""
        file = self._file(behaviour, wall_time)
        file.add(metrics, histograms, step=step, wall_time=wall_time)

    def add_text(self, behaviour: str, tag: str, text: str, *, step: int, wall_time: float) -> None:
        """Add a text, in Markdown, which TensorBoard shows as `tag`."""
        self._file(behaviour, wall_time).add_text(tag, text, step=step, wall_time=wall_time)

    def flush(self) -> None:
        """Let readers see all that was added."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Close the files; a later `add` opens new ones."""
        for file in self._files.values():
            file.close()
        self._files = {}

    def _file(self, behaviour: str, wall_time: float) -> EventFile:
        file = self._files.get(behaviour)
        is_again = file is not None and file.is_lost
        if file is not None and not (is_again and self._clock() - self._tried_s >= RETRY_S):
            return file
        if file is not None:
            file.close()
        self._tried_s = self._clock()
        new = self._files[behaviour] = EventFile(
            self._folder_of(behaviour),
            wall_time=wall_time,
            purge_step=self._purge_step(behaviour),
            complains=not is_again,
        )
        self._opened.add(behaviour)
        if is_again and not new.is_lost:
            logger.info("TensorBoard events of '%s' are written again", behaviour)
        return new

    def _purge_step(self, behaviour: str) -> int | None:
        """Returns the step from which earlier events are void, once after a resume; or None."""
        if self._purge_steps is None or behaviour in self._opened:
            return None
        return self._purge_steps.get(behaviour, 0)
