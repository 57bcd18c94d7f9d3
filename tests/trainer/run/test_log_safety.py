"""What a simulator says about itself ends up in the log; it must not take the log over."""

import logging

import pytest

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
