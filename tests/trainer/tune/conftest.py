"""Tests of tunings wait for no disk, and make the tables of their databases once."""

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entrain.tune.folder import TuningFolder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One without a study."""
    path = tmp_path_factory.mktemp("optuna") / "study.db"
    storages = importlib.import_module("optuna").storages
    storages.RDBStorage(f"sqlite:///{path}").remove_session()
    return path


@pytest.fixture(autouse=True)
def _databases_are_quick(monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Iterator[None]:
    alchemy = importlib.import_module("sqlalchemy")
    engine = importlib.import_module("sqlalchemy.engine").Engine
    make = TuningFolder.make

    def make_with_tables(folder: TuningFolder) -> None:
        make(folder)
        if not folder.study.exists():
            shutil.copyfile(empty_database, folder.study)

    def on_connect(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    monkeypatch.setattr("os.fsync", lambda _descriptor: None)
    monkeypatch.setattr(TuningFolder, "make", make_with_tables)
    alchemy.event.listen(engine, "connect", on_connect)
    yield
    alchemy.event.remove(engine, "connect", on_connect)
