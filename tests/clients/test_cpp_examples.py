"""The C++ examples: the page shows them as they are, they are short, and the Box2D game learns."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.cpp_probe import ROOT, compiled, shared_folder

EXAMPLES = ROOT / "envs" / "cpp" / "examples"
PAGE = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")

DIAL = re.compile(r"speak WebSocket dial (ws://\S+)")
RETURN = re.compile(r"return ([\d.]+) over the last 100 episodes \(at first ([\d.]+)")


def test_a_users_own_code_is_at_most_25_lines() -> None:
    lines = [line.strip() for line in (EXAMPLES / "box2d.cpp").read_text().splitlines()]
    assert len([line for line in lines if line and not line.startswith("//")]) <= 25


@pytest.mark.parametrize("name", ["box2d.cpp"])
def test_the_page_shows_the_example_word_for_word(name: str) -> None:
    assert (EXAMPLES / name).read_text(encoding="utf-8") in re.findall(
        r"```cpp\n(.*?)```", PAGE, flags=re.DOTALL
    )


def test_every_header_is_on_the_page_or_a_part_of_one_that_is() -> None:
    for path in (ROOT / "envs" / "cpp" / "include" / "entrain").glob("*.hpp"):
        first, *_ = path.read_text(encoding="utf-8").splitlines()
        assert first.startswith("// "), path
    included = re.findall(r'#include [<"](entrain/\S+\.hpp)[>"]', PAGE)
    assert included
    assert all((ROOT / "envs" / "cpp" / "include" / name).exists() for name in included)


@contextmanager
def training(folder: Path, *settings: str) -> Iterator[tuple[str, Iterator[str]]]:
    """`entrain train` with the example's file: where to dial, and what it logs from then on."""
    words = [word for setting in settings for word in ("--set", setting)]
    command = [
        *(sys.executable, "-m", "entrain", "train", str(EXAMPLES / "cart_pole.yaml")),
        *("--set", "server.address=localhost:0", "--set", "server.websocket=localhost:0"),
        *("--set", "seed=1", *words),
    ]
    with subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := DIAL.search(line):
                    break
            else:
                raise AssertionError("entrain train ended before it listened")
            yield found.group(1), process.stderr
        finally:
            process.terminate()


@pytest.mark.clients
@pytest.mark.timeout(600)
def test_the_box2d_game_learns(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    program = compiled(
        "clang++", shared_folder(tmp_path_factory), str(EXAMPLES / "box2d.cpp"), "-lbox2d"
    )
    with training(tmp_path) as (url, log), subprocess.Popen([str(program), url]) as game:
        found = next(filter(None, map(RETURN.search, log)))
    assert game.returncode == 0
    last, first = map(float, found.groups())
    # Measured: from 36 to 400, which is all that an episode can have.
    assert first < 80.0
    assert last > 300.0


@pytest.mark.clients
def test_a_loop_with_a_picture_never_waits(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = compiled(
        "clang++", shared_folder(tmp_path_factory), str(EXAMPLES / "tick.cpp"), "-lbox2d"
    )
    few = ["policies.cart.total_steps=1000", "policies.cart.rollout_steps=500"]
    with training(tmp_path, *few) as (url, log):
        done = subprocess.run(
            [str(program), url, "500"], capture_output=True, text=True, check=True, timeout=300.0
        )
        assert "completed after 1,000 env steps" in "".join(log)
    found = re.match(r"(\d+) frames, (\d+) decisions", done.stdout)
    assert found is not None, done.stdout
    frames, decisions = map(int, found.groups())
    # Frames are drawn while the trainer learns, and no decision takes less than one.
    assert frames > decisions >= 1000
