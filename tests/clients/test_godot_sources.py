"""The Godot addons without Godot: one core, one page, and a linter's judgement."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.godot import PACKAGE

ROOT = Path(__file__).parents[2]
LINTER = shutil.which("gdlint", path=str(ROOT / ".build" / "gdtoolkit" / "bin"))
CORES = [PACKAGE / version / "addons" / "entrain" / "core" for version in ("godot3", "godot4")]


def test_both_addons_have_the_same_core() -> None:
    first, second = ({each.name: each.read_text() for each in core.iterdir()} for core in CORES)
    assert first == second
    assert len(first) > 10


def test_the_page_shows_the_example_word_for_word() -> None:
    page = (ROOT / "docs" / "godot.md").read_text(encoding="utf-8")
    example = (PACKAGE / "godot3" / "example" / "ball.gd").read_text(encoding="utf-8")
    assert re.findall(r"```gdscript\n(.*?)```", page, flags=re.DOTALL) == [example]


@pytest.mark.parametrize("version", ["godot3", "godot4"])
def test_a_users_own_code_is_at_most_25_lines(version: str) -> None:
    text = (PACKAGE / version / "example" / "ball.gd").read_text(encoding="utf-8")
    assert len([line for line in text.splitlines() if line.strip()]) <= 25


@pytest.mark.clients
@pytest.mark.skipif(LINTER is None, reason="gdtoolkit is not in .build/gdtoolkit: `make clients`")
def test_a_linter_reads_everything_that_godot_4_will() -> None:
    assert LINTER is not None
    files = [*(PACKAGE / "godot4").rglob("*.gd"), *(PACKAGE / "tests").glob("*.gd")]
    done = subprocess.run([LINTER, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(files) > 15
