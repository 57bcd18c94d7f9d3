"""`entrain serve` as a process: killed, started again, stopped; its runs are stand-ins."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from entrain.run.lock_owner import Owner
from entrain.run.summary import RunSummary
from entrain.supervise import listing
from support.command import is_running, says, until
from support.ports import free_port
from support.served_runs import STAND_IN

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes")

SERVE = """
import dataclasses
import sys
from entrain.supervise import service
serve = service.serve
faster = {"program": (sys.executable, sys.argv[1]), "every_s": 0.05}
service.serve = lambda options: serve(dataclasses.replace(options, **faster))
from entrain import cli
sys.exit(cli.main(sys.argv[2:]))
"""


class Lab:
    """A directory that is served by processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.directory = folder / "lab"
        self.directory.mkdir()
        self.words = folder / "words.txt"
        self.port = free_port()

    def write(self, name: str, text: str = "seed: 1\n") -> None:
        (self.directory / f"{name}.yaml").write_text(text)

    @contextlib.contextmanager
    def served(self) -> Iterator["subprocess.Popen[bytes]"]:
        options = ["--http", f"localhost:{self.port}", "--ports", "50900-50999", "--at-once", "9"]
        command = ["serve", str(self.directory), *options]
        with self.words.open("ab") as words:
            process = subprocess.Popen(
                [sys.executable, "-c", SERVE, str(STAND_IN), *command], stdout=words, stderr=words
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10.0)

    def lock(self, name: str) -> Path:
        return self.directory / "runs" / name / "run.lock"

    def owner(self, name: str) -> int:
        """The process that has a run; 0 if none has."""
        path = self.lock(name)
        owner = Owner.read(path.read_bytes()) if path.exists() else None
        return 0 if owner is None or owner.is_gone else owner.pid

    def begun(self, name: str) -> int:
        """How often a run was started."""
        log = self.directory / "runs" / name / "log.txt"
        return log.read_text().count("begun") if log.exists() else 0

    def runs(self) -> dict[str, Any]:
        answer = httpx.get(f"http://localhost:{self.port}/api/runs").json()
        return {run["name"]: run for run in answer["runs"]}


def test_a_supervisor_that_is_killed_loses_and_doubles_no_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for name in ("a", "b"):
        lab.write(name)
    lab.write("wrong", "sed: 1\n")
    with lab.served() as first:
        until(lambda: lab.begun("a") == lab.begun("b") == 1)
        owners = {name: lab.owner(name) for name in "ab"}
        first.kill()
        first.wait(10.0)
    assert all(map(is_running, owners.values()))
    # One dies while nobody looks.
    os.kill(owners["b"], signal.SIGKILL)
    until(lambda: not is_running(owners["b"]))
    try:
        with lab.served() as second:
            until(lambda: says(lab.words, "a lives on as process") and lab.begun("b") == 2)
            until(lambda: says(lab.words, "2 of 3 runs live") and lab.owner("b") > 0)
            runs = lab.runs()
            assert (runs["a"]["process"], runs["a"]["state"]) == (owners["a"], "running")
            assert runs["wrong"]["state"] == "wrong file"
            (lab.directory / "a.yaml").unlink()
            until(lambda: not is_running(owners["a"]))
            second.send_signal(signal.SIGTERM)
            assert second.wait(60.0) == 0
    finally:
        for name in "ab":
            if lab.owner(name):
                os.kill(lab.owner(name), signal.SIGKILL)
    assert (lab.begun("a"), lab.begun("b"), lab.owner("b")) == (1, 2, 0)
    for name in "ab":
        summary = RunSummary.load(lab.directory / "runs" / name / "summary.json")
        assert summary.outcome == "stopped"
    lines = list(listing.lines(lab.directory))
    table = {line.split()[0]: line for line in lines}
    assert "removed" in table["a"]
    assert " stopped " in table["b"]
    assert "has no option 'sed'" in "\n".join(lines)
    assert lines[-1] == f"nobody serves {lab.directory} now: entrain serve {lab.directory}"
    told = {run["name"]: run for run in listing.for_programs(lab.directory)}
    assert told["a"]["supervisor"] == {
        "state": "removed",
        "words": None,
        "restarts": 0,
        "dial": None,
    }
    assert json.dumps(told)
