"""A crash, a full disk or a flipped bit costs at most the training since the checkpoint before."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import entrain
from entrain.errors import CheckpointError, DiskError
from entrain.run import checkpoint, checkpoint_files
from entrain.run.checkpoint import CheckpointStore
from entrain.run.checkpoint_files import FORMAT

FILES = ("state.json", "arrays.safetensors", "manifest.json")


def state_of(step: int) -> dict[str, Any]:
    """A state that says which step it is of, in both files."""
    return {"step": step, "weights": np.full((3, 2), step, np.float32), "nested": {"none": None}}


def assert_is_state_of(state: Mapping[str, Any], step: int) -> None:
    assert state["step"] == step
    assert state["nested"] == {"none": None}
    np.testing.assert_array_equal(state["weights"], np.full((3, 2), step, np.float32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def store(folder: Path) -> CheckpointStore:
    """Holds the checkpoints of steps 100 and 200."""
    store = CheckpointStore(folder, keep=3)
    store.save(state_of(100), step=100)
    store.save(state_of(200), step=200)
    return store


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refuse(*arguments: object, **options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def die(*arguments: object, **options: object) -> NoReturn:
    raise SystemExit("the power is gone")


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def test_the_newest_is_loaded(store: CheckpointStore) -> None:
    loaded = store.load_newest()
    assert loaded.step == 200
    assert loaded.skipped == ()
    assert loaded.path == store.paths[0]
    assert_is_state_of(loaded.state, 200)


def test_a_fresh_store_finds_what_another_process_saved(
    store: CheckpointStore, folder: Path
) -> None:
    assert_is_state_of(CheckpointStore(folder, keep=1).load_newest().state, 200)


def test_a_checkpoint_is_three_files_that_a_person_can_name(
    store: CheckpointStore, folder: Path
) -> None:
    assert [path.name for path in store.paths] == ["0002-step-200", "0001-step-100"]
    assert {path.name for path in store.paths[0].iterdir()} == set(FILES)
    assert {path.name for path in folder.iterdir()} == {path.name for path in store.paths}


def test_the_manifest_has_the_digest_of_each_file(store: CheckpointStore) -> None:
    path = store.paths[0]
    manifest = json.loads((path / "manifest.json").read_text())
    assert (manifest["format"], manifest["step"]) == (FORMAT, 200)
    assert manifest["version"] == entrain.__version__
    for name in ("state.json", "arrays.safetensors"):
        content = (path / name).read_bytes()
        assert manifest["files"][name] == {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_checkpoint_can_be_read_by_others(store: CheckpointStore) -> None:
    assert store.paths[0].stat().st_mode & 0o755 == 0o755


def test_only_the_newest_stay(folder: Path) -> None:
    store = CheckpointStore(folder, keep=2)
    for step in (100, 200, 300, 400):
        store.save(state_of(step), step=step)
    assert [path.name for path in store.paths] == ["0004-step-400", "0003-step-300"]
    assert len(list(folder.iterdir())) == 2


def test_two_checkpoints_of_one_step_do_not_get_in_each_others_way(store: CheckpointStore) -> None:
    store.save({"second": True}, step=200)
    assert store.load_newest().state == {"second": True}


def test_the_thousandth_is_newer_than_the_ninth(folder: Path) -> None:
    store = CheckpointStore(folder, keep=2)
    newest = store.save(state_of(1), step=1)
    newest.rename(folder / "9999-step-1")
    store.save(state_of(2), step=2)
    assert [path.name for path in store.paths] == ["10000-step-2", "9999-step-1"]
    assert store.load_newest().step == 2


def test_what_is_no_checkpoint_is_left_alone(store: CheckpointStore, folder: Path) -> None:
    (folder / "notes").mkdir()
    (folder / "README.txt").write_text("mine")
    for step in (300, 400, 500):
        store.save(state_of(step), step=step)
    assert (folder / "notes").is_dir()
    assert (folder / "README.txt").read_text() == "mine"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["delete", "truncate", "empty", "grow", "replace"])
def test_a_damaged_one_is_named_and_the_one_before_it_is_used(
    store: CheckpointStore, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = store.paths[0] / name
    content = path.read_bytes()
    match damage:
        case "delete":
            path.unlink()
        case "truncate":
            path.write_bytes(content[:-1])
        case "empty":
            path.write_bytes(b"")
        case "grow":
            path.write_bytes(content + b"}")
        case "replace":
            path.write_bytes((store.paths[1] / name).read_bytes())
    with caplog.at_level(logging.WARNING):
        loaded = store.load_newest()
    assert loaded.step == 100
    assert_is_state_of(loaded.state, 100)
    assert [skip.path.name for skip in loaded.skipped] == ["0002-step-200"]
    assert "0002-step-200" in caplog.text
    # Whoever is to blame, the reason names a file.
    assert any(file in str(loaded.skipped[0]) for file in FILES)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_flipped_bits_are_ever_loaded(
    store: CheckpointStore, name: str, place: float, bits: int
) -> None:
    path = store.paths[0] / name
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[int(place * len(content))] ^= bits
    path.write_bytes(flipped)
    try:
        loaded = store.load_newest()
    finally:
        path.write_bytes(content)
    # Only the manifest's white space may change without harm.
    assert loaded.step == 100 or (name == "manifest.json" and loaded.step == 200)
    assert_is_state_of(loaded.state, loaded.step)


def test_every_byte_of_the_files_that_hold_the_state_is_guarded(store: CheckpointStore) -> None:
    for name in ("state.json", "arrays.safetensors"):
        path = store.paths[0] / name
        for position in range(path.stat().st_size):
            flip(path, position)
            assert store.load_newest().step == 100, f"{name}, byte {position}"
            flip(path, position)
    assert store.load_newest().step == 200


def test_a_changed_step_in_the_manifest_is_noticed(store: CheckpointStore) -> None:
    path = store.paths[0] / "manifest.json"
    path.write_text(path.read_text().replace('"step": 200', '"step": 900'))
    loaded = store.load_newest()
    assert loaded.step == 100
    assert "manifest.json is not what was written" in loaded.skipped[0].reason


def test_with_none_left_each_is_listed_with_its_reason(store: CheckpointStore) -> None:
    newest, oldest = store.paths
    (newest / "state.json").unlink()
    flip(oldest / "arrays.safetensors", -1)
    with pytest.raises(CheckpointError) as refusal:
        store.load_newest()
    assert str(refusal.value).splitlines()[1:] == [
        "  0002-step-200: state.json is missing",
        "  0001-step-100: arrays.safetensors is not what was written: its SHA-256 differs",
    ]


@pytest.mark.parametrize("made", [True, False])
def test_an_empty_folder_is_a_clear_refusal(folder: Path, made: bool) -> None:
    if made:
        folder.mkdir()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint in .*checkpoints"):
        CheckpointStore(folder, keep=1).load_newest()


def test_one_of_a_later_format_is_refused_and_not_passed_over(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_files, "FORMAT", FORMAT + 1)
        patch.setattr(checkpoint_files, "__version__", "9.8.7")
        store.save(state_of(300), step=300)
    said = r"0003-step-300 was written by entrain 9\.8\.7, in checkpoint format 3; .* format 2 only"
    with pytest.raises(CheckpointError, match=said):
        store.load_newest()


def test_after_going_on_from_an_older_one_new_ones_are_the_newest(store: CheckpointStore) -> None:
    (store.paths[0] / "state.json").unlink()
    assert store.load_newest().step == 100
    # Step 150 is less than the damaged 200, and yet it is what must be resumed.
    store.save(state_of(150), step=150)
    loaded = store.load_newest()
    assert (loaded.step, loaded.skipped) == (150, ())


def test_damaged_ones_do_not_push_valid_ones_out(folder: Path) -> None:
    store = CheckpointStore(folder, keep=2)
    store.save(state_of(100), step=100)
    store.save(state_of(200), step=200)
    (store.paths[0] / "manifest.json").unlink()
    store.load_newest()
    store.save(state_of(150), step=150)
    assert [path.name for path in store.paths] == [
        "0003-step-150",
        "0002-step-200",
        "0001-step-100",
    ]
    store.save(state_of(180), step=180)
    # The damaged one is older than the two to keep, and goes.
    assert [path.name for path in store.paths] == ["0004-step-180", "0003-step-150"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("known", [True, False])
def test_one_that_is_damaged_while_a_run_goes_on_never_counts_and_is_said_once(
    folder: Path, name: str, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(folder, keep=2)
    store.save(state_of(100), step=100)
    store.save(state_of(200), step=200)
    flip(store.paths[0] / name, 5)
    if not known:
        store = CheckpointStore(folder, keep=2)
    store.save(state_of(300), step=300)
    assert [path.name for path in store.paths] == [
        "0003-step-300",
        "0002-step-200",
        "0001-step-100",
    ]
    said = [line for line in caplog.messages if "0002-step-200 is damaged, and neither" in line]
    assert len(said) == 1
    # With two whole ones there is no need of the damaged one, nor of any that is older.
    store.save(state_of(400), step=400)
    assert [path.name for path in store.paths] == ["0004-step-400", "0003-step-300"]
    assert [line for line in caplog.messages if "is damaged" in line] == said


def test_what_is_kept_is_read_once_and_not_after_every_save(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CheckpointStore(folder, keep=3).save(state_of(100), step=100)
    reads: list[str] = []
    original = checkpoint_files.read_files

    def read_files(path: Path) -> Any:
        reads.append(path.name)
        return original(path)

    monkeypatch.setattr(checkpoint, "read_files", read_files)
    store = CheckpointStore(folder, keep=3)
    for step in (200, 300, 400, 500):
        store.save(state_of(step), step=step)
    assert reads == ["0001-step-100"]
    assert store.load_newest().step == 500


@pytest.mark.parametrize("failing", ["fsync", "rename", "mkdtemp"])
def test_a_disk_that_refuses_is_a_clear_error_and_changes_nothing(
    store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    before = contents(folder)
    with monkeypatch.context() as patch:
        if failing == "mkdtemp":
            patch.setattr(checkpoint.tempfile, failing, refuse)  # type: ignore[attr-defined]
        else:
            patch.setattr(os, failing, refuse)
        with pytest.raises(DiskError, match=r"step-300: No space left.*; make room on the disk at"):
            store.save(state_of(300), step=300)
    assert contents(folder) == before
    assert store.load_newest().step == 200
    store.save(state_of(300), step=300)
    assert store.load_newest().step == 300


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission_is_a_clear_error(store: CheckpointStore, folder: Path) -> None:
    folder.chmod(0o555)
    try:
        with pytest.raises(DiskError, match=r"Permission denied.*mend its permissions"):
            store.save(state_of(300), step=300)
    finally:
        folder.chmod(0o755)


def test_a_file_where_the_folder_should_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("not a folder")
    with pytest.raises(DiskError, match="cannot write the checkpoint"):
        CheckpointStore(tmp_path / "checkpoints", keep=1).save({}, step=1)


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_crash_before_the_rename_leaves_the_one_before(
    store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, moment, die)
        # A real crash cleans nothing up.
        patch.setattr(shutil, "rmtree", lambda path, **options: None)
        with pytest.raises(SystemExit):
            store.save(state_of(300), step=300)
    assert any(path.name.startswith(".saving-") for path in folder.iterdir())
    survivor = CheckpointStore(folder, keep=3)
    assert survivor.load_newest().step == 200
    survivor.save(state_of(300), step=300)
    assert not any(path.name.startswith(".") for path in folder.iterdir())


def test_a_crash_while_an_old_one_is_removed_leaves_no_damaged_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_in_part(path: Path, **options: object) -> NoReturn:
        (path / "state.json").unlink()
        die()

    store = CheckpointStore(folder, keep=1)
    store.save(state_of(100), step=100)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", remove_in_part)
        with pytest.raises(SystemExit):
            store.save(state_of(200), step=200)
    survivor = CheckpointStore(folder, keep=1)
    assert [path.name for path in survivor.paths] == ["0002-step-200"]
    assert survivor.load_newest().step == 200
    survivor.save(state_of(300), step=300)
    assert [path.name for path in folder.iterdir()] == ["0003-step-300"]


def test_an_old_one_that_cannot_be_removed_is_only_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(folder, keep=1)
    store.save(state_of(100), step=100)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(shutil, "rmtree", refuse)
        store.save(state_of(200), step=200)
    assert "0001-step-100 cannot be removed: No space left" in caplog.text
    assert store.load_newest().step == 200


def test_files_are_on_the_disk_before_the_checkpoint_has_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    sync, rename = os.fsync, os.rename

    def watch_sync(descriptor: int) -> None:
        happened.append("sync")
        sync(descriptor)

    def watch_rename(source: Path, target: Path) -> None:
        happened.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "rename", watch_rename)
    CheckpointStore(folder, keep=1).save(state_of(100), step=100)
    # Three files, and where there is such a thing their folder; then, last, the name itself.
    folders = 0 if os.name == "nt" else 1
    assert happened == ["sync"] * (3 + folders) + ["rename"] + ["sync"] * folders


def test_a_value_that_no_state_may_hold_writes_nothing(
    store: CheckpointStore, folder: Path
) -> None:
    before = contents(folder)
    with pytest.raises(TypeError, match="'policy' is a tuple"):
        store.save({"policy": (1, 2)}, step=300)
    assert contents(folder) == before


def test_a_later_change_of_a_loaded_state_does_not_reach_the_disk(store: CheckpointStore) -> None:
    store.load_newest().state["weights"][:] = -1.0
    assert_is_state_of(store.load_newest().state, 200)


def test_keeping_none_is_a_mistake(folder: Path) -> None:
    with pytest.raises(ValueError, match="keep is 0; at least one checkpoint must stay"):
        CheckpointStore(folder, keep=0)


def test_its_text_says_how_many_there_are(store: CheckpointStore) -> None:
    assert repr(store).endswith("checkpoints: 2 checkpoints>")
