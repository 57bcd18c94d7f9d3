"""A run folder that is deleted while its run goes on is written again, or the run ends."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from entrain.app.folder_keeper import FolderKeeper, Unkept
from entrain.config.load import load_config
from entrain.errors import DiskError, InUseError
from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock
from entrain.run.lock_owner import Owner

CONFIG = "seed: 3\n"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "runs", "walk")
    folder.write_config(CONFIG)
    assert folder.stem("Walker?team=0") == "Walker%3Fteam=0"
    return folder


@pytest.fixture
def lock(folder: RunFolder) -> Iterator[RunLock]:
    with folder.lock() as lock:
        yield lock


@pytest.fixture
def keeper(folder: RunFolder, lock: RunLock) -> FolderKeeper:
    return FolderKeeper(folder, lock, config=CONFIG)


def test_a_whole_folder_is_left_alone(
    folder: RunFolder, keeper: FolderKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    newest = folder.checkpoints / "0001-step-1"
    newest.mkdir()
    assert not keeper.look(None)
    assert not keeper.look(newest)
    assert not Unkept().look(newest)
    keeper.check()
    assert caplog.messages == []


@pytest.mark.parametrize(
    "delete",
    [
        lambda folder: shutil.rmtree(folder.path.parent),
        lambda folder: folder.path.rename(folder.path.with_name("moved")),
        lambda folder: folder.config.unlink(),
        lambda folder: shutil.rmtree(folder.checkpoints),
        lambda folder: (folder.checkpoints / "0001-step-1").rmdir(),
        lambda folder: (folder.path / "run.lock").unlink(),
    ],
    ids=["all runs", "moved", "config", "checkpoints", "the newest", "lock"],
)
def test_what_was_deleted_is_said_and_written_again(
    folder: RunFolder,
    keeper: FolderKeeper,
    lock: RunLock,
    caplog: pytest.LogCaptureFixture,
    delete: Callable[[RunFolder], object],
) -> None:
    newest = folder.checkpoints / "0001-step-1"
    newest.mkdir()
    delete(folder)
    assert keeper.look(newest)
    (said,) = caplog.messages
    assert ": deleted or moved away while the run goes on" in said
    assert folder.config.read_text() == CONFIG
    assert folder.checkpoints.is_dir()
    assert lock.is_in_place
    with pytest.raises(InUseError):
        RunFolder(folder.path).lock()
    assert RunFolder(folder.path).stem("Walker?team=0") == "Walker%3Fteam=0"
    assert not keeper.look(None)


def test_where_it_cannot_be_written_again_the_run_ends(
    folder: RunFolder, keeper: FolderKeeper
) -> None:
    shutil.rmtree(folder.path.parent)
    folder.path.parent.write_text("a file")
    with pytest.raises(DiskError, match="cannot write the run folder"):
        keeper.look(None)


def test_where_another_trainer_has_it_by_then_the_run_ends(
    folder: RunFolder, keeper: FolderKeeper, lock: RunLock
) -> None:
    lock_file = folder.path / "run.lock"
    lock_file.unlink()
    other = replace(Owner.this_process(), host="elsewhere", machine="another")
    lock_file.write_bytes(other.written())
    with pytest.raises(InUseError):
        keeper.look(None)


def test_a_change_is_written_down_beside_what_a_user_edited(
    folder: RunFolder, keeper: FolderKeeper
) -> None:
    setting = "environment_parameters.gravity=8"
    config = load_config(None, ["seed=3", setting])
    folder.write_config("seed: 3\ncheckpoints: {keep: 9}\n")
    keeper.configure(config, [setting])
    written = load_config(folder.config, [])
    assert (written.environment_parameters, written.checkpoints.keep) == ({"gravity": 8.0}, 9)
    # What is no configuration any more is written anew; so is one that was deleted.
    folder.write_config("seed: [\n")
    keeper.configure(config, [setting])
    assert load_config(folder.config, []) == config
    folder.config.unlink()
    assert keeper.look(None)
    assert load_config(folder.config, []) == config
