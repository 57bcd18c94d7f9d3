"""Which files of a directory count."""

import os
from pathlib import Path

import pytest

from entrain.supervise import files
from entrain.supervise.files import Directory


def test_the_first_look_is_believed_and_a_change_only_when_it_is_seen_twice(tmp_path: Path) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text("a: 1")
    directory = Directory(tmp_path)
    first = directory.look()["walk"]
    path.write_text("a: 12")
    assert directory.look()["walk"] == first
    path.write_text("a: 123")
    assert directory.look()["walk"] == first
    assert directory.look()["walk"].stamp[1] == 6


def test_a_file_that_is_replaced_was_never_gone(tmp_path: Path) -> None:
    path = tmp_path / "walk.yaml"
    path.write_text("a: 1")
    directory = Directory(tmp_path)
    directory.look()
    path.unlink()
    assert "walk" in directory.look()
    path.write_text("a: 2")
    assert "walk" in directory.look()
    path.unlink()
    directory.look()
    assert "walk" not in directory.look()


def test_what_editors_leave_and_other_kinds_of_files_are_no_runs(tmp_path: Path) -> None:
    for name in (".walk.yaml", ".#walk.yaml", "walk.yaml~", "walk.yml", "notes.txt", "b.yaml"):
        (tmp_path / name).write_text("")
    assert list(Directory(tmp_path).look()) == ["b"]


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "elsewhere.yaml").write_text("a: 1")
    (tmp_path / "lab" / "good.yaml").symlink_to("../elsewhere.yaml")
    (tmp_path / "lab" / "lost.yaml").symlink_to("../nowhere.yaml")
    (tmp_path / "lab" / "itself.yaml").symlink_to("itself.yaml")
    os.mkfifo(tmp_path / "lab" / "pipe.yaml")
    (tmp_path / "lab" / "folder.yaml").mkdir()
    found = Directory(tmp_path / "lab").look()
    assert {name: it.is_regular for name, it in found.items()} == {
        "folder": False,
        "good": True,
        "itself": False,
        "lost": False,
        "pipe": False,
    }


def test_a_directory_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "walk.yaml").write_text("")
    directory = Directory(tmp_path / "lab")
    directory.look()
    (tmp_path / "lab").rename(tmp_path / "away")
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            directory.look()
    (tmp_path / "away").rename(tmp_path / "lab")
    assert list(directory.look()) == ["walk"]


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 2)
    for name in "cab":
        (tmp_path / f"{name}.yaml").write_text("")
    directory = Directory(tmp_path)
    assert list(directory.look()) == ["a", "b"]
    assert directory.left_out == 1
