"""When a batch is due, and who is in it: by hand, with a clock that stands still."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.run import ServerConfig
from entrain.serving.batch import Reply, Request, RequestBatch, Unanswered
from entrain.serving.batcher import RequestBatcher
from entrain.serving.behaviours import no_rows
from entrain.serving.slots import SlotTable
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from support.world import reply_now

SPEC = BehaviourSpec("walker", (ObservationSpec("eyes", ()),), ActionSpec((-1.0,), (1.0,)))


class Asker:
    """Counts the actions that it is given."""

    def __init__(self, owner: str, answered: list[str], *, is_connected: bool = True) -> None:
        self._owner = owner
        self._answered = answered
        self._is_connected = is_connected
        self.given: list[int] = []
        self.taken: list[Callable[[], None]] = []

    def answer(
        self, behaviour: str, step_number: int, actions: ActionBatch, taken: Callable[[], None]
    ) -> bool:
        self._answered.append(self._owner)
        self.given.append(len(actions))
        self.taken.append(taken)
        return self._is_connected


class Queue:
    """A batcher, and the answers that its requests got."""

    def __init__(self, timers: Any, **options: Any) -> None:
        self.slots = SlotTable()
        self.batcher = RequestBatcher(
            SPEC,
            self.slots,
            ServerConfig(**options),
            clock=timers.clock,
            call_later=timers.call_later,
        )
        self.answered: list[str] = []
        self.askers: dict[str, Asker] = {}

    def join(self, *owners: str) -> None:
        for owner in owners:
            self.batcher.join(owner)

    def submit(self, owner: str, *, num_rows: int = 1, is_connected: bool = True) -> None:
        asker = self.askers[owner] = Asker(owner, self.answered, is_connected=is_connected)
        timesteps = TimestepBatch(
            agent_id=np.arange(num_rows),
            step_type=np.full(num_rows, StepType.FIRST, np.uint8),
            reward=np.zeros(num_rows, np.float32),
            observation={"eyes": np.zeros(num_rows, np.float32)},
            action_mask=np.empty((num_rows, 0), np.bool_),
        )
        self.batcher.submit(
            Request(
                owner=owner,
                asker=asker,
                rank=(owner, 0),
                behaviour="walker",
                step_number=1,
                timesteps=timesteps if num_rows else no_rows(SPEC),
                num_actions=num_rows,
            )
        )

    def take(self) -> RequestBatch:
        assert self.batcher.is_due
        return self.batcher.take()

    def serve(self) -> list[str]:
        """Answer the batch that is due; says whose rows were in it."""
        batch = self.take()
        self.answered.clear()
        reply_now(batch, actions(batch.num_actions))
        return list(self.answered)


def actions(count: int) -> ActionBatch:
    return ActionBatch(np.zeros((count, 1), np.float32), np.empty((count, 0), np.int32), 0)


@pytest.fixture
def greedy(timers: Any) -> Queue:
    queue = Queue(timers, max_wait_s=0.005, max_batch=10)
    queue.batcher.open()
    return queue


@pytest.fixture
def lockstep(timers: Any) -> Queue:
    queue = Queue(timers, max_wait_s=0.005, max_batch=10, lockstep=True)
    queue.batcher.open()
    return queue


def test_greedy_serves_at_once_when_everyone_waits(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("right")
    assert not greedy.batcher.is_due
    greedy.submit("left")
    assert greedy.serve() == ["right", "left"]
    assert not greedy.batcher.is_due


def test_greedy_serves_who_is_there_when_the_oldest_has_waited_long_enough(
    greedy: Queue, timers: Any
) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    timers.pass_time(0.004)
    assert not greedy.batcher.is_due
    timers.pass_time(0.001)
    assert greedy.serve() == ["left"]


def test_the_wait_counts_from_the_oldest_request(greedy: Queue, timers: Any) -> None:
    greedy.join("a", "b", "c")
    greedy.submit("a")
    timers.pass_time(0.004)
    greedy.submit("b")
    timers.pass_time(0.001)
    assert greedy.serve() == ["a", "b"]
    greedy.submit("c")
    assert not greedy.batcher.is_due


def test_greedy_serves_at_once_when_enough_rows_wait(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left", num_rows=9)
    assert not greedy.batcher.is_due
    greedy.join("middle")
    greedy.submit("middle", num_rows=1)
    assert greedy.serve() == ["left", "middle"]


def test_nothing_is_due_before_the_expected_simulators_joined(timers: Any) -> None:
    queue = Queue(timers)
    queue.join("left")
    queue.submit("left")
    timers.pass_time(1.0)
    assert not queue.batcher.is_due
    queue.batcher.open()
    assert queue.serve() == ["left"]


def test_greedy_no_longer_waits_for_a_simulator_whose_stream_broke(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.batcher.detach("right")
    assert greedy.serve() == ["left"]


def test_the_request_of_a_simulator_whose_stream_broke_is_served(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.batcher.detach("left")
    assert not greedy.batcher.is_due
    greedy.submit("right")
    assert greedy.serve() == ["left", "right"]


def test_greedy_waits_again_for_one_that_came_back(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.batcher.detach("right")
    greedy.batcher.attach("right")
    greedy.submit("left")
    assert not greedy.batcher.is_due


def test_one_that_comes_back_while_its_request_waits_is_not_waited_for(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("right")
    greedy.batcher.detach("right")
    greedy.batcher.attach("right")
    greedy.submit("left")
    assert greedy.serve() == ["right", "left"]


@pytest.mark.parametrize("mode", ["greedy", "lockstep"])
def test_what_a_simulator_that_left_was_waiting_for_is_withdrawn(
    mode: str, request: pytest.FixtureRequest
) -> None:
    queue: Queue = request.getfixturevalue(mode)
    queue.join("left", "right")
    queue.submit("left")
    queue.batcher.leave("left")
    assert not queue.batcher.is_due
    queue.submit("right")
    assert queue.serve() == ["right"]


@pytest.mark.parametrize("mode", ["greedy", "lockstep"])
def test_those_who_wait_are_served_when_the_one_they_waited_for_leaves(
    mode: str, request: pytest.FixtureRequest
) -> None:
    queue: Queue = request.getfixturevalue(mode)
    queue.join("left", "right")
    queue.submit("left")
    queue.batcher.leave("right")
    assert queue.serve() == ["left"]


def test_lockstep_waits_for_all_however_long_and_however_many_rows(
    lockstep: Queue, timers: Any
) -> None:
    lockstep.join("left", "right")
    lockstep.submit("left", num_rows=1000)
    timers.pass_time(1000.0)
    assert not lockstep.batcher.is_due
    lockstep.submit("right")
    assert lockstep.batcher.is_due


def test_lockstep_waits_for_a_simulator_whose_stream_broke(lockstep: Queue) -> None:
    lockstep.join("left", "right")
    lockstep.submit("left")
    lockstep.batcher.detach("right")
    assert not lockstep.batcher.is_due
    lockstep.batcher.attach("right")
    lockstep.submit("right")
    assert lockstep.serve() == ["left", "right"]


def test_lockstep_waits_for_restored_simulators(lockstep: Queue) -> None:
    lockstep.batcher.restore("left")
    lockstep.join("right")
    lockstep.submit("right")
    assert not lockstep.batcher.is_due
    lockstep.batcher.attach("left")
    lockstep.submit("left")
    assert lockstep.serve() == ["left", "right"]


@settings(max_examples=30, deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.permutations(["a", "b", "c", "d"]))
def test_lockstep_batches_are_the_same_whatever_the_order_of_arrival(
    joining: list[str], arriving: list[str]
) -> None:
    class Still:
        clock = staticmethod(lambda: 0.0)
        call_later = staticmethod(lambda _delay_s, _callback: None)

    queue = Queue(Still, lockstep=True)
    queue.batcher.open()
    queue.join(*joining)
    for owner in arriving:
        queue.submit(owner, num_rows=1 + "abcd".index(owner))
    timesteps = queue.take().timesteps
    assert timesteps.slot.tolist() == list(range(10))
    assert timesteps.timesteps.agent_id.tolist() == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]


def test_requests_without_rows_are_answered_without_a_batch(lockstep: Queue) -> None:
    lockstep.join("left", "right")
    lockstep.submit("left", num_rows=0)
    assert lockstep.answered == []
    lockstep.submit("right", num_rows=0)
    assert sorted(lockstep.answered) == ["left", "right"]
    assert not lockstep.batcher.is_due


def test_a_request_without_rows_completes_a_batch(lockstep: Queue) -> None:
    lockstep.join("left", "right")
    lockstep.submit("left")
    lockstep.submit("right", num_rows=0)
    assert lockstep.serve() == ["left", "right"]


def unanswered(queue: Queue) -> Unanswered | None:
    return queue.batcher.unanswered


def test_no_second_batch_is_due_while_one_is_out(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.submit("right")
    batch = greedy.take()
    assert unanswered(greedy) is batch
    assert greedy.batcher.owes("left")
    assert not greedy.batcher.owes("nobody")
    greedy.batcher.leave("left")
    greedy.join("late")
    greedy.submit("late")
    greedy.batcher.detach("right")
    assert not greedy.batcher.is_due
    reply_now(batch, actions(2))
    assert unanswered(greedy) is None
    assert greedy.serve() == ["late"]


def test_a_batch_that_was_out_at_a_checkpoint_is_answered_first(greedy: Queue) -> None:
    asker = Asker("left", [])
    greedy.batcher.restore_unanswered([Reply("left", asker, "walker", 1, 2)])
    greedy.join("right")
    greedy.submit("right")
    assert not greedy.batcher.is_due
    owed = unanswered(greedy)
    assert owed is not None
    reply_now(owed, actions(2))
    assert asker.given == [2]
    assert greedy.serve() == ["right"]


def test_a_simulator_that_leaves_gives_its_slots_back_in_the_next_batch(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left", num_rows=2)
    greedy.submit("right")
    greedy.serve()
    greedy.batcher.leave("left")
    greedy.submit("right")
    assert greedy.take().timesteps.released.tolist() == [0, 1]


async def next_of(queue: Queue) -> asyncio.Task[RequestBatch]:
    """A consumer that waits for the next batch."""
    task = asyncio.ensure_future(anext(queue.batcher))
    await settle()
    return task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def replying(queue: Queue) -> asyncio.Task[None]:
    """A consumer that answers the batch that is due, and waits until an answer is taken."""
    batch = queue.take()
    task = asyncio.ensure_future(batch.reply(actions(batch.num_actions)))
    await settle()
    return task


async def test_a_reply_waits_until_a_transport_took_one_of_its_answers(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.submit("right")
    reply = await replying(greedy)
    assert not reply.done()
    greedy.askers["right"].taken[0]()
    await reply


async def test_an_answer_of_an_earlier_batch_that_is_taken_late_does_not_count(
    greedy: Queue,
) -> None:
    greedy.join("left")
    greedy.submit("left")
    greedy.serve()
    earlier = greedy.askers["left"].taken[0]
    greedy.submit("left")
    reply = await replying(greedy)
    earlier()
    await settle()
    assert not reply.done()
    greedy.askers["left"].taken[0]()
    await reply


async def test_an_answer_that_is_taken_at_once_is_not_waited_for(greedy: Queue) -> None:
    class AtOnce(Asker):
        def answer(self, *arguments: Any) -> bool:
            arguments[-1]()
            return True

    batch = Unanswered([Reply("left", AtOnce("left", []), "walker", 1, 2)], greedy.batcher)
    await asyncio.wait_for(batch.reply(actions(2)), 1.0)


async def test_a_reply_waits_for_nobody_if_no_answer_is_on_its_way(greedy: Queue) -> None:
    greedy.join("detached", "partly answered")
    for owner in ("detached", "partly answered"):
        greedy.submit(owner, is_connected=False)
    assert (await replying(greedy)).done()


async def test_a_reply_waits_if_any_answer_is_on_its_way(greedy: Queue) -> None:
    greedy.join("here", "detached")
    greedy.submit("here")
    greedy.submit("detached", is_connected=False)
    reply = await replying(greedy)
    assert not reply.done()
    greedy.askers["here"].taken[0]()
    await reply


async def test_a_reply_need_not_wait(greedy: Queue) -> None:
    greedy.join("left")
    greedy.submit("left")
    greedy.serve()
    assert greedy.askers["left"].given == [1]


async def test_a_batch_that_is_due_does_not_wait_for_answers_that_are_never_taken(
    greedy: Queue,
) -> None:
    greedy.join("mute", "here")
    greedy.submit("mute")
    greedy.submit("here")
    reply = await replying(greedy)
    greedy.batcher.leave("mute")
    greedy.submit("here")
    await reply
    assert (await anext(greedy.batcher)).num_actions == 1


async def test_streams_get_their_turn_to_send_although_the_next_batch_is_due(greedy: Queue) -> None:
    greedy.join("here")
    greedy.submit("here")
    batch = greedy.take()
    greedy.submit("here")
    written: list[str] = []
    asyncio.get_running_loop().call_soon(written.append, "an answer")
    await batch.reply(actions(1))
    assert written == ["an answer"]


async def test_the_end_does_not_wait_for_answers_that_are_never_taken(greedy: Queue) -> None:
    greedy.join("mute")
    greedy.submit("mute")
    reply = await replying(greedy)
    assert not reply.done()
    greedy.batcher.close()
    await reply


async def test_after_the_end_a_reply_waits_for_nobody(greedy: Queue) -> None:
    greedy.join("mute")
    greedy.submit("mute")
    batch = greedy.take()
    greedy.batcher.close()
    await asyncio.wait_for(batch.reply(actions(1)), 1.0)


async def test_a_taken_answer_wakes_nobody_who_waits_for_a_batch(greedy: Queue) -> None:
    greedy.join("left")
    greedy.submit("left")
    greedy.serve()
    consumer = await next_of(greedy)
    greedy.askers["left"].taken[0]()
    await settle()
    assert not consumer.done()
    greedy.submit("left")
    assert (await consumer).num_actions == 1


async def test_the_consumer_wakes_when_everyone_waits(greedy: Queue) -> None:
    greedy.join("left", "right")
    consumer = await next_of(greedy)
    greedy.submit("left")
    await settle()
    assert not consumer.done()
    greedy.submit("right")
    assert (await consumer).num_actions == 2


async def test_the_consumer_wakes_when_the_time_is_over(greedy: Queue, timers: Any) -> None:
    greedy.join("left", "right")
    consumer = await next_of(greedy)
    greedy.submit("left")
    timers.pass_time(0.0049)
    await settle()
    assert not consumer.done()
    timers.pass_time(0.0001)
    assert (await consumer).num_actions == 1


async def test_the_time_of_a_batch_that_was_served_wakes_nobody(greedy: Queue, timers: Any) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.submit("right")
    greedy.serve()
    timers.pass_time(0.004)
    greedy.submit("left")
    consumer = await next_of(greedy)
    timers.pass_time(0.002)
    await settle()
    assert not consumer.done()
    timers.pass_time(0.004)
    assert (await consumer).num_actions == 1


@pytest.mark.parametrize("event", ["leave", "detach"])
async def test_nobody_hangs_when_the_last_awaited_simulator_is_gone(
    greedy: Queue, event: str
) -> None:
    greedy.join("left", "right")
    consumer = await next_of(greedy)
    greedy.submit("left")
    getattr(greedy.batcher, event)("right")
    assert (await consumer).num_actions == 1


async def test_a_request_that_came_while_a_batch_was_out_is_served_after_its_time(
    greedy: Queue, timers: Any
) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.submit("right")
    batch = greedy.take()
    greedy.join("late")
    greedy.submit("late")
    consumer = await next_of(greedy)
    timers.pass_time(1.0)
    await settle()
    assert not consumer.done()
    reply_now(batch, actions(2))
    assert (await consumer).num_actions == 1


async def test_closing_ends_the_iteration_and_leaves_requests_unanswered(greedy: Queue) -> None:
    greedy.join("left")
    consumer = await next_of(greedy)
    greedy.batcher.close()
    with pytest.raises(StopAsyncIteration):
        await consumer
    greedy.submit("left")
    assert [batch async for batch in greedy.batcher] == []
    assert greedy.answered == []


async def test_a_batch_that_is_due_when_the_server_pauses_is_not_handed_out(
    greedy: Queue,
) -> None:
    greedy.join("left")
    greedy.submit("left")
    greedy.batcher.close()
    assert [batch async for batch in greedy.batcher] == []


def test_while_a_batcher_is_held_everyone_waits_and_then_is_served(
    greedy: Queue, timers: Any
) -> None:
    greedy.join("left", "right")
    greedy.submit("left")
    greedy.batcher.hold()
    greedy.submit("right")
    timers.pass_time(1000.0)
    assert not greedy.batcher.is_due
    greedy.batcher.open()
    assert greedy.serve() == ["left", "right"]


async def test_a_batcher_that_is_held_may_be_closed(greedy: Queue) -> None:
    greedy.join("left")
    greedy.submit("left")
    greedy.batcher.hold()
    greedy.batcher.close()
    greedy.batcher.open()
    assert [batch async for batch in greedy.batcher] == []


EVENT = st.tuples(
    st.sampled_from(["join", "leave", "detach", "attach", "submit", "wait", "serve"]),
    st.sampled_from("abc"),
)


@settings(deadline=None)
@given(st.lists(EVENT, max_size=40), st.booleans())
def test_whoever_waits_is_served_in_the_end(
    events: list[tuple[str, str]], is_lockstep: bool
) -> None:
    """After any history, once all live simulators run and wait, a batch has all of them."""
    now = [0.0]

    class Clock:
        clock = staticmethod(lambda: now[0])
        call_later = staticmethod(lambda _delay_s, _callback: None)

    queue = Queue(Clock, lockstep=is_lockstep)
    queue.batcher.open()
    live, running, waiting = set[str](), set[str](), set[str]()
    for name, owner in events:
        if name == "join" and owner not in live:
            queue.join(owner)
            live.add(owner)
            running.add(owner)
        elif name == "submit" and owner in running - waiting:
            queue.submit(owner)
            waiting.add(owner)
        elif name in {"detach", "attach"} and owner in live:
            getattr(queue.batcher, name)(owner)
            (running.discard if name == "detach" else running.add)(owner)
        elif name == "leave" and owner in live:
            queue.batcher.leave(owner)
            for group in (live, running, waiting):
                group.discard(owner)
        elif name == "wait":
            now[0] += 0.003
        elif name == "serve" and queue.batcher.is_due:
            assert sorted(queue.serve()) == sorted(waiting)
            waiting.clear()
    for owner in live - waiting:
        queue.batcher.attach(owner)
        queue.submit(owner)
    assert queue.batcher.is_due == bool(live)
    if live:
        assert sorted(queue.serve()) == sorted(live)


def test_its_words_say_how_many_wait(greedy: Queue) -> None:
    greedy.join("left", "right")
    greedy.submit("left", num_rows=3)
    assert repr(greedy.batcher) == "<RequestBatcher 'walker': 1 of 2 simulators wait with 3 rows>"
