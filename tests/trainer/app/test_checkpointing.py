"""Checkpoints are begun when they are due, one at a time, and the last one is the newest."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from entrain.app.checkpointing import Checkpointing
from entrain.errors import DiskError
from entrain.state import State

PATIENCE_S = 10.0
"""Until a write is taken not to end: only a broken version takes so long."""


class FakeStore:
    """Holds every write back until `let_go` is set; notes what was written."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.saved: list[int] = []
        self.failure: Exception | None = None
        self._is_writing = False

    def save(self, state: State, *, step: int) -> Path:
        assert not self._is_writing, "two writes at once"
        self._is_writing = True
        assert self.let_go.wait(PATIENCE_S)
        self._is_writing = False
        if self.failure is not None:
            raise self.failure
        assert state == {"env_steps": step}
        self.saved.append(step)
        return Path(f"step-{step}")


def state_at(env_steps: int) -> Callable[[], State]:
    return lambda: {"env_steps": env_steps}


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def schedule(store: FakeStore) -> Checkpointing:
    return Checkpointing(store, every_steps=100)


def never() -> State:
    raise AssertionError("no state is to be taken")


async def test_nothing_is_written_before_it_is_due(
    store: FakeStore, schedule: Checkpointing
) -> None:
    store.let_go.set()
    schedule.save_if_due(99, never)
    await schedule.finish()
    assert store.saved == []
    schedule.save_if_due(100, state_at(100))
    await schedule.finish()
    assert store.saved == [100]
    schedule.save_if_due(199, never)
    assert schedule.saved_at == 100


async def test_steps_count_from_the_checkpoint_that_a_run_goes_on_from(store: FakeStore) -> None:
    store.let_go.set()
    schedule = Checkpointing(store, every_steps=100, saved_at=150)
    schedule.save_if_due(249, never)
    schedule.save_if_due(250, state_at(250))
    await schedule.finish()
    assert store.saved == [250]


async def test_none_is_begun_while_another_is_written_and_the_next_is_not_forgotten(
    store: FakeStore, schedule: Checkpointing
) -> None:
    schedule.save_if_due(100, state_at(100))
    schedule.save_if_due(230, never)
    store.let_go.set()
    await schedule.finish()
    schedule.save_if_due(240, state_at(240))
    await schedule.finish()
    assert store.saved == [100, 240]


async def test_the_state_is_taken_when_a_checkpoint_begins_not_when_it_is_written(
    store: FakeStore, schedule: Checkpointing
) -> None:
    taken: list[int] = []

    def take_state() -> State:
        taken.append(1)
        return {"env_steps": 100}

    schedule.save_if_due(100, take_state)
    assert taken == [1]
    store.let_go.set()
    await schedule.finish()


async def test_the_last_one_waits_for_the_one_that_is_being_written(
    store: FakeStore, schedule: Checkpointing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "entrain.app.checkpointing")
    schedule.save_if_due(100, state_at(100))
    store.let_go.set()
    await schedule.save_last(120, state_at(120))
    assert store.saved == [100, 120]
    assert schedule.saved_at == 120
    assert caplog.messages == ["saved step-120"]


async def test_a_full_disk_on_the_way_is_logged_and_at_the_end_is_an_error(
    store: FakeStore, schedule: Checkpointing, caplog: pytest.LogCaptureFixture
) -> None:
    store.let_go.set()
    store.failure = DiskError("no space left")
    schedule.save_if_due(100, state_at(100))
    await schedule.finish()
    assert caplog.messages == ["no space left; training goes on"]
    with pytest.raises(DiskError, match="no space left"):
        await schedule.save_last(120, state_at(120))
