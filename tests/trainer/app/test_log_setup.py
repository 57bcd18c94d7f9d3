"""What a rank says of itself on stderr, and the last word of a command."""

import json
import logging

import pytest

from entrain.app.log_setup import (
    logging_in_a_program,
    print_error,
    print_interruption,
    quieten,
    start_logging,
)
from entrain.errors import ConfigError


@pytest.fixture
def own_handlers(logging_as_before: None) -> logging.Logger:
    """The root logger with only the handlers that a test adds."""
    root = logging.getLogger()
    root.handlers[:] = []
    return root


def test_of_the_ranks_of_a_machine_one_says_all_and_the_others_only_warnings(
    own_handlers: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    said = logging.getLogger("entrain.app.test")
    start_logging(verbose=False)
    quieten(2, is_first_here=True)
    said.info("in turn %d", 1)
    first = capsys.readouterr().err
    assert first.startswith("[rank 2] ")
    assert first.endswith("in turn 1\n")
    own_handlers.handlers[:] = []
    start_logging(verbose=False)
    quieten(3, is_first_here=False)
    said.info("in turn 2")
    said.warning("alarm")
    other = capsys.readouterr().err
    assert other.startswith("[rank 3] ")
    assert "turn" not in other
    assert "alarm" in other


def test_the_last_word_is_a_line_or_an_object(
    own_handlers: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(ConfigError("no such option"))
    print_interruption()
    assert capsys.readouterr().err == "entrain: no such option\nentrain: interrupted\n"
    start_logging(verbose=False, log_format="json")
    print_error(ConfigError("no such option"))
    print_interruption()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["message"] == "no such option"
    assert lines[0]["exit_code"] == ConfigError.exit_code
    assert lines[1]["message"] == "interrupted"


def test_notes_of_an_error_come_before_its_last_word(
    own_handlers: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ConfigError("no such option (and 1 more mistake)")
    error.add_note("no such name")
    print_error(error)
    said = capsys.readouterr().err
    assert said == "also: no such name\nentrain: no such option (and 1 more mistake)\n"
    start_logging(verbose=False, log_format="json")
    print_error(error)
    assert json.loads(capsys.readouterr().err)["notes"] == ["no such name"]


def test_a_program_that_logs_nowhere_is_shown_lines_as_long_as_they_are_wanted(
    own_handlers: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    own_handlers.handlers[:] = []  # pytest's own
    said, package = logging.getLogger("entrain.app.test"), logging.getLogger("entrain")
    package.setLevel(logging.NOTSET)
    with logging_in_a_program(shown=True):
        said.info("shown")
    said.info("not any more")
    assert own_handlers.handlers == []
    assert package.level == logging.NOTSET
    told = capsys.readouterr().err
    assert "shown" in told
    assert "not any more" not in told


@pytest.mark.parametrize(("shown", "expected"), [(True, ["all", "bad"]), (False, ["bad"])])
def test_handlers_of_a_program_get_more_only_if_they_are_to(
    own_handlers: logging.Logger, shown: bool, expected: list[str]
) -> None:
    class Kept(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(record.getMessage())

    own, file = Kept(), Kept()
    own_handlers.handlers[:] = [own]
    logging.getLogger("entrain").setLevel(logging.WARNING)
    with logging_in_a_program(shown=shown):
        own_handlers.addHandler(file)  # as a run does
        said = logging.getLogger("entrain.app.test")
        said.info("all")
        said.error("bad")
        own_handlers.removeHandler(file)
    assert own.lines == expected
    assert file.lines == ["all", "bad"]
    assert own.filters == []
