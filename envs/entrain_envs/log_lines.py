"""Formats log records as lines: `2026-10-31T13:03:22.123Z WARN  game-0: the game vanished`."""

import logging
from datetime import UTC, datetime

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}


def utc(seconds: float) -> str:
    """Returns seconds since 1970 as `2026-10-31T13:03:22.123Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def level_word(record: logging.LogRecord) -> str:
    """Returns INFO, WARN, ERROR or DEBUG."""
    return _LEVELS.get(record.levelname, record.levelname)


class LineFormatter(logging.Formatter):
    """One line a record: level, then text; below it the traceback, if there is one."""

    def __init__(self, *, with_time: bool = False) -> None:
        """Write lines, which begin with the time if `with_time`."""
        super().__init__(
            "%(asctime)s %(word)-5s %(message)s" if with_time else "%(word)-5s %(message)s"
        )

    def formatTime(  # noqa: N802 - logging's name
        self,
        record: logging.LogRecord,
        datefmt: str | None = None,  # noqa: ARG002 - logging's signature
    ) -> str:
        """Returns `2026-10-31T13:03:22.123Z`, so that lines of several machines can be sorted."""
        return utc(record.created)

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of one record."""
        record.word = level_word(record)
        return super().format(record)


def log_to_stderr() -> None:
    """Log from INFO on, with times unless a person at a terminal sees when a line comes."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(with_time=not handler.stream.isatty()))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
