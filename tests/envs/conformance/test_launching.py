"""The process of the simulator that is checked: what it is told, and how it ends."""

import os
import time
from pathlib import Path

import pytest

from entrain_envs.conformance import launching
from entrain_envs.conformance.launching import ProcessLauncher


@pytest.mark.parametrize(
    ("address", "heard"),
    [
        ("localhost:7", "localhost:7 localhost:7 -"),
        ("ws://h:7", "ws://h:7 ws://h:7 ws://h:7/simulate"),
    ],
)
def test_it_is_told_where_to_dial(
    address: str, heard: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN_RECONNECT_S", "0")
    report = tmp_path / "heard"
    words = 'echo "$1 $ENTRAIN_ADDRESS ${ENTRAIN_WEBSOCKET:--}${ENTRAIN_RECONNECT_S}" > "$2"'
    launcher = ProcessLauncher(["sh", "-c", words, "sh", "{address}", str(report)], address)
    launcher.start()
    launcher.stop()
    assert report.read_text() == f"{heard}\n"
    assert not launcher.is_running
    launcher.stop()


def test_one_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Together with what it started."""
    monkeypatch.setattr(launching, "_END_S", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    words = 'trap "" TERM; (echo $$; exec sleep 30) > "$1"; sleep 30'
    launcher = ProcessLauncher(["sh", "-c", words, "sh", str(pipe)], "localhost:7")
    launcher.start()
    with pipe.open() as said:
        assert int(said.readline()) > 0
        assert launcher.is_running
        began_s = time.monotonic()
        with caplog.at_level("INFO", "entrain_envs"):
            launcher.stop()
        assert said.read() == "", "who holds the pipe is gone"
    assert time.monotonic() - began_s < 60.0
    assert [record.getMessage()[-7:] for record in caplog.records] == ["SIGTERM", "SIGKILL"]
    assert not launcher.is_running
