"""What `entrain ctl` waits for, and what it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from entrain.app.ctl import Command, control, wait_for, words_of
from entrain.app.page_client import PageClient, Place
from entrain.errors import ConfigError, ControlError, ExportError

CONTROL: Mapping[str, Any] = {
    "paused_since": 0.0,
    "changes": ["a=1 before update 7 of 'walker'"],
    "export": "none",
    "exported": "",
}
STATUS: Mapping[str, Any] = {
    "run": "walk",
    "phase": "training",
    "env_steps": 1000,
    "seconds": 60.0,
    "seconds_left": 120.0,
    "policies": [
        {
            "name": "walker",
            "env_steps": 1000,
            "total_steps": 3000,
            "updates": 5,
            "return_last_100": 12.5,
        }
    ],
    "num_simulators": 1,
    "expected_simulators": 2,
    "num_agents": 8,
    "address": "localhost:50051",
    "control": CONTROL,
    "alarms": [{"level": "WARN", "message": "entropy fell"}],
}


class FakePage(PageClient):
    """Answers with these, the last again and again; an error is raised."""

    def __init__(self, answers: Sequence[Mapping[str, Any] | Exception]) -> None:
        super().__init__(Place(url="http://localhost/", token="t", token_from=Path("page.json")))
        self._answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def read(self, path: str, **query: str) -> Any:
        self.asked.append((path, query))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, path: str, **fields: object) -> Any:
        self.asked.append((path, fields))
        return {"asked": "it is asked"}


def standing(phase: str = "training", **control: Any) -> Mapping[str, Any]:
    return {**STATUS, "phase": phase, "control": {**CONTROL, **control}}


def waited(command: Command, *answers: Mapping[str, Any] | Exception) -> str:
    return wait_for(FakePage(answers), command, sleep=lambda _seconds: None)


def test_a_pause_is_waited_for_until_the_run_stands_still() -> None:
    pausing = standing("pausing", paused_since=1.0)
    assert waited("pause", pausing, standing("paused", paused_since=1.0)) == (
        "paused at 1,000 env steps"
    )
    with pytest.raises(ControlError, match="let the run go on meanwhile"):
        waited("pause", pausing, standing())


def test_an_export_is_waited_for_until_it_is_done_or_has_failed() -> None:
    running = standing(export="running")
    assert waited("export", running, standing(export="done", exported="a.onnx")) == "a.onnx"
    with pytest.raises(ExportError, match="the export failed: the disk is full"):
        waited("export", running, standing(export="failed", exported="the disk is full"))


def test_a_run_of_another_machine_has_stopped_when_its_page_answers_no_more() -> None:
    assert waited("stop", standing(), ControlError("does not answer")) == "the run has stopped"
    assert waited("checkpoint", standing()) == ""


def test_what_is_asked_goes_to_its_path() -> None:
    page = FakePage([STATUS])
    control(page, "set", ["a=1"], from_update=7)
    control(page, "export", [], form="unity")
    control(page, "go-on", [])
    assert page.asked == [
        ("/api/change", {"set": ["a=1"], "from_update": 7}),
        ("/api/export", {"format": "unity"}),
        ("/api/go-on", {}),
    ]
    for command, settings in (("set", []), ("stop", ["a=1"])):
        with pytest.raises(ConfigError, match="set takes at least one PATH=VALUE"):
            control(page, command, settings)  # type: ignore[arg-type]


def test_a_status_is_told_in_lines() -> None:
    assert list(words_of("status", STATUS)) == [
        "walk: training, 1,000 env steps in 1:00, 2:00 left",
        "  walker: 1,000 of 3,000 env steps, 5 updates, return 12.5",
        "  1 of 2 simulators with 8 agents on localhost:50051",
        "  to be changed: a=1 before update 7 of 'walker'",
        "  WARN entropy fell",
    ]
