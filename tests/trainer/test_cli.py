"""The commands: what each calls, what it ends with, and what a person reads."""

import io
import json
import logging
import re
import signal
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import entrain.app
from entrain.app.evaluation_options import EvaluationOptions, PlayOptions
from entrain.cli import main
from entrain.config import reference
from entrain.config.load import json_schema
from entrain.config.run import RunConfig
from entrain.errors import (
    CheckpointError,
    ConfigError,
    EntrainError,
    MissingExtraError,
    NoSimulatorError,
    ServeError,
)

pytestmark = pytest.mark.usefixtures("logging_as_before")


class FakeCommands(types.ModuleType):
    """Stands in for `entrain.app.commands`: remembers its calls, and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__("entrain.app.commands")
        self.calls: list[tuple[Any, ...]] = []
        self.answer: int | BaseException | signal.Signals = 0

    def train(self, config: RunConfig, *, resume_or_start: bool, listening: Sequence[str]) -> int:
        more = ["resume", list(listening)] if resume_or_start else []
        return self._called("train", config, *more)

    def resume(self, run: Path, overrides: list[str]) -> int:
        return self._called("resume", run, overrides)

    def evaluate(
        self,
        run: Path,
        overrides: list[str],
        options: EvaluationOptions,
        *,
        table: Path | None,
        as_json: bool,
        address: str | None,
    ) -> int:
        return self._called("evaluate", run, overrides, options, table, as_json, address)

    def export(self, run: Path, output: Path | None, *, form: str) -> int:
        return self._called("export", run, output, form)

    def _called(self, *call: Any) -> int:
        self.calls.append(call)
        if isinstance(self.answer, signal.Signals):
            signal.raise_signal(self.answer)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> FakeCommands:
    commands = FakeCommands()
    monkeypatch.setitem(sys.modules, "entrain.app.commands", commands)
    monkeypatch.setattr(entrain.app, "commands", commands, raising=False)
    return commands


# Answering at once


def test_help_answers_at_once_and_never_imports_torch() -> None:
    # In units of what the machine, as busy as it is, takes for a million turns of an empty loop:
    # help takes about 7 of them, torch's import alone 50.
    script = (
        "import sys, time\n"
        "began = time.process_time()\n"
        "for _ in range(1_000_000): pass\n"
        "unit = time.process_time() - began\n"
        "began = time.process_time()\n"
        "from entrain.cli import main\n"
        "assert main(['train', '--help']) == 0 and main(['--help']) == 0\n"
        "heavy = {'torch', 'grpc', 'numpy', 'matplotlib', 'yaml'} & sys.modules.keys()\n"
        "units = (time.process_time() - began) / unit\n"
        "print(json.dumps([sorted(heavy), units]), file=sys.stderr)\n"
    )
    durations = []
    for _ in range(3):  # the first may find nothing of it in the cache of the disk
        done = subprocess.run(
            [sys.executable, "-c", f"import json\n{script}"], check=True, capture_output=True
        )
        heavy, units = json.loads(done.stderr)
        assert heavy == []
        durations.append(units)
    assert min(durations) < 12


def test_a_mistake_in_the_settings_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from entrain.cli import main\n"
        "assert main(['train', '--set', 'nmae=x']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_help_tells_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    told = {int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()}
    kinds = EntrainError.__subclasses__()
    assert told == {0, 1, 130, *(kind.exit_code for kind in kinds)}


@pytest.mark.parametrize(
    "command",
    ["list", "train", "resume", "evaluate", "play", "export", "info", "schema", "serve", "version"],
)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"entrain {command}" in capsys.readouterr().out


def test_a_misspelt_command_is_answered_with_the_closest_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["trian"]) == 2
    assert "train" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_that_of_the_package(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"entrain {entrain.__version__}\n"


def test_the_package_says_the_version_that_it_is_built_as() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{entrain.__version__}"\n' in project
    assert entrain.__all__ == ["__version__"]


# Commands and what they call


def test_train_reads_the_file_then_set_then_the_shortcuts(
    tmp_path: Path, commands: FakeCommands
) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text("name: walk\nseed: 5\nthreads: 3\n", encoding="utf-8")
    code = main(
        [
            *("train", str(path), "--set", "seed=7", "--set", "name=other", "--name", "best"),
            *("--address", "[::1]:0", "--runs-directory", str(tmp_path / "my runs")),
        ]
    )
    assert code == 0
    [(command, config)] = commands.calls
    assert command == "train"
    assert (config.name, config.seed, config.threads) == ("best", 7, 3)
    assert config.server.address == "[::1]:0"
    assert config.runs_directory == tmp_path / "my runs"


def test_every_command_with_set_reads_the_environment_before_it(
    tmp_path: Path, commands: FakeCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN__SEED", "7")
    monkeypatch.setenv("ENTRAIN__THREADS", "3")
    assert main(["train", "--set", "threads=2"]) == 0
    assert main(["resume", str(tmp_path), "--set", "threads=2"]) == 0
    assert main(["evaluate", str(tmp_path), "--set", "threads=2"]) == 0
    [(_, config), (_, _, of_resume), (_, _, of_evaluate, *_)] = commands.calls
    assert (config.seed, config.threads) == (7, 2)
    expected = ["ENTRAIN__SEED=7", "ENTRAIN__THREADS=3", "threads=2"]
    assert of_resume == of_evaluate == expected
    monkeypatch.setenv("ENTRAIN__SEDE", "7")
    assert main(["train"]) == 2


def test_train_without_a_file_takes_the_defaults(commands: FakeCommands) -> None:
    assert main(["train"]) == 0
    assert commands.calls == [("train", RunConfig())]


def test_insecure_has_to_be_typed_out(commands: FakeCommands) -> None:
    main(["train", "--address", "0.0.0.0:50051"])
    main(["train", "--address", "0.0.0.0:50051", "--insecure"])
    assert [config.server.insecure for _, config in commands.calls] == [False, True]


def test_a_name_that_looks_like_a_number_stays_a_name(commands: FakeCommands) -> None:
    assert main(["train", "--name", "007"]) == 0
    assert commands.calls[0][1].name == "007"


def test_an_empty_name_is_refused_and_not_passed_over(commands: FakeCommands) -> None:
    assert main(["train", "--name", ""]) == 2
    assert commands.calls == []


def test_resume_hands_over_run_and_settings(commands: FakeCommands) -> None:
    assert main(["resume", "runs/walk", "--set", "policies.*.total_steps=9"]) == 0
    assert commands.calls == [("resume", Path("runs/walk"), ["policies.*.total_steps=9"])]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ([], EvaluationOptions(), None, False, None)),
        (
            ["--sample", "--episodes", "3"],
            ([], EvaluationOptions(episodes=3, deterministic=False), None, False, None),
        ),
        (
            ["--deterministic", "--set", "threads=2", "--address", "unix:s"],
            (["threads=2"], EvaluationOptions(), None, False, "unix:s"),
        ),
        (
            ["--max-steps", "9", "--max-seconds", "2.5", "--json", "--csv", "it.csv"],
            ([], EvaluationOptions(max_steps=9, max_seconds=2.5), Path("it.csv"), True, None),
        ),
    ],
)
def test_evaluate_hands_over_how_to_act_and_when_to_end(
    commands: FakeCommands, arguments: list[str], expected: tuple[Any, ...]
) -> None:
    assert main(["evaluate", "runs/walk", *arguments]) == 0
    assert commands.calls == [("evaluate", Path("runs/walk"), *expected)]


def test_play_hands_over_what_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    playing = types.ModuleType("entrain.app.playing")

    def play(*arguments: Any, address: str | None) -> int:
        calls.append((*arguments, address))
        return 0

    monkeypatch.setattr(playing, "play", play, raising=False)
    monkeypatch.setitem(sys.modules, "entrain.app.playing", playing)
    monkeypatch.setattr("entrain.app.playing", playing, raising=False)
    assert main(["play", "runs/walk"]) == 0
    look = ["--record", "a.gif", "--untrained", "--fps", "9", "--launch", "game"]
    act = ["--sample", "--episodes", "2", "--behaviour", "walker", "--max-steps", "7"]
    assert main(["play", "runs/walk", *look, *act, "--address", "unix:s", "--set", "seed=5"]) == 0
    assert calls == [
        (Path("runs/walk"), [], EvaluationOptions(episodes=1), PlayOptions(), None),
        (
            Path("runs/walk"),
            ["seed=5"],
            EvaluationOptions(episodes=2, deterministic=False, max_steps=7, behaviour="walker"),
            PlayOptions(record=Path("a.gif"), speed=9.0, untrained=True, launch="game"),
            "unix:s",
        ),
    ]


def test_evaluating_no_episode_is_refused(
    commands: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "runs/walk", "--episodes", "0"]) == 2
    assert commands.calls == []


@pytest.mark.parametrize(
    ("options", "output", "form"),
    [
        ([], None, "onnx"),
        (["--output", "here"], Path("here"), "onnx"),
        (["--format", "unity"], None, "unity"),
        (["--format", "json"], None, "json"),
    ],
)
def test_export_hands_over_where_to_and_for_whom(
    commands: FakeCommands, options: list[str], output: Path | None, form: str
) -> None:
    assert main(["export", "runs/walk", *options]) == 0
    assert commands.calls == [("export", Path("runs/walk"), output, form)]


# Ends


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


# What is printed


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


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("entrain res", ["resume"]),
        (
            "entrain ",
            [
                "train",
                "resume",
                "evaluate",
                "export",
                "info",
                "schema",
                "metrics",
                "version",
            ],
        ),
        ("entrain resume ", ["runs/ball", "runs/walk"]),
        ("entrain evaluate runs/w", ["runs/walk"]),
        ("entrain export oth", ["other/"]),
        ("entrain info other/", ["other/deep"]),
    ],
)
def test_a_shell_completes_commands_and_the_folders_of_runs(
    words: str,
    completed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for run in ("runs/walk", "runs/ball", "other/deep"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "config.yaml").touch()
    (tmp_path / "runs" / "no-run").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_ENTRAIN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    assert main([]) == 0
    offered = capsys.readouterr().out.split()
    assert set(completed) <= set(offered)
    assert len(completed) > 2 or offered == completed


def test_the_script_that_a_shell_completes_with_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert main(["--show-completion", "bash"]) == 0
    assert "_ENTRAIN_COMPLETE=complete_bash" in capsys.readouterr().out


def test_verbose_logs_details(commands: FakeCommands, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--verbose"])
    logging.getLogger("entrain.native").debug("a detail")
    assert capsys.readouterr().err.endswith("DEBUG a detail\n")


def test_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_schema_and_reference_are_written_to_a_file(tmp_path: Path) -> None:
    assert main(["schema", "--output", str(tmp_path / "entrain.schema.json")]) == 0
    written = (tmp_path / "entrain.schema.json").read_bytes()
    assert json.loads(written) == json_schema()
    assert written.endswith(b"}\n")
    assert main(["schema", "--markdown", "-o", str(tmp_path / "configuration.md")]) == 0
    assert (tmp_path / "configuration.md").read_text("utf-8") == reference.markdown()


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"entrain: cannot write {tmp_path}: ")


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


def test_python_m_entrain_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entrain", "version"], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == f"entrain {entrain.__version__}"


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
