"""Who is asked to record into which file, and what happens if nobody does."""

from pathlib import Path

import pytest

from entrain.app.recordings import Recordings
from entrain.config.launch import LaunchConfig
from entrain.errors import ConfigError


def launched(*names: str) -> list[LaunchConfig]:
    return [LaunchConfig(command="game", name=name) for name in names]


def test_one_simulator_is_told_the_file_itself(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "a.gif", launched("walk"), episodes=3, speed=12.5)
    assert recordings.environment_of("walk-0") == {
        "ENTRAIN_RECORD": str(tmp_path / "a.gif"),
        "ENTRAIN_RECORD_EPISODES": "3",
        "ENTRAIN_RECORD_FPS": "12.5",
    }


def test_several_simulators_do_not_write_the_same_file(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "a.gif", launched("walk", "run"), episodes=1, speed=None)
    told = [recordings.environment_of(name)["ENTRAIN_RECORD"] for name in ("walk-0", "run-0")]
    assert told == [str(tmp_path / "a-walk.gif"), str(tmp_path / "a-run.gif")]
    assert "ENTRAIN_RECORD_FPS" not in recordings.environment_of("run-0")


def test_only_what_is_written_now_counts(tmp_path: Path) -> None:
    for name in ("a-walk.gif", "a-run.gif"):
        (tmp_path / name).write_bytes(b"old")
    recordings = Recordings(tmp_path / "a.gif", launched("walk", "run"), episodes=1, speed=None)
    assert recordings.written() == []
    (tmp_path / "a-run.gif").write_bytes(b"newer")
    assert recordings.written() == [tmp_path / "a-run.gif"]
    with pytest.raises(ConfigError, match=r"walk-0 wrote no .*a-walk\.gif: .*logs/walk-0\.log"):
        recordings.require_all(Path("logs"))
    (tmp_path / "a-walk.gif").write_bytes(b"newer")
    recordings.require_all(Path("logs"))
