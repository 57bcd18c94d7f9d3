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


class Clock:
    """Seconds, as the test says."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(store: FakeStore, clock: Clock) -> Checkpointing:
    """Writes at once: every 1,000 steps or 600 seconds."""
    store.let_go.set()
    return Checkpointing(store, every_steps=1000, every_s=600.0, clock=clock)


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
    assert caplog.messages == ["no space left; training goes on, and it is tried again every 30 s"]
    with pytest.raises(DiskError, match="no space left"):
        await schedule.save_last(120, state_at(120))


async def test_the_first_comes_after_the_first_update_and_later_updates_wait(
    store: FakeStore, timed: Checkpointing
) -> None:
    timed.save_if_due(20, never)
    timed.note_update()
    timed.save_if_due(20, state_at(20))
    await timed.finish()
    timed.note_update()
    timed.save_if_due(40, never)
    assert store.saved == [20]


async def test_without_an_update_the_first_comes_a_minute_after_the_first_step(
    store: FakeStore, timed: Checkpointing, clock: Clock
) -> None:
    clock.now_s = 500.0
    timed.save_if_due(0, never)
    timed.save_if_due(1, never)
    clock.now_s = 559.0
    timed.save_if_due(5, never)
    clock.now_s = 560.0
    timed.save_if_due(5, state_at(5))
    await timed.finish()
    assert store.saved == [5]


async def test_a_resumed_run_writes_its_first_one_early_too(store: FakeStore, clock: Clock) -> None:
    # Else one that is killed every few minutes would never come further.
    store.let_go.set()
    resumed = Checkpointing(store, every_steps=1000, every_s=600.0, saved_at=20, clock=clock)
    clock.now_s = 100.0
    resumed.save_if_due(20, never)
    resumed.save_if_due(30, never)
    resumed.note_update()
    resumed.save_if_due(40, state_at(40))
    await resumed.finish()
    assert store.saved == [40]


async def test_checkpoints_come_by_time_if_that_is_earlier_and_only_if_something_was_done(
    store: FakeStore, clock: Clock
) -> None:
    store.let_go.set()
    timed = Checkpointing(store, every_steps=1000, every_s=600.0, saved_at=50, clock=clock)
    timed.note_update()
    timed.save_if_due(55, state_at(55))
    await timed.finish()
    clock.now_s = 599.0
    timed.save_if_due(60, never)
    clock.now_s = 600.0
    timed.save_if_due(55, never)
    timed.save_if_due(60, state_at(60))
    await timed.finish()
    clock.now_s = 1199.0
    timed.save_if_due(80, never)
    timed.save_if_due(1060, state_at(1060))
    await timed.finish()
    assert store.saved == [55, 60, 1060]


class Keeper:
    """Finds the folder deleted, once."""

    def __init__(self) -> None:
        self.is_deleted = True
        self.newest: list[Path | None] = []

    def look(self, newest: Path | None) -> bool:
        self.newest.append(newest)
        was_deleted, self.is_deleted = self.is_deleted, False
        return was_deleted

    def check(self) -> None:
        raise AssertionError("the store is a fake")


async def test_after_the_folder_was_deleted_one_is_due_at_once(store: FakeStore) -> None:
    store.let_go.set()
    keeper = Keeper()
    schedule = Checkpointing(store, every_steps=1000, saved_at=5, keeper=keeper)
    schedule.save_if_due(5, never)
    schedule.look()
    schedule.save_if_due(5, state_at(5))
    await schedule.finish()
    schedule.look()
    schedule.save_if_due(5, never)
    assert store.saved == [5]
    assert keeper.newest == [None, Path("step-5")]


async def test_a_disk_that_refuses_is_said_once_tried_again_and_said_to_be_well(
    store: FakeStore, timed: Checkpointing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "entrain.app.checkpointing")
    store.failure = DiskError("no space left")
    for env_steps in (1000, 1010):
        timed.save_if_due(env_steps, state_at(env_steps))
        await timed.finish()
        clock.now_s += 29.0
        timed.save_if_due(env_steps + 5, never)
        clock.now_s += 1.0
    assert timed.saved_at == 0
    store.failure = None
    timed.save_if_due(1020, state_at(1020))
    await timed.finish()
    assert timed.saved_at == 1020
    assert caplog.messages == [
        "no space left; training goes on, and it is tried again every 30 s",
        "checkpoints can be written again: step-1020",
    ]
