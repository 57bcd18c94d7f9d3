"""The examples of docs/python.md run as they stand; the first of them trains."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import entrain
from entrain.app import run_results, sittings, trained
from entrain.config.load import load_config

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
NOT_RUN = "<!-- not run -->\n"
SMALL = (
    "{total_steps: 300, rollout_steps: 150, network: {hidden_sizes: [8]}, "
    "algorithm: {minibatch_size: 50, num_epochs: 1}}"
)


def blocks(language: str) -> Sequence[str]:
    found = re.findall(rf"(<!-- not run -->\n)?```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return [block for is_marked, block in found if not is_marked]


def test_every_example_in_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_results, "export_policy", lambda *_, **__: None)
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])
    # It counts more than what the examples say of policies, which would take minutes.
    monkeypatch.setenv("ENTRAIN__POLICIES__ANY", SMALL)
    first, *others = blocks("python")
    names: dict[str, Any] = {}
    exec(compile(first, "docs/python.md", "exec"), names)
    result = names["result"]
    assert (result.outcome, result.run) == ("completed", Path("runs/cartpole"))
    assert "completed" in capsys.readouterr().out

    # What each of them starts, after its arguments were read, has tests of its own.
    asked: list[str] = []

    def stand_in(what: str, answer: Any) -> Any:
        def call(*_arguments: Any, **_options: Any) -> Any:
            asked.append(what)
            return answer

        return call

    counted = SimpleNamespace(policies={"CartPole-v1": SimpleNamespace(mean_return=20.0)})
    monkeypatch.setattr(sittings, "begin", stand_in("train", result))
    monkeypatch.setattr(sittings, "go_on", stand_in("resume", result))
    monkeypatch.setattr(trained, "evaluated", stand_in("evaluate", counted))
    for block in others:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert asked == ["train", "resume", "evaluate", "train"]
    assert names["files"]["CartPole-v1"].is_file()
    assert names["earned"] > 0
    assert names["policy"].spec.name == "CartPole-v1"
    assert names["guesses"] is result


def test_the_settings_on_the_page_are_read(tmp_path: Path) -> None:
    (settings,) = blocks("yaml")
    (tmp_path / "run.yaml").write_text(settings)
    first, second = load_config(tmp_path / "run.yaml", []).observers
    assert (first.class_, second.class_) == ("my_project:Best", "entrain.observers:Wandb")
    assert (second.options["project"], second.wait_s) == ("walks", 60.0)


def test_every_method_of_an_observer_and_every_public_function_is_on_the_page() -> None:
    for method in ("began", "updated", "evaluated", "saved", "ended"):
        assert f"| `{method}(" in PAGE
        assert hasattr(entrain.Observer, method)
    for name in (
        "train",
        "resume",
        "evaluate",
        "export",
        "Policy.load",
        "Observer",
        "EntrainError",
    ):
        assert f"entrain.{name}" in PAGE
