"""The report shows the recordings of a run: before training, and after it."""

import os
from pathlib import Path

from entrain.run.report_recordings import MAX_BYTES, MOST, read_recordings, render_recordings

GIF = b"GIF89a and so on"


def written(folder: Path, name: str, content: bytes, *, second: int) -> None:
    (folder / name).write_bytes(content)
    os.utime(folder / name, (second, second))


def test_the_oldest_stands_first_and_animations_are_in_the_page(tmp_path: Path) -> None:
    written(tmp_path, "after.gif", GIF, second=2)
    written(tmp_path, "before.gif", GIF, second=1)
    written(tmp_path, "played.html", b"<!doctype html>", second=3)
    written(tmp_path, "notes.txt", b"no recording", second=4)
    section = render_recordings(read_recordings(tmp_path))
    assert section.index("before.gif") < section.index("after.gif") < section.index("played.html")
    assert section.count("data:image/gif;base64,R0lGODlh") == 2
    assert 'href="recordings/played.html"' in section
    assert "notes" not in section


def test_what_is_no_animation_or_too_large_is_only_linked_to(tmp_path: Path) -> None:
    written(tmp_path, "fake.gif", b"<script>", second=1)
    written(tmp_path, "large.gif", GIF + bytes(MAX_BYTES), second=2)
    section = render_recordings(read_recordings(tmp_path))
    assert "data:" not in section
    assert section.count("<a href=") == 2


def test_only_the_newest_are_shown_and_names_are_escaped(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        written(tmp_path, f"<b>{number:02}.gif", GIF, second=number)
    section = render_recordings(read_recordings(tmp_path))
    assert section.count("<img") == MOST
    assert "&lt;b&gt;03.gif" in section and "02.gif" not in section and "<b>" not in section


def test_a_run_without_recordings_has_no_such_section(tmp_path: Path) -> None:
    assert render_recordings(read_recordings(tmp_path / "recordings")) == ""
