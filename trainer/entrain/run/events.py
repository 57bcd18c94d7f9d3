"""Writes TensorBoard events in the caller's thread: no queue, no global state."""

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.histogram_pb2 import HistogramProto
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from entrain.serving.aggregates import Histogram

logger = logging.getLogger(__name__)


NO_HISTOGRAMS: Mapping[str, Histogram] = MappingProxyType({})


class EventFile:
    """One new event file, in a folder that may hold those of earlier sittings.

    If it cannot be written, that is logged once and later events are dropped: the run goes on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall_time: float,
        purge_step: int | None = None,
        complains: bool = True,
    ) -> None:
        """Begin a file.

        Args:
            folder: of one behaviour; TensorBoard shows it as one run.
            wall_time: seconds since 1970. It is part of the file's name, because TensorBoard reads
                the files of a folder in the order of their names.
            purge_step: TensorBoard drops events of earlier files from this step on.
            complains: whether it is logged if the file cannot be written.
        """
        self._folder = folder
        self._complains = complains
        self._path = _new_path(folder, wall_time)
        self._writer: RecordWriter | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = RecordWriter(self._path.open("xb"))
        except OSError as error:
            self._give_up(error)
        self._add(Event(wall_time=wall_time, file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._add(Event(wall_time=wall_time, step=purge_step, session_log=start))
        self.flush()

    def __repr__(self) -> str:
        return f"<EventFile in {self._folder}>"

    @property
    def is_lost(self) -> bool:
        """Whether events are dropped: the file could not be written, or was deleted."""
        return self._writer is None or not self._path.exists()

    def add(
        self,
        metrics: Mapping[str, float],
        histograms: Mapping[str, Histogram] = NO_HISTOGRAMS,
        *,
        step: int,
        wall_time: float,
    ) -> None:
        """Add one value of each metric, and how those of others are distributed, at `step`."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        values += [
            Summary.Value(tag=name, histo=_histogram(each)) for name, each in histograms.items()
        ]
        self._add(Event(wall_time=wall_time, step=step, summary=Summary(value=values)))

    def add_text(self, tag: str, text: str, *, step: int, wall_time: float) -> None:
        """Add a text, in Markdown, which TensorBoard shows as `tag`."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(
            dtype=DT_STRING,
            string_val=[text.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        value = Summary.Value(
            tag=f"{tag}/text_summary", metadata=SummaryMetadata(plugin_data=plugin), tensor=tensor
        )
        self._add(Event(wall_time=wall_time, step=step, summary=Summary(value=[value])))

    def flush(self) -> None:
        """Write what was added to the file, where TensorBoard can read it."""
        if self._writer is not None:
            try:
                self._writer.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Write the rest and close the file; further events are dropped."""
        if self._writer is not None:
            try:
                self._writer.close()
            except OSError as error:
                self._give_up(error)
            self._writer = None

    def _add(self, event: Event) -> None:
        if self._writer is not None:
            try:
                self._writer.write(event.SerializeToString())
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        if self._complains:
            logger.warning(
                "TensorBoard events in %s cannot be written (%s); metrics.csv has the same numbers",
                self._folder,
                error.strerror,
            )
        self._complains = False


def _histogram(histogram: Histogram) -> HistogramProto:
    return HistogramProto(
        min=histogram.least,
        max=histogram.most,
        num=histogram.count,
        sum=histogram.total,
        sum_squares=histogram.squares,
        bucket_limit=histogram.limits.tolist(),
        bucket=histogram.counts.tolist(),
    )


def _new_path(folder: Path, wall_time: float) -> Path:
    """Returns a new name that sorts after those of the files in `folder`.

    The clock may have been set back since they were made.
    """
    before = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*.*")]
    newest = max((int(each) for each in before if each.isdecimal()), default=0)
    moment = max(int(wall_time), newest + 1)
    name = f"events.out.tfevents.{moment:010d}.{socket.gethostname()}.{os.getpid()}.{len(before)}"
    return folder / name
