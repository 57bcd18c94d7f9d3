"""What each command hands over: its file, --set, shortcuts and options."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from entrain.app.evaluation_options import EvaluationOptions, PlayOptions
from entrain.cli import main
from entrain.config.run import RunConfig
from support.fake_commands import FakeCommands

pytestmark = pytest.mark.usefixtures("logging_as_before")


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
    ("options", "output", "form", "checkpoint"),
    [
        ([], None, "onnx", "newest"),
        (["--output", "here"], Path("here"), "onnx", "newest"),
        (["--format", "unity"], None, "unity", "newest"),
        (["--format", "json", "--checkpoint", "best"], None, "json", "best"),
    ],
)
def test_export_hands_over_where_to_for_whom_and_which(
    commands: FakeCommands, options: list[str], output: Path | None, form: str, checkpoint: str
) -> None:
    assert main(["export", "runs/walk", *options]) == 0
    assert commands.calls == [("export", Path("runs/walk"), output, form, checkpoint)]
