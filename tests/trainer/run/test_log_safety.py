"""What a simulator says about itself ends up in the log; it must not take the log over."""

import logging
from pathlib import Path

import pytest

from entrain.run import log_lines
from entrain.run.log_lines import LineFormatter, escape_control_chars


def line(message: str, *arguments: object) -> str:
    record = logging.LogRecord("entrain", logging.INFO, __file__, 1, message, arguments, None)
    return LineFormatter().format(record)


def test_ordinary_words_of_any_language_stay_as_they_are() -> None:
    assert line("%s joined: %d agents", "läufer-走る@10.0.0.7", 64) == (
        "INFO  läufer-走る@10.0.0.7 joined: 64 agents"
    )


def test_a_line_break_never_begins_an_event() -> None:
    said = "bye\nWARN  everybody left\rINFO  saved"
    assert line("walker left (%s)", said).splitlines() == [
        "INFO  walker left (bye",
        "      WARN  everybody left\\rINFO  saved)",
    ]


@pytest.mark.parametrize(
    "control", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\x08", "\u202e", "\x00"]
)
def test_a_terminal_is_never_talked_to(control: str) -> None:
    shown = escape_control_chars(f"a{control}b")
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("bad\nworse")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("entrain", logging.ERROR, __file__, 1, "failed", (), info)
    lines = LineFormatter().format(record).splitlines()
    assert lines[:2] == ["ERROR failed", "Traceback (most recent call last):"]


def test_a_line_is_not_as_long_as_what_a_stranger_sends() -> None:
    assert len(line("walker left (%s)", "x" * 10**6)) < 11_000


def test_the_log_is_moved_aside_when_it_is_full_and_never_fills_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "MOST_LOG_BYTES", 2000)
    own = logging.getLogger("test of a full log")
    with log_lines.logging_to(tmp_path / "log.txt", own):
        for number in range(1000):
            own.warning("line %d", number)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["log.txt", "log.txt.1", "log.txt.2", "log.txt.3"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert (tmp_path / "log.txt").read_text().endswith("line 999\n")
