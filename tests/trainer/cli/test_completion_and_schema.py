"""What commands print for other programs: completions for a shell, schema and reference."""

import json
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.config import reference
from entrain.config.load import json_schema

pytestmark = pytest.mark.usefixtures("logging_as_before")


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
