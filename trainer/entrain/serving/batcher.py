"""Merges the waiting requests of one behaviour into batches, greedily or in lockstep.

greedy     a batch is due when every running simulator waits, or enough rows do, or the oldest
           request has waited long enough
lockstep   a batch is due when every live simulator waits, and holds their rows in the order of
           their names, so that a seeded run repeats whatever the order of arrival

Nothing here knows of gRPC, messages or what a policy is.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from entrain.config.run import ServerConfig
from entrain.serving.batch import Replies, Reply, Request, RequestBatch
from entrain.serving.slots import SlotTable
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch


class Timer(Protocol):
    """What `loop.call_later` returns."""

    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], None]], Timer]


def call_later_on_loop(delay_s: float, callback: Callable[[], None]) -> Timer:
    """Have the running event loop call `callback`."""
    return asyncio.get_running_loop().call_later(delay_s, callback)


class RequestBatcher:
    """The queue of one behaviour: `async for requests in batcher` yields batches as they are due.

    Owned by the event loop; has one consumer, which answers a batch before it asks for the next.
    A session is live from `join` to `leave`, and running unless it is between `detach` and
    `attach`. The iteration ends with `close`.
    """

    def __init__(
        self,
        spec: BehaviourSpec,
        slots: SlotTable,
        config: ServerConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater = call_later_on_loop,
    ) -> None:
        self._spec = spec
        self._slots = slots
        self._lockstep = config.lockstep
        self._max_batch = config.max_batch
        self._max_wait_s = config.max_wait_s
        self._clock = clock
        self._call_later = call_later
        self._live: set[str] = set()
        self._running: set[str] = set()
        self._absent: set[str] = set()
        self._waiting: dict[str, Request] = {}
        self._rows = 0
        self._oldest_s = 0.0
        self._timer: Timer | None = None
        self._is_open = False
        self._is_closed = False
        self._waits_for_sent = False
        self._changed = asyncio.Event()
        self._out: Replies | None = None

    def __repr__(self) -> str:
        return (
            f"<RequestBatcher '{self._spec.name}': {len(self._waiting)} of {len(self._live)} "
            f"sessions wait with {self._rows} rows>"
        )

    @property
    def unanswered(self) -> Replies | None:
        """What was handed out and not yet answered; after `load_state`, what was so then.

        A run that stopped between looking at a batch and answering it goes on by answering this:
        its rows were seen already and are not handed out again.
        """
        return self._out

    def open(self) -> None:
        """Let batches out from now on: the expected simulators have joined."""
        self._is_open = True
        self._reconsider()

    def close(self) -> None:
        """End the iteration; what waits stays unanswered."""
        self._is_closed = True
        self._changed.set()
        self._cancel_timer()

    def join(self, owner: str) -> None:
        """A session with this behaviour is live and running."""
        self._live.add(owner)
        self.attach(owner)

    def attach(self, owner: str) -> None:
        """A session's stream is there (again)."""
        self._running.add(owner)
        if owner not in self._waiting:
            self._absent.add(owner)

    def detach(self, owner: str) -> None:
        """A session's stream broke; greedy batches no longer wait for it, lockstep ones do."""
        self._running.discard(owner)
        self._absent.discard(owner)
        self._reconsider()

    def restore(self, owner: str) -> None:
        """A session of a checkpoint is live, and not running yet."""
        self._live.add(owner)

    def leave(self, owner: str) -> int:
        """A session is over: what it waits for is withdrawn and its slots are taken back.

        Returns how many slots.
        """
        request = self._waiting.pop(owner, None)
        if request is not None:
            self._rows -= len(request)
        self._live.discard(owner)
        released = self._slots.release(owner)
        self.detach(owner)
        return released

    def submit(self, request: Request) -> None:
        """A request joins the next batch. A session has at most one waiting."""
        if not self._waiting:
            self._oldest_s = self._clock()
        self._waiting[request.owner] = request
        self._rows += len(request)
        self._absent.discard(request.owner)
        self._reconsider()

    @property
    def is_due(self) -> bool:
        """Whether the waiting requests should be served now."""
        if not self._waiting or not self._is_open or self._is_closed or self._out is not None:
            return False
        if self._lockstep:
            return len(self._waiting) >= len(self._live)
        return (
            not self._absent
            or self._rows >= self._max_batch
            or self._clock() - self._oldest_s >= self._max_wait_s
        )

    def take(self) -> RequestBatch:
        """The waiting requests as one batch. In lockstep ordered by rank, else by arrival."""
        requests = list(self._waiting.values())
        if self._lockstep:
            requests.sort(key=lambda request: request.rank)
        self._forget_waiting()
        batch = RequestBatch(requests, self._slots, on_reply=self._on_reply)
        self._out = batch
        return batch

    def _forget_waiting(self) -> None:
        self._waiting = {}
        self._rows = 0
        self._absent = set(self._running)
        self._cancel_timer()

    def _on_reply(self) -> None:
        self._out = None
        self._reconsider()

    def __aiter__(self) -> "RequestBatcher":
        return self

    async def __anext__(self) -> RequestBatch:
        while True:
            if self._is_closed:
                raise StopAsyncIteration
            if self.is_due and self._rows:
                return self.take()
            self._changed.clear()
            await self._changed.wait()

    async def until_sent(self) -> None:
        """Until a message is on its way to a simulator, or there is other work to do.

        For what can wait while a batch's answers are sent: gRPC's threads, on either side, would
        have to share the processor with it, and simulators wait for them.
        """
        self._waits_for_sent = True
        # Whatever else there is to do: streams that have something to send get their turn first.
        await asyncio.sleep(0)
        while self._waits_for_sent and not (self._is_closed or (self.is_due and self._rows)):
            self._changed.clear()
            await self._changed.wait()
        self._waits_for_sent = False

    def note_sent(self) -> None:
        """A message, whichever, is on its way to a simulator."""
        if self._waits_for_sent:
            self._waits_for_sent = False
            self._changed.set()

    def _reconsider(self) -> None:
        """Wake the consumer if a batch is due, or see to it that it is woken in time."""
        if self.is_due:
            if self._rows:
                self._changed.set()
            else:
                self._answer_emptiness()
        elif (
            self._waiting
            and self._is_open
            and not (self._lockstep or self._is_closed)
            and self._out is None
            and self._timer is None
        ):
            remaining_s = self._max_wait_s - (self._clock() - self._oldest_s)
            self._timer = self._call_later(max(0.0, remaining_s), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._reconsider()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer_emptiness(self) -> None:
        """Requests without a single row are answered at once; no policy needs to look at them."""
        requests = list(self._waiting.values())
        self._forget_waiting()
        for request in requests:
            request.answer(no_actions(self._spec))

    def owes(self, owner: str) -> bool:
        """Whether a batch with this session's rows is out."""
        return self._out is not None and any(reply.owner == owner for reply in self._out.owed)

    def restore_unanswered(self, replies: Sequence[Reply]) -> None:
        """A batch was out when the checkpoint was taken: its answers are still owed."""
        self._out = Replies(replies, on_reply=self._on_reply)


def no_actions(spec: BehaviourSpec) -> ActionBatch:
    """Zero actions of the behaviour."""
    return ActionBatch(
        continuous=np.empty((0, spec.action.continuous_size), np.float32),
        discrete=np.empty((0, len(spec.action.branches)), np.int32),
        policy_version=0,
    )
