"""docs/serve.md says what there is: its files are read, its options taken, its series scraped."""

import re
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.config.load import load_config
from entrain.supervise.exposition import Exposition
from entrain.supervise.facts import ServiceFacts
from entrain.supervise.openapi import openapi
from entrain.supervise.served_run import STATES

PAGE = (Path(__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")


def test_the_settings_file_of_the_first_steps_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"<<'END'\n(.*?)END\n", PAGE, re.DOTALL)
    path = tmp_path / "ball-1.yaml"
    path.write_text(text)
    config = load_config(path, [])
    assert config.seed == 1
    assert "seed: 1\n" in text
    assert config.simulators.launch[0].words[:2] == ("entrain-env", "balance-ball")


@pytest.mark.usefixtures("logging_as_before")
def test_every_option_is_one_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["serve", "--help"]) == 0
    told = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    # Of train, list, entrain-env, useradd and systemctl.
    others = [
        "--resume-or-start",
        "--name",
        "--address",
        "--json",
        "--count",
        "--system",
        "--home-dir",
        "--now",
    ]
    assert named - set(others) <= told


def test_every_state_is_explained() -> None:
    table = PAGE[PAGE.index("| state | meaning |") : PAGE.index("## Disk")]
    words = [line.split("|")[1] for line in table.splitlines()[2:] if line.startswith("|")]
    assert {name.strip() for cell in words for name in cell.split(",")} == set(STATES)


def test_every_series_and_route_that_is_named_is_there() -> None:
    facts = ServiceFacts(directory="lab", is_ready=True, ports="1-2", at_once=1, runs=())
    text = Exposition(lambda: facts).render().decode()
    series = set(re.findall(r"entrain_serve_[a-z_]+", PAGE))
    assert len(series) == 5
    for name in series:
        assert f"# TYPE {name} " in text, name
    for route in re.findall(r"`(/[a-z/.]+)", PAGE):
        if not route.startswith(("/etc", "/var", "/opt")):
            assert route in openapi()["paths"] or route == "/openapi.json", route
