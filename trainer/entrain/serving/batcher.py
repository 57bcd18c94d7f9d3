"""Merges the waiting requests of one behaviour into batches, greedily or in lockstep.

greedy     a batch is due when every running simulator waits, or enough rows do, or the oldest
           request has waited long enough
lockstep   a batch is due when every live simulator waits, and holds their rows in the order of
           their names, so that a seeded run repeats whatever the order of arrival

Nothing here knows how a simulator is connected, or what a policy is.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from entrain.config.run import ServerConfig
from entrain.serving.batch import Reply, Request, RequestBatch, Unanswered, nobody_waits
from entrain.serving.measures import Distribution
from entrain.serving.slots import SlotTable
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch

MOST_OF_DEADLINE = 0.25
"""Of the time that a simulator waits for actions, how much it may wait for other simulators."""


class Timer(Protocol):
    """A timer, as `loop.call_later` returns it."""

    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], None]], Timer]


def call_later_on_loop(delay_s: float, callback: Callable[[], None]) -> Timer:
    """Have the running event loop call `callback`."""
    return asyncio.get_running_loop().call_later(delay_s, callback)


class RequestBatcher:
    """The queue of one behaviour: `async for requests in batcher` yields batches as they are due.

    Owned by the event loop; has one consumer, which answers a batch before it asks for the next.
    A participant is live from `join` to `leave`, and running unless it is between `detach` and
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
        sizes: Distribution | None = None,
    ) -> None:
        self._spec = spec
        self._sizes = sizes
        self._slots = slots
        self._lockstep = config.lockstep
        self._max_batch = config.max_batch
        self._max_wait_s = config.max_wait_s
        if spec.deadline_ms:
            # What it waits for others is lost for choosing its actions.
            self._max_wait_s = min(config.max_wait_s, MOST_OF_DEADLINE * spec.deadline_ms / 1000.0)
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
        self._event: asyncio.Future[None] | None = None
        self._out: Unanswered | None = None

    def __repr__(self) -> str:
        return (
            f"<RequestBatcher '{self._spec.name}': {len(self._waiting)} of {len(self._live)} "
            f"simulators wait with {self._rows} rows>"
        )

    @property
    def unanswered(self) -> Unanswered | None:
        """The batch that is not answered yet; after `load_state`, the one of the checkpoint.

        A run that stopped between evaluating a batch and answering it goes on by answering this:
        its rows were seen already and are not handed out again.
        """
        return self._out

    def open(self) -> None:
        """Let batches out from now on: the expected simulators have joined."""
        self._is_open = True
        self._reconsider()

    def hold(self) -> None:
        """Let no batch out until `open`; one that is out may be answered, and requests wait."""
        self._is_open = False

    def close(self) -> None:
        """End the iteration; what waits stays unanswered."""
        self._is_closed = True
        self._wake()
        self._cancel_timer()

    def join(self, owner: str) -> None:
        """A participant with this behaviour is live and running."""
        self._live.add(owner)
        self.attach(owner)

    def attach(self, owner: str) -> None:
        """A participant is connected (again)."""
        self._running.add(owner)
        if owner not in self._waiting:
            self._absent.add(owner)

    def detach(self, owner: str) -> None:
        """A connection broke; greedy batches no longer wait for it, lockstep ones do."""
        self._running.discard(owner)
        self._absent.discard(owner)
        self._reconsider()

    def restore(self, owner: str) -> None:
        """A participant of a checkpoint is live, and not running yet."""
        self._live.add(owner)

    def leave(self, owner: str) -> int:
        """A participant is gone: its waiting request is withdrawn, its slots are taken back.

        Returns how many slots.
        """
        request = self._waiting.pop(owner, None)
        if request is not None:
            self._rows -= len(request.timesteps)
        self._live.discard(owner)
        released = self._slots.release(owner)
        self.detach(owner)
        return released

    def submit(self, request: Request) -> None:
        """A request joins the next batch. A participant has at most one waiting."""
        if not self._waiting:
            self._oldest_s = self._clock()
        self._waiting[request.owner] = request
        self._rows += len(request.timesteps.agent_id)
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
        if self._sizes is not None:
            self._sizes.note(self._rows)
        requests = self._take_waiting()
        if self._lockstep:
            requests.sort(key=lambda request: request.rank)
        batch = RequestBatch(requests, self._slots, self)
        self._out = batch
        return batch

    def _take_waiting(self) -> list[Request]:
        requests = list(self._waiting.values())
        self._waiting.clear()
        self._rows = 0
        self._absent.update(self._running)
        if self._timer is not None:
            self._cancel_timer()
        return requests

    def note_answered(self) -> None:
        """The batch that was out is answered: the next one may go out."""
        self._out = None
        if self._waiting:
            self._reconsider()

    def __aiter__(self) -> "RequestBatcher":
        return self

    async def __anext__(self) -> RequestBatch:
        while not self._is_closed:
            if self._rows and self.is_due:
                return self.take()
            # There is one consumer, so that one future is enough.
            self._event = asyncio.get_running_loop().create_future()
            await self._event
        raise StopAsyncIteration

    def next_event(self) -> asyncio.Future[None]:
        """Done when the next batch is due or the batches end. The caller may set it before."""
        event = self._event = asyncio.get_running_loop().create_future()
        if self._is_closed or (self._rows and self.is_due):
            event.set_result(None)
        return event

    def _wake(self) -> None:
        """Wake the consumer, which waits for a batch or until its answers are on their way."""
        if self._event is not None and not self._event.done():
            self._event.set_result(None)

    def _reconsider(self) -> None:
        """Wake the consumer if a batch is due, or see to it that it is woken in time."""
        if self.is_due:
            if self._rows:
                self._wake()
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
        """Requests without a single row are answered at once; no policy needs to see them."""
        for request in self._take_waiting():
            request.asker.answer(
                request.behaviour, request.step_number, no_actions(self._spec), nobody_waits
            )

    def owes(self, owner: str) -> bool:
        """Whether a batch with this participant's rows is out."""
        return self._out is not None and any(r.owner == owner for r in self._out.replies)

    def restore_unanswered(self, replies: Sequence[Reply]) -> None:
        """Restore a batch that was not answered when the checkpoint was taken."""
        self._out = Unanswered(replies, self)


def no_actions(spec: BehaviourSpec) -> ActionBatch:
    """Zero actions of the behaviour."""
    return ActionBatch(
        continuous=np.empty((0, spec.action.continuous_size), np.float32),
        discrete=np.empty((0, len(spec.action.branches)), np.int32),
        policy_version=0,
    )
