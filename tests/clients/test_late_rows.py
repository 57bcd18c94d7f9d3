"""Rows of late steps are merged by the clients in C++ and JavaScript as by the one in Python."""

import subprocess
from pathlib import Path

import numpy as np

from entrain_envs.late_rows import LateRows
from support.cpp_probe import answers
from support.late_worlds import batch_of, calls, rows_in
from support.node import NODE, needs_node

CASES = 150


def lines(seed: int) -> list[str]:
    """As the programs read them."""
    said = ["merge begin"]
    for call in calls(seed):
        if call is None:
            said.append("merge take")
        else:
            words = (":".join(f"{number:g}" for number in row) for row in call[1])
            too_late = ",".join(map(str, sorted(call[0]))) or "-"
            said.append(" ".join(["merge", "add", too_late, *words]))
    return said


def expected(seed: int) -> list[str]:
    """What the Python client sends, in the programs' form."""
    late, said = LateRows(), []
    for call in calls(seed):
        if call is not None:
            late.add(batch_of(call[1]), too_late=np.array(call[0], np.int64))
        elif late:
            said.append(" ".join(["due", *map(words_of, rows_in(late.take()))]))
        else:
            said.append("due")
    return said


def words_of(row: tuple[float, ...]) -> str:
    return ":".join(f"{float(number):g}" for number in row)


def test_the_cpp_client_merges_rows_as_the_python_client_does(cpp_probe: Path) -> None:
    said = answers(cpp_probe, [line for seed in range(CASES) for line in lines(seed)])
    assert said == [each for seed in range(CASES) for each in expected(seed)]


@needs_node
def test_the_javascript_client_merges_rows_as_the_python_client_does() -> None:
    program = Path(__file__).parent / "javascript" / "late_rows.js"
    done = subprocess.run(
        [NODE, str(program)],
        input="".join(f"{line}\n" for seed in range(CASES) for line in lines(seed)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300.0,
    )
    assert done.stdout.splitlines() == [each for seed in range(CASES) for each in expected(seed)]
