"""How many processors there are, and how many updates run on them at once."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from entrain.app.processors import available_processors
from entrain.app.threads import make_learners

PATIENCE_S = 10.0
"""Until an update is taken not to run: only a broken version takes so long."""


@pytest.fixture
def four_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8, 9}, raising=False)


@pytest.mark.usefixtures("four_processors")
@pytest.mark.parametrize(
    ("limit", "processors"),
    [
        pytest.param("max 100000\n", 4, id="no limit"),
        pytest.param("200000 100000\n", 2, id="two"),
        pytest.param("150000 100000\n", 2, id="one and a half"),
        pytest.param("1000 100000\n", 1, id="a hundredth"),
        pytest.param("0 100000\n", 1, id="nothing, which no kernel says"),
        pytest.param("900000 100000\n", 4, id="more than there are"),
        pytest.param("", 4, id="empty"),
        pytest.param("0 0\n", 4, id="no period"),
    ],
)
def test_a_container_gets_no_more_than_its_limit(
    tmp_path: Path, limit: str, processors: int
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit)
    assert available_processors(file) == processors


@pytest.mark.usefixtures("four_processors")
def test_without_containers_all_that_the_process_may_run_on_count(tmp_path: Path) -> None:
    assert available_processors(tmp_path / "nothing") == 4


@pytest.mark.parametrize(("count", "processors"), [(6, 6), (None, 1)])
def test_where_binding_is_unknown_all_of_the_machines_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None, processors: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert available_processors(tmp_path / "nothing") == processors


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Learners set the number that torch gives to new threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("threads", "processors", "computes_with"),
    [
        pytest.param(2, 2, 2, id="as many as there are"),
        pytest.param(3, 8, 3, id="fewer than there are"),
        pytest.param(4, 2, 2, id="more than there are"),
        pytest.param(2, 1, 1, id="one processor"),
    ],
)
def test_an_update_computes_with_its_threads_and_the_one_that_serves_as_before(
    threads: int, processors: int, computes_with: int
) -> None:
    torch.set_num_threads(1)
    with make_learners(threads, processors=processors) as learners:
        assert learners.submit(torch.get_num_threads).result() == computes_with
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("threads", "processors", "at_once"),
    [(1, 3, 3), (2, 2, 1), (2, 5, 2), (4, 2, 1), (2, 1, 1)],
)
def test_as_many_updates_run_at_once_as_have_processors_of_their_own(
    threads: int, processors: int, at_once: int
) -> None:
    running, gate = threading.Semaphore(0), threading.Event()

    def update() -> None:
        running.release()
        gate.wait()

    before = set(threading.enumerate())
    with make_learners(threads, processors=processors) as learners:
        updates = [learners.submit(update) for _ in range(at_once + 1)]
        are_running = [running.acquire(timeout=PATIENCE_S) for _ in range(at_once)]
        # Threads are begun when work is submitted, so there will be no more of them.
        begun = set(threading.enumerate()) - before
        gate.set()
    assert all(are_running)
    assert len(begun) == at_once
    assert all(update.done() for update in updates)
