"""Formats log records as lines: `WARN  walker-sim left without goodbye: 64 slots released`."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from entrain.quoting import shortened
from entrain_envs import log_lines

MOST_LINE = 10_000
"""Most characters of one record."""

MOST_LOG_BYTES = 16 * 2**20
"""Size of log.txt from which on it is moved aside."""

OLD_LOGS = 3
"""Number of files moved aside that are kept."""


class LineFormatter(log_lines.LineFormatter):
    """Also shortens lines, and escapes control characters."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Returns the line without a traceback."""
        record.message = escape_control_chars(shortened(record.message, MOST_LINE))
        return super().formatMessage(record)


def escape_control_chars(text: str) -> str:
    """Returns `text`, a part of which may come from a simulator, in a form that is safe to log.

    All lines but the first are indented, so that none looks like another record. Other control
    characters, which a terminal might obey, are written as escapes.
    """
    if text.isprintable():
        return text
    lines = ("".join(map(_escaped, line)) for line in text.split("\n"))
    return "\n      ".join(lines)


def _escaped(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


class LogFile(RotatingFileHandler):
    """A log file that is made anew if it was deleted. Logging to it never raises.

    While it cannot be written (the disk is full), lines are left out; that is said once on stderr,
    and in the file as soon as there is room again.
    """

    _left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        before = self._left_out
        self._close_if_deleted()
        super().emit(record)
        if before and self._left_out == before:
            self._left_out = 0
            again = f"this file can be written again; lines that are left out: {before}"
            super().emit(logging.makeLogRecord({"msg": again, "levelname": "WARNING"}))

    def close(self) -> None:
        """Close the file. Lines that it has not taken by now are left out."""
        with contextlib.suppress(OSError):
            super().close()

    def _close_if_deleted(self) -> None:
        """Close the file if it is not at its path any more, so that the next line makes it anew."""
        if self.stream is None:
            return
        try:
            there, here = os.stat(self.baseFilename), os.fstat(self.stream.fileno())  # noqa: PTH116
            is_there = os.path.samestat(there, here)
        except OSError:
            is_there = False
        if not is_there:
            self._close_stream()

    def _close_stream(self) -> None:
        """Close the file until the next line. Nothing waits for it in buffers."""
        if self.stream is not None:
            with contextlib.suppress(OSError):
                self.stream.close()
            self.stream = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's
        """Count the record; say the first time why it is left out."""
        error = sys.exception()
        if not self._left_out and sys.stderr is not None:
            print(f"WARN  {self.baseFilename} cannot be written: {error}", file=sys.stderr)  # noqa: T201
        self._left_out += 1
        self._close_stream()


@contextmanager
def logging_to(path: Path, logger: logging.Logger | None = None) -> Iterator[None]:
    """Within the block, also append everything that is logged to the file at `path`, with times.

    A full file becomes log.txt.1, the one before log.txt.2, and so on: a long run must not fill
    the disk.
    """
    target = logging.getLogger() if logger is None else logger
    handler = LogFile(
        path,
        maxBytes=MOST_LOG_BYTES,
        backupCount=OLD_LOGS,
        encoding="utf-8",
        errors="backslashreplace",
    )
    handler.setFormatter(LineFormatter(with_time=True))
    target.addHandler(handler)
    try:
        yield
    finally:
        target.removeHandler(handler)
        handler.close()
