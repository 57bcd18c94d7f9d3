"""Files that pretend to be a `checkpoint.pt`: refused in one line, and nothing in them is run."""

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from entrain.errors import CheckpointError
from entrain.unity.models.stock_checkpoint import load_stock_checkpoint

WHOLE = Path(__file__).parents[2] / "cases" / "stock_run" / "3DBall" / "checkpoint.pt"


class Hostile:
    """Would run a command if it were unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_nothing_in_a_hostile_file_is_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"Policy": Hostile()}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="holds more than tensors") as told:
        load_stock_checkpoint(tmp_path)
    assert "\n" not in str(told.value)
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_tensors_that_feign_a_size_are_refused(tmp_path: Path) -> None:
    content = {"Policy": {"huge": torch.zeros(1).expand(10**12)}}
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="no tensors under 'Policy'"):
        load_stock_checkpoint(tmp_path)


def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole = WHOLE.read_bytes()
    for content in (b"", b"rubbish", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged"):
            load_stock_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"rubbish")
    with pytest.raises(CheckpointError, match="or is damaged"):
        load_stock_checkpoint(path)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_stock_checkpoint(tmp_path / "none.pt")
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds a list"):
        load_stock_checkpoint(path)
    with pytest.raises(CheckpointError, match="is no file"):
        load_stock_checkpoint(Path(os.devnull))


def archive(path: Path, pickle: bytes, records: dict[str, bytes], *, kind: int = 0) -> Path:
    """A file like one of torch.save, with this pickle."""
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in {"data.pkl": pickle, "version": b"3\n", **records}.items():
            file.writestr(f"archive/{name}", content)
    return path


def test_a_pickle_that_asks_for_memory_is_not_loaded(tmp_path: Path) -> None:
    # bytearray(10**12), which torch's restricted loader would make.
    asks = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85R."
    path = archive(tmp_path / "checkpoint.pt", asks, {})
    with pytest.raises(CheckpointError, match=r"it asks for builtins\.bytearray"):
        load_stock_checkpoint(path)
    by_stack = b"\x80\x04\x8c\x02os\x8c\x06system\x93."
    with pytest.raises(CheckpointError, match="it asks for STACK_GLOBAL"):
        load_stock_checkpoint(archive(path, by_stack, {}))


def test_an_archive_that_unpacks_to_more_than_itself_is_not_unpacked(tmp_path: Path) -> None:
    zeros = {"data/0": bytes(50_000_000)}
    path = archive(tmp_path / "checkpoint.pt", b"}.", zeros, kind=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"unpacks to 50,000,\d+ bytes in 3 parts"):
        load_stock_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"data\.pkl has 4,194,305 bytes"):
        load_stock_checkpoint(archive(path, bytes(2**22 + 1), {}))


def test_a_list_of_parts_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path, "w") as file:
        # Empty parts, and 5 MB of words about them, which are read with the list.
        for number in range(80):
            part = zipfile.ZipInfo(f"archive/data/{number}")
            part.comment = bytes(65535)
            file.writestr(part, b"")
    with pytest.raises(CheckpointError, match=r"it lists its parts in 5,2\d\d,\d\d\d bytes"):
        load_stock_checkpoint(path)


def test_a_tensor_that_claims_more_than_its_record_holds_is_refused(tmp_path: Path) -> None:
    torch.save({"Policy": {"a": torch.arange(4.0)}}, tmp_path / "small.pt")
    with zipfile.ZipFile(tmp_path / "small.pt") as small:
        pickle, record = small.read("small/data.pkl"), small.read("small/data/0")
    # Four numbers become 1000, in the storage and in the tensor.
    claims = pickle.replace(b"K\x04t", b"M\xe8\x03t").replace(b"K\x04\x85", b"M\xe8\x03\x85")
    path = archive(tmp_path / "checkpoint.pt", claims, {"data/0": record, "byteorder": b"little"})
    with pytest.raises(CheckpointError, match="or is damaged, and was not loaded"):
        load_stock_checkpoint(path)
