"""The tests that the pages on ML-Agents name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECKLIST = (
    (ROOT / "docs" / "mlagents.md").read_text(encoding="utf-8").partition("## What is ch")[2]
)
ROWS = [line for line in CHECKLIST.splitlines() if re.match(r"\| \d+ \|", line)]


def has_test(path: Path, name: str) -> bool:
    return re.search(rf"^(async )?def {name}\(", path.read_text(encoding="utf-8"), re.M) is not None


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_check_has_tests_and_they_are_there(row: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
    assert named
    assert [each for each in named if not has_test(ROOT / each[0], each[1])] == []


def test_there_are_14_checks() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == [*range(1, 15)]


def test_the_tests_that_the_page_on_numbers_names_are_there() -> None:
    page = (ROOT / "docs" / "mlagents-numerics.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    # Some names are cut short.
    named = re.findall(r"`(test_\w+)(\.\.\.)?`", page)
    assert len(named) > 5
    for name, is_short in named:
        begin = f"def {name}" if is_short else f"def {name}("
        assert any(begin in source for source in sources), name
    for path in re.findall(r"`(tests/[\w/.]+)`", page):
        assert (ROOT / path).exists(), path
