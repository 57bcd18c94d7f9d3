"""Every client passes the conformance kit, as a user runs both: no rule fails.

Which rules each must show is said here, so that none is left out unseen.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.cpp_probe import QUICK, ROOT, compiled, shared_folder
from support.godot import command as godot_command
from support.godot import needs_godot
from support.node import NODE, needs_node

pytestmark = pytest.mark.clients

ENTRAIN_ENV = [sys.executable, "-m", "entrain_envs"]

PLAYS = frozenset({"sequence", "row-order", "agent-ids", "dtypes", "shapes", "final-observation"})
LIVES = frozenset(
    {"resume", "sends-again", "waits-to-dial", "stopped", "completed", "stays-away", "refused"}
    | {
        "inquires",
        "gives-up",
        "message-length",
        "closed-at-once",
        "late-act",
        "long-act",
        "unknown-fields",
    }
)
ANEW = frozenset({"begins-anew"})
WEBSOCKET = frozenset({"subprotocol", "binary", "pongs"})


def passed(command: Sequence[str], *, listen: str, report: Path) -> set[str]:
    """The rules that a simulator passed; an error if one failed."""
    check = [*ENTRAIN_ENV, "check", "--listen", listen, "--json", str(report), "--", *command]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    rules = json.loads(report.read_text(encoding="utf-8"))["rules"]
    failed = [each for each in rules if each["verdict"] == "failed"]
    assert failed == [], done.stderr
    assert done.returncode == 0, done.stderr
    return {each["name"] for each in rules if each["verdict"] == "passed"}


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("gymnasium CartPole-v1 --groups 2 --count 6", ANEW | {"two-steps", "obeys-one"}),
        ("gymnasium CartPole-v1 --count 6 --deadline-ms 50", ANEW | {"late-rows", "says-late"}),
        ("balance-ball", ANEW),
        ("cue-memory --count 8", ANEW | {"two-rows"}),
    ],
)
def test_entrain_env_passes(words: str, shown: frozenset[str], tmp_path: Path) -> None:
    command = [*ENTRAIN_ENV, *words.split()]
    rules = passed(command, listen="localhost:0", report=tmp_path / "report.json")
    assert rules >= LIVES | shown


@pytest.mark.parametrize("listen", ["localhost:0", "ws://localhost:0"])
def test_the_minimal_simulator_passes(listen: str, tmp_path: Path) -> None:
    example = ROOT / "envs" / "examples" / "minimal_simulator.py"
    command = [sys.executable, str(example), "{address}"]
    rules = passed(command, listen=listen, report=tmp_path / "report.json")
    assert rules >= PLAYS | LIVES | (WEBSOCKET if listen.startswith("ws") else set())


def test_the_meadow_passes(tmp_path: Path) -> None:
    example = ROOT / "envs" / "examples" / "meadow.py"
    command = [sys.executable, str(example), "{address}"]
    rules = passed(command, listen="localhost:0", report=tmp_path / "report.json")
    assert rules >= LIVES | {"mask", "respawn"}


def test_the_cpp_client_passes(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    program = compiled(QUICK, shared_folder(tmp_path_factory))
    rules = passed(
        [str(program), "play", "{address}"],
        listen="ws://localhost:0",
        report=tmp_path / "report.json",
    )
    assert rules >= PLAYS | LIVES | ANEW | WEBSOCKET | {"mask", "two-rows"}


@needs_node
def test_the_javascript_client_passes(tmp_path: Path) -> None:
    example = ROOT / "envs" / "javascript" / "examples" / "points.js"
    rules = passed(
        [NODE, str(example), "{address}"],
        listen="ws://localhost:0",
        report=tmp_path / "report.json",
    )
    assert rules >= PLAYS | LIVES | WEBSOCKET


@needs_godot
def test_the_godot_addon_passes(tmp_path: Path) -> None:
    game = godot_command(ROOT / "envs" / "godot" / "godot3")
    rules = passed(game, listen="ws://localhost:0", report=tmp_path / "report.json")
    assert rules >= PLAYS | LIVES | ANEW | WEBSOCKET
