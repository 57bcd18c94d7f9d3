"""What a supervisor remembers, on the disk."""

import errno
import json
import logging
from pathlib import Path

import pytest

from entrain.errors import ConfigError
from entrain.supervise import records
from entrain.supervise.records import Record, RecordFile


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    record = Record(name="walk", port=5, code=7, rest="given up", ended=3, words="a \u2028 word")
    RecordFile(tmp_path / "own" / "state.json").save({"walk": record})
    assert RecordFile(tmp_path / "own" / "state.json").load() == {"walk": record}
    assert RecordFile(tmp_path / "none.json").load() == {}


def test_fields_of_another_build_of_this_version_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"version": 1, "runs": {"walk": {"port": 5, "colour": "red"}}}')
    assert RecordFile(path).load() == {"walk": Record(name="walk", port=5)}


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused_and_stays_as_it_is(tmp_path: Path, version: object) -> None:
    path = tmp_path / "state.json"
    text = json.dumps({"version": version, "runs": {}})
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"has version .*, and this entrain reads and writes"):
        RecordFile(path).load()
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"version": 1}', '{"version": 1, "runs": {"a": {"port": "5"}}}', "\x00"],
)
def test_a_damaged_file_is_set_aside(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    assert RecordFile(path).load(sets_aside=False) == {}
    assert path.read_text() == text
    assert RecordFile(path).load() == {}
    assert (tmp_path / "state.json.damaged").read_text() == text
    assert "is damaged" in caplog.text


def test_a_full_disk_is_said_once_and_that_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "entrain")

    def refuse(path: Path, content: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = RecordFile(tmp_path / "state.json")
    with monkeypatch.context() as full:
        full.setattr(records, "replace_file", refuse)
        for port in range(3):
            file.save({"walk": Record(name="walk", port=port)})
    assert caplog.text.count("No space left on device") == 1
    file.save({"walk": Record(name="walk", port=2)})
    assert "is written again" in caplog.text
    assert RecordFile(tmp_path / "state.json").load()["walk"].port == 2


def test_what_did_not_change_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = RecordFile(tmp_path / "state.json")
    file.save({"walk": Record(name="walk")})
    monkeypatch.setattr(records, "replace_file", lambda *_: pytest.fail("written again"))
    file.save({"walk": Record(name="walk")})
