"""Files are replaced whole or not at all."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from entrain.run.durable import replace_file, sync_folder, write_file


def refuse(*arguments: object, **options: object) -> NoReturn:
    raise OSError(28, "No space left on device")


def test_a_replaced_file_has_the_new_content(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    replace_file(path, "old")
    replace_file(path, "Läufer\n")
    assert path.read_text(encoding="utf-8") == "Läufer\n"


def test_text_and_bytes_are_both_written_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"\r\n\xff\x00")
    assert path.read_bytes() == b"\r\n\xff\x00"
    replace_file(path, "a\nb")
    # Not translated to \r\n, on no system.
    assert path.read_bytes() == b"a\nb"


def test_replacing_leaves_no_temporary_file(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_replaced_file_can_be_read_by_others(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["write", "rename"])
def test_a_failure_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file"
    replace_file(path, "old")
    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(os, "fsync", refuse)
        else:
            patch.setattr(Path, "replace", refuse)
        with pytest.raises(OSError, match="No space left"):
            replace_file(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_an_interrupt_while_writing_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", "new")
    assert not list(tmp_path.iterdir())


def test_content_is_handed_to_the_disk_before_its_name_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    really_sync, really_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        happened.append("sync")
        really_sync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        happened.append("rename")
        return really_replace(path, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    replace_file(tmp_path / "file", "text")
    assert happened[:2] == ["sync", "rename"]


def test_a_folder_that_cannot_be_synced_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)


def test_folders_are_not_opened_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "open", refuse)
    sync_folder(tmp_path)


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError, match="No space left"):
        write_file(Path("/dev/full"), b"x")
