"""Processes of runs that outlive whoever started them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from entrain.run.lock_owner import Owner, process_began
from entrain.supervise import processes
from entrain.supervise.commands import Commands
from entrain.supervise.files import Directory
from entrain.supervise.processes import Living, bound_output, found_again, holder, process_of, start
from support.command import is_running, until
from support.served_runs import STAND_IN

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes")


def test_a_run_is_started_found_again_by_its_lock_and_saves_when_it_is_asked(
    tmp_path: Path,
) -> None:
    (tmp_path / "walk.yaml").write_text("seed: 1\n")
    commands = Commands(
        tmp_path / "runs",
        host="localhost",
        page_host=None,
        program=[sys.executable, str(STAND_IN)],
    )
    file = Directory(tmp_path).look()["walk"]
    (tmp_path / "output").mkdir()
    mark = str(tmp_path / "runs")
    child = start(commands.train(file, 50100), output=tmp_path / "output" / "walk.txt", mark=mark)
    lock = commands.folder("walk").lock_file
    try:
        assert os.getsid(child.pid) == child.pid
        again = found_again(child.pid, child.began)
        assert again is not None
        assert not again.has_ended
        until(lambda: holder(lock) is not None)
        owner = holder(lock)
        assert owner is not None
        for expected, its_mark in ((True, mark), (False, "/another/directory")):
            found = process_of(owner, lock, its_mark, is_own=False)
            assert found is not None
            assert (found.pid, found.is_own) == (child.pid, expected)
        again.ask_to_end()
        until(lambda: child.has_ended)
        assert (child.code, again.code, again.has_ended) == (0, None, True)
        assert found_again(child.pid, child.began) is None
    finally:
        child.kill()


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    assert found_again(os.getpid(), "1") is None
    assert found_again(0, "1") is None
    mine = found_again(os.getpid(), process_began(os.getpid()))
    assert mine is not None


def test_an_end_by_force_reaches_what_the_run_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    living = start(["sh", "-c", script], output=tmp_path / "o.txt", mark="m")
    path = tmp_path / "pid"
    until(lambda: path.exists() and bool(path.read_text().strip()))
    living.kill()
    until(lambda: living.has_ended)
    assert living.code == -signal.SIGKILL
    until(lambda: not is_running(int(path.read_text())))


def test_what_a_run_prints_is_bounded_and_goes_on_at_its_new_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MOST_OUTPUT_BYTES", 10)
    path = tmp_path / "walk.txt"
    with path.open("ab", buffering=0) as words:
        words.write(b"0123456789")
        bound_output(path)
        assert path.read_bytes() == b"0123456789"
        words.write(b"x")
        bound_output(path)
        words.write(b"new")
    assert path.read_bytes() == b"new"


def test_one_who_lost_the_lock_is_no_process_of_the_run_any_more(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    mine = Living(os.getpid(), process_began(os.getpid()), is_own=False, lock=lock)
    lock.write_bytes(Owner.this_process().written())
    assert not mine.has_ended
    lock.write_bytes(b"")
    assert mine.has_ended
