"""Programs of the JavaScript client pass the conformance kit, with every rule shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.node import NODE, PACKAGE, needs_node

pytestmark = [needs_node, pytest.mark.clients]

CHECK = [sys.executable, "-m", "entrain_envs", "check", "--listen", "ws://localhost:0"]
MEADOW = Path(__file__).parent / "javascript" / "meadow.js"


def said_of(*arguments: str | Path) -> str:
    done = subprocess.run(
        [*CHECK, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_smallest_example_passes_with_the_usual_patience() -> None:
    said = said_of(
        "--need", "inquires", "--", NODE, PACKAGE / "examples" / "points.js", "{address}"
    )
    assert ", 0 failed" in said


def test_a_program_with_all_that_rows_can_say_shows_every_rule(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    said = said_of("--token-file", token, "--", NODE, MEADOW, "{address}", token)
    assert said.strip().endswith("0 failed, 0 not shown"), said


def test_a_world_in_real_time_says_what_came_too_late() -> None:
    needs = ["--need", "says-late", "--need", "late-rows"]
    program = MEADOW.with_name("real_time.js")
    said = said_of("--timeout", "75", *needs, "--", NODE, program, "{address}")
    assert ", 0 failed" in said, said
