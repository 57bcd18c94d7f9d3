"""Where a command logs to, and in which form; its last word, if an error ends it."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from entrain.errors import EntrainError
from entrain.run.json_lines import JsonFormatter, fields, is_json_logged
from entrain.run.log_lines import LineFormatter

logger = logging.getLogger(__name__)

_PACKAGES = ("entrain", "entrain_envs")


def print_error(error: EntrainError) -> None:
    """Say on stderr why the command ends: its notes, if it has any, and then the error in one line.

    The last line is what others quote: a service that started the command, or `entrain serve`.
    """
    notes = getattr(error, "__notes__", [])
    if is_json_logged():
        further = {"notes": notes} if notes else {}
        logger.error("%s", error, extra=fields(exit_code=error.exit_code, **further))
    else:
        for note in notes:
            print(f"also: {note}", file=sys.stderr)  # noqa: T201 - as below
        print(f"entrain: {error}", file=sys.stderr)  # noqa: T201 - it is the command's last word


def print_interruption() -> None:
    """Say on stderr that a signal ended the command, which had nothing to save."""
    if is_json_logged():
        logger.info("interrupted")
    else:
        print("entrain: interrupted", file=sys.stderr)  # noqa: T201 - it is the command's last word


def start_logging(*, verbose: bool, log_format: str = "text") -> None:
    """Log to stderr, one line for each event; results go to stdout.

    A person at a terminal sees when a line comes; who reads a file or a container's log does not.
    """
    handler = logging.StreamHandler()
    with_time = verbose or not handler.stream.isatty()
    handler.setFormatter(
        JsonFormatter() if log_format == "json" else LineFormatter(with_time=with_time)
    )
    logging.getLogger().addHandler(handler)
    _set_level(logging.DEBUG if verbose else logging.INFO)


@contextmanager
def logging_in_a_program(*, shown: bool) -> Iterator[None]:
    """Within the block, a run's log file gets all that a command's does, whatever the program logs.

    Args:
        shown: whether the program's handlers get it too, or stderr if it has none. Else they get
            what they would have got before the block.
    """
    root, packages = logging.getLogger(), [logging.getLogger(name) for name in _PACKAGES]
    handlers, levels = root.handlers[:], [logger.level for logger in packages]
    quiet = _AsBefore(
        dict(zip(_PACKAGES, (it.getEffectiveLevel() for it in packages), strict=True))
    )
    if shown and not handlers:
        start_logging(verbose=False)
    for logger, level in zip(packages, levels, strict=True):
        logger.setLevel(min(level or logging.INFO, logging.INFO))
    for handler in () if shown else handlers:
        handler.addFilter(quiet)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(quiet)
        root.handlers[:] = handlers
        for logger, level in zip(packages, levels, strict=True):
            logger.setLevel(level)


class _AsBefore(logging.Filter):
    """Keeps records back that packages did not log before their levels were changed."""

    def __init__(self, levels: Mapping[str, int]) -> None:
        super().__init__()
        self._levels = levels

    def filter(self, record: logging.LogRecord) -> bool:
        """True if the record is to be written."""
        return record.levelno >= self._levels.get(record.name.partition(".")[0], 0)


def quieten(rank: int, *, is_first_here: bool) -> None:
    """Log to stderr as rank `rank` of a run that another rank shows.

    Of the ranks on one machine, only the first says what is no warning; log.txt has all of it.
    """
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            if not is_first_here:
                handler.setLevel(logging.WARNING)
            if isinstance(handler.formatter, LineFormatter):
                handler.setFormatter(_OfRank(handler.formatter, rank))


class _OfRank(logging.Formatter):
    """Lines that say which rank they are of."""

    def __init__(self, inner: logging.Formatter, rank: int) -> None:
        super().__init__()
        self._inner = inner
        self._rank = rank

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return f"[rank {self._rank}] {self._inner.format(record)}"


def log_every_detail() -> None:
    """Log more from here on, as a file of settings may ask for."""
    _set_level(logging.DEBUG)


def _set_level(level: int) -> None:
    for package in _PACKAGES:
        logging.getLogger(package).setLevel(level)
