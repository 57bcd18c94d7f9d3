"""The observer for Weights and Biases, and for packages with its functions, by recorded calls."""

import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from entrain.errors import ConfigError, MissingExtraError
from entrain.observers import PolicyEvaluated, PolicyUpdated, RunBegan, RunEnded, Wandb

CALLS = list[tuple[str, dict[str, Any]]]


class Run:
    """As `wandb.init` returns it."""

    id = "r4nd0m"

    def __init__(self, calls: CALLS) -> None:
        self._calls = calls

    def log(self, values: Any, step: int | None = None) -> None:
        self._calls.append(("log", {"values": values, "step": step}))

    def finish(self, exit_code: int | None = None) -> None:
        self._calls.append(("finish", {"exit_code": exit_code}))

    def log_artifact(self, artifact: Any) -> None:
        self._calls.append(("log_artifact", vars(artifact)))


class Artifact:
    def __init__(self, name: str, type: str) -> None:
        self.name, self.type = name, type
        self.files: list[str] = []

    def add_file(self, path: str) -> None:
        self.files.append(path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> CALLS:
    """Of a package with the functions of wandb."""
    calls: CALLS = []

    def init(**arguments: Any) -> Run:
        calls.append(("init", arguments))
        return Run(calls)

    package = ModuleType("wandb")
    vars(package).update(init=init, log=None, finish=None, Artifact=Artifact)
    monkeypatch.setitem(sys.modules, "wandb", package)
    return calls


def began(folder: Path, *policies: str, is_resumed: bool = False, **steps: int) -> RunBegan:
    return RunBegan(
        run="walk-2",
        folder=folder,
        keep=folder / "observers",
        config={"seed": 3, "policies": {name: {} for name in policies or ("*",)}},
        is_resumed=is_resumed,
        env_steps=steps,
    )


def updated(behaviour: str, env_steps: int, **metrics: float) -> PolicyUpdated:
    return PolicyUpdated(behaviour=behaviour, env_steps=env_steps, metrics=metrics)


COMPLETED = RunEnded(outcome="completed", error="", env_steps=300, policies={})
FAILED = RunEnded(outcome="failed", error="no disk", env_steps=300, policies={})


def test_a_run_is_begun_logged_and_finished_there(tmp_path: Path, calls: CALLS) -> None:
    observer = Wandb(project="walks", init={"tags": ["a"]})
    observer.began(began(tmp_path))
    observer.updated(updated("walker", 200, kl=0.5, gone=math.nan))
    observer.evaluated(PolicyEvaluated(behaviour="walker", env_steps=210, metrics={"best": 7.0}))
    observer.ended(COMPLETED)
    config = {"seed": 3, "policies": {"*": {}}}
    assert calls == [
        ("init", {"project": "walks", "name": "walk-2", "config": config, "tags": ["a"]}),
        ("log", {"values": {"kl": 0.5, "env_steps": 200}, "step": 200}),
        ("log", {"values": {"best": 7.0, "env_steps": 210}, "step": 210}),
        ("finish", {"exit_code": 0}),
    ]


def test_a_resumed_run_goes_on_as_the_same_run_there(tmp_path: Path, calls: CALLS) -> None:
    first = Wandb()
    first.began(began(tmp_path))
    first.updated(updated("walker", 200))
    first.ended(FAILED)
    assert calls[-1] == ("finish", {"exit_code": 1})
    again = Wandb()
    again.began(began(tmp_path, is_resumed=True, walker=150, runner=40))
    name, arguments = calls[3]
    assert (name, arguments["id"], arguments["resume"]) == ("init", "r4nd0m", "allow")
    # The behaviour that had the plain names has them again, and steps are those of both.
    again.updated(updated("runner", 60, kl=1.0))
    again.updated(updated("walker", 170, kl=2.0))
    assert [call for _, call in calls[4:]] == [
        {"values": {"runner/kl": 1.0, "runner/env_steps": 60}, "step": 210},
        {"values": {"kl": 2.0, "env_steps": 170}, "step": 230},
    ]


def test_of_several_policies_each_has_names_of_its_own(tmp_path: Path, calls: CALLS) -> None:
    observer = Wandb(name="both")
    observer.began(began(tmp_path, "cat", "dog"))
    observer.updated(updated("cat", 10, kl=1.0))
    observer.updated(updated("dog", 5, kl=2.0))
    assert calls[0][1]["name"] == "both"
    assert [call["values"] for _, call in calls[1:]] == [
        {"cat/kl": 1.0, "cat/env_steps": 10},
        {"dog/kl": 2.0, "dog/env_steps": 5},
    ]
    assert [call["step"] for _, call in calls[1:]] == [10, 15]


def test_policies_are_sent_when_the_run_ends_if_that_is_wanted(
    tmp_path: Path, calls: CALLS
) -> None:
    observer = Wandb(policies=True)
    observer.began(began(tmp_path))
    files = {"walker": tmp_path / "walker.onnx"}
    observer.ended(RunEnded(outcome="completed", error="", env_steps=1, policies=files))
    artifact = {"name": "walk-2-policies", "type": "model", "files": [str(files["walker"])]}
    assert calls[1] == ("log_artifact", artifact)


def test_a_run_whose_policies_cannot_be_sent_is_finished(
    tmp_path: Path, calls: CALLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_artifact: Artifact, path: str) -> None:
        raise ValueError(f"Path is not a file: {path}")

    monkeypatch.setattr(Artifact, "add_file", refuse)
    observer = Wandb(policies=True)
    observer.began(began(tmp_path))
    files = {"walker": tmp_path / "gone.onnx"}
    with pytest.raises(ValueError, match="gone"):
        observer.ended(RunEnded(outcome="failed", error="", env_steps=1, policies=files))
    assert calls[1:] == [("finish", {"exit_code": 1})]


def test_a_package_of_functions_alone_does_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: CALLS = []
    package = SimpleNamespace(
        __name__="tracks",
        init=lambda **arguments: calls.append(("init", arguments)),
        log=lambda values, step: calls.append(("log", {"values": values, "step": step})),
        finish=lambda: calls.append(("finish", {})),
    )
    monkeypatch.setitem(sys.modules, "tracks", package)
    observer = Wandb(package="tracks", policies=True)
    assert repr(observer) == "<Wandb: tracks, project 'entrain'>"
    observer.updated(updated("walker", 1))  # nothing has begun there
    observer.began(began(tmp_path))
    observer.updated(updated("walker", 7, kl=1.0))
    observer.ended(RunEnded(outcome="stopped", error="", env_steps=7, policies={"a": tmp_path}))
    assert [name for name, _ in calls] == ["init", "log", "finish"]
    assert json.loads((tmp_path / "observers" / "tracks.json").read_text())["id"] is None
    assert "tracks has no Artifact" in caplog.text
    Wandb(package="tracks").began(began(tmp_path, is_resumed=True))
    assert "id" not in calls[-1][1]


def test_a_package_that_is_missing_or_another_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"'wandbee' cannot be imported.*pip install"):
        Wandb(package="wandbee")
    with pytest.raises(ConfigError, match="'json' has no init and no log and no finish"):
        Wandb(package="json")
