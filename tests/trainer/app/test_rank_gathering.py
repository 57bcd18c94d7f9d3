"""The end of a run waits for the states of all ranks as long as they come, and no longer."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from entrain.app.rank_gathering import LAST_S, LEAST_BYTES_PER_S, Gathering
from entrain.app.rank_messages import Message
from entrain.app.rank_state_parts import LAST, StatesOfRanks
from entrain.errors import EntrainError, RankFailedError, RankLostError
from entrain.run.state_files import encode_state

MIB = 1 << 20


class Clock:
    """Of the running event loop, which sees time pass only in `after`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._now_s = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self._now_s)

    async def after(self, seconds: float) -> None:
        """Let everybody do what is due by then."""
        for passed_s in (0.0, seconds):
            self._now_s += passed_s
            for _ in range(20):
                await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Hub:
    def __init__(self, size: int) -> None:
        self.states = StatesOfRanks(size)

    def keep(self, number: int, state: Any, *, num_bytes: int = 0) -> None:
        self.states.put(0, number, state, num_bytes=num_bytes)


class Link:
    """Of one rank; the network takes a state when the test says so."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_room = asyncio.Event()
        self.sent: list[bytes] = []

    async def send_state(self, number: int, pieces: Iterator[bytes], *, num_bytes: int) -> None:
        assert number == LAST
        await self.has_room.wait()
        self.sent.append(b"".join(pieces))
        assert len(self.sent[-1]) == num_bytes


def leading(size: int = 3) -> tuple[Gathering, StatesOfRanks]:
    """Rank 0, and where the states of the others come."""
    link: Any = Link()
    hub: Any = Hub(size)
    gathering = Gathering(link)
    gathering.hub = hub
    return gathering, hub.states


async def own_state(states: StatesOfRanks) -> None:
    """Wait until rank 0 has kept its own; its size is found in a thread."""
    while not states.num_bytes:
        await asyncio.sleep(0)


async def outcome(task: "asyncio.Task[Any]") -> str:
    """Of a task that has ended."""
    assert task.done(), "it still waits"
    with pytest.raises(EntrainError) as raised:
        await task
    return str(raised.value)


# Rank 0


async def test_a_state_that_comes_slowly_is_waited_for(clock: Clock) -> None:
    states = StatesOfRanks(2)
    states.put(0, LAST, "mine")
    waiting = asyncio.ensure_future(states.of_all(LAST, patience_s=LAST_S))
    for part in range(10):
        await clock.after(LAST_S - 1.0)
        assert not waiting.done()
        states.take(1, LAST, b"x", num_bytes=10, is_last=part == 9)
    await clock.after(0.0)
    assert await waiting == ["mine", b"x" * 10]
    assert states.num_bytes == 10


async def test_a_state_that_comes_no_further_is_told_of_with_what_has_come(clock: Clock) -> None:
    gathering, states = leading()
    waiting = asyncio.create_task(gathering.last_state(dict))
    await own_state(states)
    await clock.after(LAST_S - 1.0)
    states.take(1, LAST, bytes(3 * MIB), num_bytes=512 * MIB, is_last=False)
    await clock.after(LAST_S - 1.0)
    assert not waiting.done()
    await clock.after(2.0)
    # What rank 0 will have to write: its own state, too, of some bytes without an array.
    assert 3 * MIB + 8 < states.num_bytes < 3 * MIB + 100
    assert await outcome(waiting) == (
        "the end of the run awaits the state of rank 1 (3.0 of 512.0 MiB have come), rank 2 "
        "(nothing has come), and no more of it came for 120 s: nothing is saved, and the "
        "checkpoint before stands; see whether that rank still runs, and to the network between"
    )


async def test_a_failure_meanwhile_ends_the_waiting_with_its_reason(clock: Clock) -> None:
    for why in (None, RankFailedError("rank 1 failed: disk full", exit_code=3)):
        gathering, states = leading()
        waiting = asyncio.create_task(gathering.last_state(dict))
        await own_state(states)
        await clock.after(1.0)
        if why is not None:
            gathering.fail(why)
        states.end(is_failure=True)
        await clock.after(0.0)
        words = await outcome(waiting)
        assert words.startswith("rank 1 failed" if why else "the run failed before every rank had")


# The other ranks


class Following:
    """A rank that sends its last state and waits."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.link = Link()
        link: Any = self.link
        self.gathering = Gathering(link)
        state = {"x": np.zeros(3)}
        self.waiting = asyncio.create_task(self.gathering.send_last(lambda: state))
        self.expected = encode_state(state)

    async def has_sent(self) -> None:
        # Encoding is done in a thread.
        self.link.has_room.set()
        while not self.link.sent:
            await asyncio.sleep(0)
        document, tensors = self.expected
        assert self.link.sent == [len(document).to_bytes(8, "big") + document + tensors]

    def hear(self, num_bytes: int) -> None:
        self.gathering.note_saving(Message("saving", {"num_bytes": num_bytes}))


async def test_a_rank_waits_as_long_as_rank_0_receives_and_as_writing_may_take(
    clock: Clock,
) -> None:
    rank = Following(clock)
    await rank.has_sent()
    for come in range(5):
        await clock.after(LAST_S - 1.0)
        rank.hear(come)
    rank.hear(1000 * LEAST_BYTES_PER_S)
    await clock.after(LAST_S + 999.0)
    assert not rank.waiting.done()
    rank.gathering.conclude(Message("concluded", {"exit_code": 0, "reason": ""}))
    await clock.after(0.0)
    assert rank.waiting.done()
    await rank.waiting


async def test_a_rank_whose_rank_0_says_nothing_ends_with_what_had_come_there(
    clock: Clock,
) -> None:
    rank = Following(clock)
    await rank.has_sent()
    rank.hear(10 * MIB)
    await clock.after(LAST_S + 1.0)
    await clock.after(3.0)
    words = await outcome(rank.waiting)
    assert (
        "has not saved the run, and said nothing of it for 122 s; 10.0 MiB of the states" in words
    )


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            lambda it: it.gathering.conclude(
                Message("concluded", {"exit_code": 3, "reason": "disk full"})
            ),
            "rank 0 failed: disk full",
        ),
        (lambda it: it.gathering.fail(RankLostError("rank 2 was lost")), "rank 2 was lost"),
        (
            lambda it: it.link.lost.set_exception(RankLostError("gone")),
            "rank 0 was lost before it had saved the run",
        ),
    ],
    ids=["rank 0 fails", "another is lost", "rank 0 is lost"],
)
@pytest.mark.parametrize("has_sent", [True, False], ids=["sent", "the network takes nothing"])
async def test_how_the_waiting_of_a_rank_ends_otherwise(
    clock: Clock, end: Callable[[Following], None], words: str, *, has_sent: bool
) -> None:
    rank = Following(clock)
    if has_sent:
        await rank.has_sent()
    end(rank)
    if "rank 0 failed" in words:
        rank.link.has_room.set()
    while not rank.waiting.done():
        await asyncio.sleep(0)
    assert await outcome(rank.waiting) == words
