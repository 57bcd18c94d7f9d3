"""Threads for updates: how many at a time, and how many each computes with."""

import threading
from collections.abc import Iterator

import pytest
import torch

from entrain.app.threads import make_learners

PATIENCE_S = 10.0
"""Until an update is taken not to run: only a broken version takes so long."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Learners set torch's number for threads that are not begun yet."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


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
