"""Lines for people and for programs: where commands log, and consoles that lack characters."""

import io
import json
import logging
import re
import sys
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.errors import (
    CheckpointError,
)
from support.fake_commands import FakeCommands

pytestmark = pytest.mark.usefixtures("logging_as_before")


def test_events_are_logged_to_stderr_one_line_each(
    commands: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["train"])
    logging.getLogger("entrain.native").info("listening on localhost:50051")
    logging.getLogger("entrain.native").debug("a detail")
    logging.getLogger("other").info("not ours")
    logging.getLogger("other").warning("look here")
    out, err = capsys.readouterr()
    assert out == ""
    # With the time: stderr is no terminal here.
    assert [line.partition(" ")[2] for line in err.splitlines()] == [
        "INFO  listening on localhost:50051",
        "WARN  look here",
    ]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", err)


def test_a_terminal_gets_lines_without_times(
    commands: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    main(["train"])
    logging.getLogger("entrain.native").info("listening")
    assert terminal.getvalue() == "INFO  listening\n"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_for_programs_every_line_is_a_json_object_also_an_errors(
    how: str,
    commands: FakeCommands,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands.answer = CheckpointError("damaged")
    if how == "environment":
        monkeypatch.setenv("ENTRAIN_LOG_FORMAT", "json")
    assert main(["resume", "runs/x", *(["--log-format", "json"] if how == "option" else [])]) == 3
    out, err = capsys.readouterr()
    told = json.loads(err)
    assert out == ""
    assert (told["level"], told["message"], told["exit_code"]) == ("ERROR", "damaged", 3)


def test_verbose_logs_details(commands: FakeCommands, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--verbose"])
    logging.getLogger("entrain.native").debug("a detail")
    assert capsys.readouterr().err.endswith("DEBUG a detail\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_a_console_that_lacks_a_character_never_ends_the_program(
    tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "läuft-走る"
    run.mkdir()
    (run / "config.yaml").write_text("name: run\n", encoding="utf-8")
    for arguments, code in ((["--help"], 0), (["info", str(run)], 0), (["train", f"{run}人"], 2)):
        printed = [io.TextIOWrapper(io.BytesIO(), encoding, "strict") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", printed[0])
        monkeypatch.setattr(sys, "stderr", printed[1])
        assert main(arguments) == code
        for stream in printed:
            stream.flush()
