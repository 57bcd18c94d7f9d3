"""Whatever is in the files of a checkpoint: it is what was written, or the one before is used.

Digests find every accident. Here files are also changed and signed anew, as a person, a program or
a failing disk below a file system with digests of its own might do it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.run import state_files
from entrain.run.array_file import Source
from entrain.run.checkpoint import CheckpointStore
from entrain.run.checkpoint_files import ARRAYS, FILES, FORMAT, MANIFEST, STATE, read_files

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
DEEP = 100_000


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    """Holds the checkpoints of steps 100 and 200."""
    store = CheckpointStore(tmp_path / "checkpoints", keep=3)
    for step in (100, 200):
        store.save({"step": step, "weights": np.full(3, step), "rest": [1.5, {}]}, step=step)
    return store


def loaded_step(store: CheckpointStore) -> int:
    """Of the checkpoint that is used, which is exactly what was written."""
    loaded = store.load_newest()
    assert loaded.state["step"] == loaded.step
    assert loaded.state["rest"] == [1.5, {}]
    np.testing.assert_array_equal(loaded.state["weights"], np.full(3, loaded.step))
    return loaded.step


def signed(manifest: Any) -> bytes:
    """A manifest whose own digest is right, whatever is in it."""
    if isinstance(manifest, dict):
        rest = json.dumps({k: v for k, v in manifest.items() if k != "sha256"}, sort_keys=True)
        manifest = {**manifest, "sha256": hashlib.sha256(rest.encode()).hexdigest()}
    return json.dumps(manifest).encode()


def replace(path: Path, name: str, content: bytes) -> None:
    """Put `content` into a file of a checkpoint, and sign all of it."""
    (path / name).write_bytes(content)
    manifest = json.loads((path / MANIFEST).read_bytes())
    manifest["files"][name] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (path / MANIFEST).write_bytes(signed(manifest))


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**400, -1, 2**63, FORMAT, "$array", 0.0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3) | st.sampled_from(["bytes", "sha256", STATE, ARRAYS]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "change",
    [
        {"format": None},
        {"format": [2]},
        {"format": True},
        {"format": -3},
        {"format": 2.0},
        {"format": {"2": 2}},
        {"step": "200"},
        {"step": None},
        {"step": -1},
        {"step": 1e400},
        {"step": 10**30},
        {"step": [200]},
        {"files": None},
        {"files": ["state.json"]},
        {"files": {STATE: 5, ARRAYS: 6}},
        {"files": {STATE: {"bytes": "9", "sha256": ""}, ARRAYS: {}}},
        {"files": {STATE: {"bytes": 2, "sha256": None}}},
        {"files": {}},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_removed", [False, True])
def test_a_manifest_with_anything_in_it_is_damaged_and_the_one_before_is_used(
    store: CheckpointStore, change: dict[str, Any], is_removed: bool
) -> None:
    path = store.paths[0] / MANIFEST
    manifest = json.loads(path.read_bytes())
    for key, value in change.items():
        if is_removed:
            del manifest[key]
        else:
            manifest[key] = value
    path.write_bytes(signed(manifest))
    assert loaded_step(store) == 100


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b"\xff\xfe{\x00}\x00",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b'{"sha256": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"step": ' + b"9" * 10_000 + b"}",
        b'{"format": 2, "step": NaN}',
        b" " * (2 << 20) + b"{}",
    ],
    ids=lambda content: f"{content[:12]!r} of {len(content)}",
)
@pytest.mark.parametrize("name", FILES)
def test_a_file_with_anything_in_it_is_damaged_and_the_one_before_is_used(
    store: CheckpointStore, name: str, content: bytes
) -> None:
    path = store.paths[0]
    if name == MANIFEST:
        (path / name).write_bytes(content)
    else:
        replace(path, name, content)
    if name == STATE and content.strip() in {b"{}", "{}".encode("utf-16")}:
        assert store.load_newest().state == {}  # a state like any other
        return
    assert loaded_step(store) == 100


@FEW
@given(key=st.sampled_from(["format", "step", "files", "version", STATE, ARRAYS]), value=anything)
@example(key="format", value=3)
@example(key="version", value=[1])
def test_a_signed_manifest_never_gives_anything_else_than_a_state_or_a_refusal(
    store: CheckpointStore, key: str, value: Any
) -> None:
    path = store.paths[0] / MANIFEST
    before = path.read_bytes()
    manifest = json.loads(before)
    (manifest["files"] if key in FILES else manifest)[key] = value
    path.write_bytes(signed(manifest))
    try:
        store.load_newest()
    except CheckpointError as refusal:
        assert "format" in str(refusal)
        assert key == "format"
    finally:
        path.write_bytes(before)


def mutated(content: bytes, data: st.DataObject) -> bytes:
    """`content` with some bytes changed, cut out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(changed)))
        length = data.draw(st.integers(0, 9))
        what = data.draw(st.sampled_from(["cut", "double", "put in", "to the end"]))
        match what:
            case "cut":
                del changed[place : place + length]
            case "double":
                changed[place:place] = changed[place : place + length]
            case "put in":
                changed[place : place + length] = data.draw(st.binary(max_size=length))
            case "to the end":
                del changed[place:]
    return bytes(changed)


