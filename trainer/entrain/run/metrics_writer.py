"""Writes metrics of updates and evaluations to two files: metrics.csv and TensorBoard events.

What the names mean is declared in `entrain.metrics`; this module only writes them.
"""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Self

from entrain.metrics import STATISTICS, require_declared
from entrain.run.event_files import EventFiles
from entrain.run.folder import RunFolder
from entrain.run.losses import Losses
from entrain.run.table import MetricsTable
from entrain.serving.aggregates import Summary

NO_STATISTICS: Mapping[str, Summary] = MappingProxyType({})


class MetricsWriter:
    """Writes the metrics of all behaviours of one run.

    Owned by one process, the holder of the run's lock. Errors of the disk are logged and never
    raised: a run goes on without its curves.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        clock: Callable[[], float] = time.time,
        retry_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Append to the files in `folder`.

        Args:
            folder: of the run.
            clock: seconds since 1970.
            retry_clock: seconds, by a clock that is never set back.
        """
        self._folder = folder
        self._table = MetricsTable(folder.metrics)
        self._clock = clock
        self._events = EventFiles(folder.events, clock=retry_clock)

    def __repr__(self) -> str:
        return f"<MetricsWriter {self._table}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def resume_at(self, env_steps: Mapping[str, int]) -> Losses:
        """Remove what was measured after the checkpoint that the run goes on from.

        Args:
            env_steps: of each behaviour in the checkpoint; any other behaviour begins anew.

        Returns:
            What is lost.
        """
        self._events.resume_at(env_steps)
        return Losses.of_rows(self._table.drop_rows_beyond(env_steps), env_steps)

    def write(
        self,
        behaviour: str,
        env_steps: int,
        metrics: Mapping[str, float],
        statistics: Mapping[str, Summary] = NO_STATISTICS,
    ) -> None:
        """Write the metrics of one update, at `env_steps` of that behaviour.

        They are on the disk on return. What simulators reported is called STATISTICS and its name.

        Raises:
            ValueError: one of the names is not declared in `entrain.metrics`; nothing is written.
        """
        require_declared(metrics)
        wall_time = self._clock()
        reported = {f"{STATISTICS}{name}": each for name, each in statistics.items()}
        row = {**metrics, **{name: each.value for name, each in reported.items()}}
        self._table.append(behaviour, env_steps=env_steps, wall_time=wall_time, metrics=row)
        histograms = {
            name: each.histogram for name, each in reported.items() if each.histogram is not None
        }
        scalars = {name: value for name, value in row.items() if name not in histograms}
        self._events.add(behaviour, scalars, histograms, step=env_steps, wall_time=wall_time)
        self.flush()

    def write_evaluation(
        self, behaviour: str, env_steps: int, metrics: Mapping[str, float], *, evaluated_at: int
    ) -> None:
        """Write the metrics of an evaluation that is over at `env_steps` of that behaviour.

        Args:
            behaviour: its name.
            env_steps: of its policy now: rows are in the order in which they were measured.
            metrics: by standard name.
            evaluated_at: env steps when the weights were taken, where TensorBoard shows them.

        Raises:
            ValueError: as of `write`.
        """
        require_declared(metrics)
        wall_time = self._clock()
        self._table.append(behaviour, env_steps=env_steps, wall_time=wall_time, metrics=metrics)
        self._events.add(behaviour, metrics, {}, step=evaluated_at, wall_time=wall_time)
        self.flush()

    def flush(self) -> None:
        """Let readers see all that was written."""
        self._table.flush()
        self._events.flush()

    def close(self) -> None:
        """Flush, and close the files; a later `write` opens new ones."""
        self._table.flush()
        self._events.close()
