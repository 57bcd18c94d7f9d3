"""What is read of a file later is what its digest was checked for, or an error."""

import hashlib
from pathlib import Path

import pytest

from entrain.errors import CheckpointError
from entrain.run import verified_file
from entrain.run.verified_file import VerifiedFile

CONTENT = bytes(range(23))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(verified_file, "BLOCK", 5)
    path = tmp_path / "arrays"
    path.write_bytes(CONTENT)
    return path


def test_every_part_is_read_across_blocks(path: Path) -> None:
    file = VerifiedFile(path)
    assert (file.num_bytes, file.sha256) == (23, hashlib.sha256(CONTENT).hexdigest())
    for begin in range(24):
        for end in range(begin, 30):
            assert file.read(begin, end) == CONTENT[begin:end]
    assert str(path) in repr(file)


def test_an_empty_file_has_nothing(path: Path) -> None:
    path.write_bytes(b"")
    assert VerifiedFile(path).read(0, 10) == b""


def test_what_has_changed_since_is_not_read(path: Path) -> None:
    file = VerifiedFile(path)
    path.write_bytes(CONTENT[:12] + b"x" + CONTENT[13:])
    assert file.read(0, 10) == CONTENT[:10]
    with pytest.raises(CheckpointError, match="has changed while it was read: its block 2"):
        file.read(8, 14)


def test_what_is_no_longer_there_is_told(path: Path) -> None:
    file = VerifiedFile(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read any more: No such file"):
        file.read(0, 1)
