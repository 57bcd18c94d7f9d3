"""The command that is made of a file is one that `entrain` takes, and means what was read."""

import socket
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import entrain.app
from entrain.cli import main
from entrain.config.run import RunConfig
from entrain.supervise.commands import Commands
from entrain.supervise.files import Directory

pytestmark = pytest.mark.usefixtures("logging_as_before")


def read(tmp_path: Path, text: str, **options: Any) -> tuple[Commands, Any]:
    (tmp_path / "walk.yaml").write_text(text)
    commands = Commands(tmp_path / "runs", **{"host": "localhost", "page_host": None, **options})
    return commands, Directory(tmp_path).look()["walk"]


def test_the_command_line_reads_what_the_supervisor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[tuple[RunConfig, Any]] = []
    fake: Any = types.ModuleType("entrain.app.commands")

    def train(config: RunConfig, **more: Any) -> int:
        took.append((config, more))
        return 0

    fake.train = train
    monkeypatch.setitem(sys.modules, "entrain.app.commands", fake)
    monkeypatch.setattr(entrain.app, "commands", fake, raising=False)
    commands, file = read(
        tmp_path,
        "name: other\nruns_directory: elsewhere\nserver: {address: 'localhost:1'}\nseed: 3\n",
        host="::1",
        page_host="127.0.0.1",
        settings=["threads=2", "server.max_sessions=7"],
    )
    reading = commands.read(file)
    assert reading.problem == ""
    words = commands.train(file, 0)
    assert main(list(words[3:])) == 0
    [(config, more)] = took
    assert config == reading.config
    assert more["resume_or_start"]
    assert more["listening"] == ['server.address="[::1]:0"', 'http.address="127.0.0.1:0"']
    # Where the run is and listens is the supervisor's to say, and its name the file's.
    assert (config.name, config.runs_directory) == ("walk", tmp_path / "runs")
    assert (config.seed, config.threads, config.server.max_sessions) == (3, 2, 7)
    assert words[:3] == [sys.executable, "-m", "entrain"]


def test_simulators_that_speak_websocket_share_the_port_of_the_runs_page(tmp_path: Path) -> None:
    text = "server: {websocket: 'localhost:50052'}"
    commands, file = read(tmp_path, text, page_host="127.0.0.1")
    config = commands.read(file).config
    assert config is not None
    assert config.is_websocket_on_page
    words = commands.train(file, 50100, 8100, has_websocket=True)
    assert list(words[words.index("--http") :][:4]) == [
        *("--http", "127.0.0.1:8100"),
        *("--websocket", "127.0.0.1:8100"),
    ]
    # Where runs have the pages that their files say, they have those ports too.
    alone, file = read(tmp_path, text, page_host=None)
    kept = alone.read(file).config
    assert kept is not None
    assert kept.server.websocket == "localhost:50052"
    assert "--websocket" not in alone.train(file, 50100, has_websocket=True)


def test_a_name_that_no_folder_may_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "my walk.yaml").write_text("")
    commands = Commands(tmp_path / "runs", host="localhost", page_host=None)
    file = Directory(tmp_path).look()["my walk"]
    assert "a letter or digit, then letters, digits" in commands.read(file).problem


def test_a_host_that_others_reach_needs_tls_or_a_word(tmp_path: Path) -> None:
    commands, file = read(tmp_path, "seed: 1", host="0.0.0.0")
    assert "there is no TLS" in commands.read(file).problem
    allowed, file = read(tmp_path, "server: {insecure: true}", host="0.0.0.0")
    assert allowed.read(file).problem == ""
    assert (allowed.address(5), allowed.to_dial(5)) == ("0.0.0.0:5", f"{socket.gethostname()}:5")


def test_what_differs_from_the_run_that_is_there_is_noted(tmp_path: Path) -> None:
    commands, file = read(tmp_path, "seed: 1\nthreads: 2\n")
    folder = commands.folder("walk")
    folder.path.mkdir(parents=True)
    folder.config.write_text("seed: 1\nthreads: 1\nserver: {address: 'localhost:5'}\n")
    note = commands.read(file).note
    assert "threads is 2, there 1" in note
    assert "address" not in note
    folder.config.write_text("seed: [")
    assert "config.yaml" in commands.read(file).note