@settings(FEW, max_examples=120)
@given(name=st.sampled_from(FILES), data=st.data())
def test_any_accident_to_a_file_costs_no_more_than_the_newest(
    store: CheckpointStore, name: str, data: st.DataObject
) -> None:
    path = store.paths[0] / name
    before = path.read_bytes()
    path.write_bytes(mutated(before, data))
    try:
        assert loaded_step(store) in {100, 200}
    finally:
        path.write_bytes(before)


@settings(FEW, max_examples=120)
@given(name=st.sampled_from([STATE, ARRAYS]), data=st.data())
def test_files_that_were_changed_and_signed_anew_give_a_state_or_the_one_before(
    store: CheckpointStore, name: str, data: st.DataObject
) -> None:
    path = store.paths[0]
    before = {each: (path / each).read_bytes() for each in FILES}
    replace(path, name, mutated(before[name], data))
    try:
        assert isinstance(store.load_newest().state, dict)
    finally:
        for each, content in before.items():
            (path / each).write_bytes(content)


def tensors(header: Any, *, length: int | None = None, payload: bytes = bytes(24)) -> bytes:
    """A safetensors document with any header."""
    text = json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + payload


def entry(dtype: str = "I64", shape: Any = (3,), offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "document",
    [
        tensors({"weights": entry()}, length=2**63),
        tensors({"weights": entry()}, length=7),
        tensors({"weights": entry(shape=(2**40, 2**40))}),
        tensors({"weights": entry(offsets=(0, 2**62))}),
        tensors({"weights": entry(offsets=(24, 0))}),
        tensors({"weights": entry(dtype="F8_E4M3", shape=(24,))}),
        tensors({"weights": entry(dtype="BF16", shape=(12,))}),
        tensors({"weights": entry(dtype="X", shape=(24,))}),
        tensors({"weights": entry(shape=(-3,))}),
        tensors({"weights": [1, 2]}),
        tensors({"else": entry()}),
        tensors([]),
        tensors({"weights": entry()})[:-1],
        safetensors.numpy.save({"else": np.zeros(3)}),
    ],
    ids=lambda document: str(document[8:70]),
)
def test_arrays_with_wrong_shapes_types_and_lengths_are_damage(
    store: CheckpointStore, document: bytes
) -> None:
    replace(store.paths[0], ARRAYS, document)
    assert loaded_step(store) == 100


@pytest.mark.parametrize(
    "document",
    [
        {"$array": 5},
        {"a": {"$array": ["weights"]}},
        {"a": {"$scalar": "weights"}},
        {"a": {"$bytes": "weights"}},
        {"a": {"$float": "1"}},
        {"a": {"$float": []}},
        {"a": {"$other": "weights"}},
        {"a": {"$array": "weights", "b": 1}},
        {"a": {"$array": "no such array"}},
    ],
    ids=str,
)
def test_a_document_that_says_what_cannot_be_is_damage(
    store: CheckpointStore, document: Any
) -> None:
    replace(store.paths[0], STATE, json.dumps(document).encode())
    assert loaded_step(store) == 100


@pytest.mark.parametrize("content", [b'{"a": 1, "a": 2}', b'{"a": NaN}', b'{"a": -Infinity}'])
def test_a_document_that_is_not_strict_json_is_damage(
    store: CheckpointStore, content: bytes
) -> None:
    replace(store.paths[0], STATE, content)
    assert loaded_step(store) == 100


@pytest.fixture(params=["folder", "pipe", "loop", "device", "gone"])
def odd_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """What is not a file at all, under a name of its own."""
    path = tmp_path / "odd"
    match request.param:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path)
        case "device":
            path.symlink_to("/dev/zero")
    yield path


@pytest.mark.skipif(os.name == "nt", reason="pipes and devices in folders are POSIX")
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_damage_and_is_not_waited_for(
    store: CheckpointStore, name: str, odd_file: Path
) -> None:
    path = store.paths[0] / name
    path.unlink()
    if odd_file.exists() or odd_file.is_symlink():
        odd_file.rename(path)
    # The loop leads to its former name, which is not there any more.
    assert loaded_step(store) == 100


def test_a_file_in_the_place_of_the_folder_is_damage(store: CheckpointStore) -> None:
    path = store.paths[0]
    shutil.rmtree(path)
    path.write_text("a file")
    assert loaded_step(store) == 100


@pytest.mark.parametrize("number", ["9" * 200, "\u0663"])
def test_names_that_no_checkpoint_has_are_left_alone(store: CheckpointStore, number: str) -> None:
    (store.paths[0].parent / f"{number}-step-300").mkdir()
    assert loaded_step(store) == 200
    assert store.save({}, step=300).name == "0003-step-300"


def test_a_file_that_may_not_be_read_is_no_damage(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(CheckpointError, match=r"cannot be read: Permission denied; let this"):
            store.load_newest()
    assert loaded_step(store) == 200


def test_memory_that_does_not_suffice_is_no_damage(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(_source: Source) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(state_files, "read_arrays", too_much)
        with pytest.raises(CheckpointError, match="needs more memory than there is"):
            store.load_newest()
    assert loaded_step(store) == 200


def test_problems_are_listed_whatever_they_are(store: CheckpointStore) -> None:
    path = store.paths[0] / MANIFEST
    path.write_bytes(signed({"format": {}, "step": []}))
    newest, before = store.problems().values()
    assert (newest, before) == ("manifest.json says no format", "")
    assert read_files(store.paths[1])[0] == 100
