"""How commands end: their exit codes, and one line for what is raised on purpose."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entrain.cli import main
from entrain.errors import (
    CheckpointError,
    ConfigError,
    EntrainError,
    MissingExtraError,
    NoSimulatorError,
    ServeError,
)
from support.fake_commands import FakeCommands

pytestmark = pytest.mark.usefixtures("logging_as_before")


@pytest.mark.parametrize("code", [0, 1, 130])
def test_a_command_ends_with_the_code_that_it_returns(commands: FakeCommands, code: int) -> None:
    commands.answer = code
    assert main(["train"]) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no such thing"), 2),
        (CheckpointError("damaged"), 3),
        (ServeError("port 50051 is in use"), 4),
        (NoSimulatorError("nobody came"), 5),
        (MissingExtraError("pip install 'entrain-rl[export]'"), 2),
    ],
)
def test_what_is_raised_on_purpose_is_one_line_and_its_code(
    commands: FakeCommands, capsys: pytest.CaptureFixture[str], error: EntrainError, code: int
) -> None:
    commands.answer = error
    assert main(["resume", "runs/walk"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"entrain: {error}\n")


def test_a_mistake_of_ours_shows_its_traceback_and_asks_for_a_report(
    commands: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    commands.answer = ZeroDivisionError("division by zero")
    assert main(["train"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ZeroDivisionError: division by zero" in err
    assert err.splitlines()[-1].startswith("entrain: this is a bug in entrain")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), signal.SIGTERM], ids=repr)
def test_an_interrupt_before_training_begins_ends_with_130(
    interrupt: BaseException | signal.Signals,
    commands: FakeCommands,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    commands.answer = interrupt
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "entrain: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_mistake_in_the_settings_starts_nothing(
    commands: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--set", "policies.walker.algorithm.clip_rnage=0.1"]) == 2
    assert commands.calls == []
    assert capsys.readouterr().err == (
        "entrain: --set policies.walker.algorithm.clip_rnage=0.1: policies.walker.algorithm has "
        "no option 'clip_rnage'; did you mean 'clip_range'?\n"
    )


def test_a_closed_pipe_is_no_mistake_of_ours() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "entrain", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_watching_ends_with_the_exit_code_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []
    answer: list[int | BaseException] = [3, KeyboardInterrupt()]

    def watch(run: Path, *, write: Any, **options: Any) -> int:
        asked.append((run, options["as_json"], options["linger_s"]))
        write("walk: failed")
        result = answer.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr("entrain.app.watch.watch", watch)
    assert main(["watch", str(tmp_path), "--linger", "0", "--json"]) == 3
    # Whoever looks no more does not stop the run.
    assert main(["watch", str(tmp_path)]) == 0
    assert asked == [(tmp_path, True, 0.0), (tmp_path, False, 5.0)]
    assert capsys.readouterr().out == "walk: failed\n" * 2
