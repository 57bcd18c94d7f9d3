"""Whoever interrupts the program while it is imported gets an exit code and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from entrain.importing import INTERRUPTED, interruptible

LIBRARY = """
import signal
try:
    signal.raise_signal(signal.{signal})
except BaseException as error:
    raise ImportError("as libraries written in C turn an interrupt into") from error
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("library", ["typer", "torch"])
def test_a_signal_in_the_middle_of_an_import_ends_the_command_with_130_and_one_line(
    tmp_path: Path, library: str, number: str
) -> None:
    (tmp_path / f"{library}.py").write_text(LIBRARY.format(signal=number))
    done = subprocess.run(
        [sys.executable, "-m", "entrain", "train", "--runs-directory", str(tmp_path / "runs")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == "entrain: interrupted before it had begun\n"
    assert not (tmp_path / "runs").exists()


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ImportError), interruptible():
        raise ImportError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_command_is_the_one_that_imports_quietly() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '\nentrain = "entrain.__main__:main"\n' in project
