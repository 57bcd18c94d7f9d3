"""The log of a run never fails whoever logs, and comes back after its disk was full."""

import errno
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from entrain.run.log_lines import LogFile, logging_to


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test of the log file")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    logger.propagate = True


def full_disk(*_arguments: Any, **_options: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_once_and_lines_go_on_when_there_is_room(
    tmp_path: Path,
    log: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "log.txt"
    with logging_to(path, log):
        log.info("one")
        with monkeypatch.context() as patch:
            patch.setattr(LogFile, "flush", full_disk)
            log.info("two")
            log.info("three")
        log.info("four")
        log.info("five")
    said = capsys.readouterr().err
    assert said == f"WARN  {path} cannot be written: [Errno 28] No space left on device\n"
    *_, four, again, five = path.read_text().splitlines()
    assert four.endswith(" four")
    assert again.endswith(" this file can be written again; lines that are left out: 2")
    assert five.endswith(" five")


def test_a_log_that_is_deleted_is_made_anew_and_one_without_its_folder_waits(
    tmp_path: Path, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "log.txt"
    with logging_to(path, log):
        log.info("one")
        path.unlink()
        log.info("two")
        assert path.read_text().endswith("two\n")
        shutil.rmtree(folder)
        log.info("three")
        folder.mkdir()
        log.info("four")
    assert "four\n" in path.read_text()
    assert "log.txt cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has this device")
def test_a_disk_that_stays_full_fails_neither_lines_nor_the_end(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to(Path("/dev/full"), log):
        for number in range(1000):
            log.info("line %d of which nothing may wait in a buffer", number)
    assert capsys.readouterr().err.count("/dev/full cannot be written: [Errno 28]") == 1
