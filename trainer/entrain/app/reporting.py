"""Tells people how a run goes: metrics in its files, the display, warnings in the log."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Self

from entrain.app.build import expected_simulators
from entrain.app.episode_watch import EpisodeWatch
from entrain.config.run import RunConfig
from entrain.metrics import SECONDS
from entrain.run.display import Display, DisplayRow, SimulatorsRow
from entrain.run.episode_table import EpisodeTable
from entrain.run.folder import RunFolder
from entrain.run.metrics_writer import MetricsWriter
from entrain.serving.participants import Participants
from entrain.stopwatch import Shares
from entrain.trainer import Update

logger = logging.getLogger(__name__)


class Reporting:
    """Writes and shows what a run measures. Owned by the event loop; open while the run is."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, display: Display, participants: Participants
    ) -> None:
        """Report nothing yet.

        Args:
            config: of the run.
            folder: holds the files of metrics.
            display: shows how the run goes.
            participants: counts simulators, agents and the time spent on their messages.
        """
        self._config = config
        self._display = display
        self._participants = participants
        self._metrics = MetricsWriter(folder)
        self._episodes = EpisodeTable(folder.episodes, max_bytes=int(config.episodes_mib * 2**20))
        self._messages = Shares()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._metrics.close()
        self._episodes.flush()

    def resume_at(self, env_steps: Mapping[str, int], episodes: Mapping[str, int]) -> None:
        """Remove what was measured after these env steps and episodes of each behaviour."""
        self._metrics.resume_at(env_steps)
        self._episodes.drop_rows_beyond(episodes)

    def watch(self, behaviour: str) -> EpisodeWatch:
        """Returns what writes the episodes of `behaviour`."""
        return EpisodeWatch(behaviour, self._participants, self._episodes)

    def write_episodes(self) -> None:
        """Write the episodes that are over: before a checkpoint that counts them, and often."""
        self._episodes.flush()

    def record(self, update: Update, *, seconds: float) -> None:
        """Write the metrics of one update, show them and log its warnings.

        Args:
            update: of one policy.
            seconds: wall-clock time of the run.
        """
        messages = self._messages.since_last(asdict(self._participants.timings), now_s=seconds)
        metrics = {**update.metrics, **messages, SECONDS.name: seconds}
        progress = update.progress
        self._metrics.write(update.behaviour, progress.env_steps, metrics)
        row = DisplayRow.from_metrics(
            metrics,
            update=progress.updates,
            env_steps=progress.env_steps,
            total_steps=update.total_steps,
        )
        self._display.update(update.behaviour, row)
        for warning in update.warnings:
            logger.warning("policy '%s', %s", update.behaviour, warning)

    def show(self, address: str, env_steps: Mapping[str, int]) -> None:
        """Show who is connected to `address`, and the env steps of each behaviour so far."""
        self.write_episodes()
        row = SimulatorsRow(
            address=address,
            connected=self._participants.num_running,
            expected=expected_simulators(self._config),
            agents=self._participants.num_agents,
        )
        self._display.serving(row, {**dict.fromkeys(self._config.named_behaviours, 0), **env_steps})
