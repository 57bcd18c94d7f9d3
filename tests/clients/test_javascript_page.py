"""What docs/javascript.md says is what there is: the example, its lines, the sizes, the files."""

import re
from pathlib import Path

import pytest

from entrain.config.load import load_config
from support.node import PACKAGE

ROOT = PACKAGE.parents[1]
PAGE = (ROOT / "docs" / "javascript.md").read_text(encoding="utf-8")
EXAMPLES = PACKAGE / "examples"


def user_lines(path: Path) -> int:
    """Lines that are neither blank nor a comment."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return len([line for line in lines if line and not line.startswith("//")])


def test_the_page_shows_the_example_word_for_word() -> None:
    shown = re.findall(r"```js\n(.*?)```", PAGE, flags=re.DOTALL)[0]
    assert shown == (EXAMPLES / "points.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["points.js", "rapier/learn.js", "birds/learn.js"])
def test_a_users_own_code_is_at_most_25_lines(name: str) -> None:
    lines = user_lines(EXAMPLES / name)
    assert lines <= 25
    if "/" in name:
        assert f"`learn.js` ({lines} lines)" in PAGE


@pytest.mark.parametrize("name", ["rapier/balls.yaml", "birds/birds.yaml"])
def test_the_examples_settings_are_read(name: str) -> None:
    config = load_config(EXAMPLES / name, [])
    assert config.server.websocket == "localhost:50052"
    assert config.server.origins == (("http://localhost:8000",) if "birds" in name else ())
