"""Whoever read the output may go away, and the disk it goes to may be full: programs go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging, sys
from entrain.app.printing import print_without_failing
print_without_failing()
logging.basicConfig()
sys.stdin.readline()
for number in range(3):
    print("line", number)
    logging.warning("warning %d", number)
sys.stdout.flush()
sys.exit(7)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX")


@pytest.mark.parametrize("options", [[], ["-u"]])
@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_reader_who_is_gone_changes_no_exit_code_and_gives_no_traceback(
    options: list[str], stream: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, *options, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if stream == "both" else subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        if stream in {"stdout", "both"}:
            process.stdout.close()
        elif process.stderr is not None:
            process.stderr.close()
        process.stdin.write("go\n")
        process.stdin.flush()
        if stream == "stdout" and process.stderr is not None:
            said = process.stderr.read().splitlines()
            assert said == [f"WARNING:root:warning {number}" for number in range(3)]
        if stream == "stderr":
            assert process.stdout.read() == "line 0\nline 1\nline 2\n"
        assert process.wait(30.0) == 7


def test_a_full_disk_behind_the_output_changes_nothing() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=full, stderr=full
        )
        process.communicate(b"go\n")
    assert process.returncode == 7


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_the_start_are_no_trouble(closed: str) -> None:
    command = f"'{sys.executable}' -c \"$PROGRAM\" {closed}"
    program = PROGRAM.replace("sys.stdin.readline()", "")
    code = subprocess.call(["/bin/sh", "-c", command], env={**os.environ, "PROGRAM": program})
    assert code == 7
