"""Which runs are deleted, and which never."""

import logging
from pathlib import Path
from typing import Any

import pytest

from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock
from entrain.supervise.cleaning import Cleaner, Limits, delete, may_be_deleted, size_of, too_many
from entrain.supervise.files import SettingsFile
from entrain.supervise.records import Record
from entrain.supervise.served_run import ServedRun
from support.served_runs import MadeUp

FILE = SettingsFile(Path("x.yaml"), (0, 0, 0), is_regular=True)


def ended(runs: Path, name: str, number: int, *, size: int = 0, **record: Any) -> ServedRun:
    """A run that has ended as the `number`th, whose file is gone."""
    folder = RunFolder.create(runs, name)
    folder.write_config("seed: 1\n")
    (folder.checkpoints / "state").write_bytes(b"x" * size)
    kept = Record(name=name, ended=number, **{"rest": "removed", **record})
    return ServedRun(name, folder, runs / "output", kept)


def names(runs: Path) -> list[str]:
    return sorted(path.name for path in runs.iterdir())


def test_only_what_is_over_for_good_may_be_deleted(tmp_path: Path) -> None:
    gone = ended(tmp_path, "gone", 1)
    assert may_be_deleted(gone)
    gone.living = MadeUp([])
    assert not may_be_deleted(gone)
    for rest, may_be in {"completed": True, "stopped": False, "given up": False, "": False}.items():
        wanted = ended(tmp_path, f"with-file-{rest or 'none'}".replace(" ", "-"), 2, rest=rest)
        wanted.file = FILE
        assert may_be_deleted(wanted) == may_be, rest
    assert not may_be_deleted(ended(tmp_path, "never", 0))


def test_the_newest_are_kept_and_each_deletion_is_said_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [ended(tmp_path, name, number) for number, name in enumerate("dacb", start=1)]
    assert [run.name for run in too_many(runs, 2)] == ["a", "d"]
    assert too_many(runs, None) == []
    said: list[str] = []
    monkeypatch.setattr(
        "entrain.supervise.cleaning.shutil.rmtree", lambda path: said.append(caplog.text)
    )
    Cleaner(tmp_path, Limits(keep_last=3)).clean(runs)
    assert len(said) == 1
    assert f"{tmp_path / 'd'} is deleted: of the runs that have ended, the newest 3" in said[0]
    monkeypatch.undo()
    deleted = Cleaner(tmp_path, Limits(keep_last=2)).clean(runs)
    assert [run.name for run in deleted] == ["a", "d"]
    assert names(tmp_path) == ["b", "c"]


def test_a_quota_deletes_the_oldest_until_it_is_kept_and_says_where_it_cannot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [ended(tmp_path, name, number, size=2**20) for number, name in enumerate("cab", 1)]
    cleaner = Cleaner(tmp_path, Limits(quota_bytes=5 * 2**19))
    assert [run.name for run in cleaner.clean(runs)] == ["c"]
    assert size_of(tmp_path) < 5 * 2**19
    for run in runs:
        run.living = MadeUp([])
    tight = Cleaner(tmp_path, Limits(quota_bytes=1))
    for _ in range(3):
        assert tight.clean(runs) == []
    assert caplog.text.count("nothing in it has ended that could be deleted") == 1
    assert names(tmp_path) == ["a", "b"]


def test_what_lives_is_a_link_or_is_elsewhere_is_never_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "entrain")
    runs, outside = tmp_path / "runs", tmp_path / "outside"
    run, other = ended(runs, "walk", 1), ended(outside, "other", 1)
    (runs / "link").symlink_to(other.folder.path)
    with RunLock(run.folder.lock_file):
        assert "is in use" in delete(run.folder.path, runs, "old")
    assert "it is a link" in delete(runs / "link", runs, "old")
    assert "it is no folder in" in delete(other.folder.path, runs, "old")
    assert "it is no folder in" in delete(runs / "walk" / "checkpoints", runs, "old")
    assert "it is no folder in" in delete(runs / ".." / "outside" / "other", runs, "old")
    (runs / "notes").mkdir()
    assert "it is no run folder" in delete(runs / "notes", runs, "old")
    assert "No such file" in delete(runs / "nowhere", runs, "old")
    assert (names(runs), names(outside)) == (["link", "notes", "walk"], ["other"])
    assert "is deleted" not in caplog.text
