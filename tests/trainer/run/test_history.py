"""history.jsonl: a line for each thing, bounded, and never in the way of a run."""

from pathlib import Path

import pytest

from entrain.errors import DiskError
from entrain.run import history
from entrain.run.history import History, read_history


def test_a_sitting_is_noted_and_an_error_that_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    noted = History(path, clock=lambda: 1_800_000_000.0)
    with pytest.raises(DiskError), noted.sitting(lambda: 7):
        noted.note("paused", env_steps=5)
        raise DiskError("the disk is full")
    began, paused, ended = read_history(path)
    assert began["what"] == "began"
    assert paused == {"time": "2027-01-15T08:00:00Z", "what": "paused", "env_steps": 5}
    assert (ended["outcome"], ended["exit_code"], ended["why"]) == ("failed", 7, "the disk is full")
    assert ended["env_steps"] == 7


def test_it_is_bounded_and_what_is_damaged_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"what": "paused"}\nnonsense\n[1]\n{"wha')
    assert [it["what"] for it in read_history(path)] == ["paused"]
    History(path).note("changed")
    assert [it["what"] for it in read_history(path)] == ["paused", "changed"]
    monkeypatch.setattr(history, "MOST_BYTES", 10)
    History(path).note("went on")
    assert [it["what"] for it in read_history(path)] == ["went on"]
    assert (tmp_path / "history.1.jsonl").is_file()


def test_a_disk_that_refuses_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    History(tmp_path / "gone" / "history.jsonl").note("paused")
    assert "history.jsonl cannot be written: No such file" in caplog.text
    assert read_history(tmp_path / "gone" / "history.jsonl") == []
