"""One batch: the waiting requests of several simulators as one set of rows, answered together."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from entrain.requests import SlotTimesteps
from entrain.serving.slots import NO_SLOTS, SlotTable
from entrain_envs.joined_batches import joined
from entrain_envs.timestep import ActionBatch, Int64Array, StepType, TimestepBatch

# Plain numbers: looking up a member of an Enum costs as much as a small array operation.
_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)


def nobody_waits() -> None:
    """Called when the transport took a message that no batch waits for."""


class Asker(Protocol):
    """Who asks for actions. See `Participant`."""

    def answer(
        self, behaviour: str, step_number: int, actions: ActionBatch, taken: Callable[[], None]
    ) -> bool:
        """Take the actions of one request.

        Args:
            behaviour: of the request.
            step_number: of the request.
            actions: for its rows that need one; never changed afterwards.
            taken: called when the transport took the message with these actions, if one was sent.

        Returns:
            Whether a message with these actions is on its way to a connected simulator.
        """
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """One simulator's rows of one behaviour, waiting for actions. It may have no rows."""

    owner: str
    """Id of the participant that asks."""

    asker: Asker
    """Takes the answer."""

    rank: tuple[str, int]
    """(simulator's name, join order): where its rows stand in a lockstep batch."""

    behaviour: str
    step_number: int
    """Both are told to `asker` with the answer."""

    timesteps: TimestepBatch
    """[K] rows, checked."""

    num_actions: int
    """Rows that need an action."""

    is_usual: bool = False
    """True if it is known that the rows are an outcome for each of `num_actions` agents, then FIRST
    for every one whose episode ended, in the same order. So no agent left."""

    @property
    def are_mid(self) -> bool:
        """True if it is known that every row is MID."""
        return self.is_usual and self.num_actions == len(self.timesteps.agent_id)


@dataclass(frozen=True, eq=False)
class Reply:
    """Where a part of a batch's actions goes. See `Request`."""

    owner: str
    asker: Asker
    behaviour: str
    step_number: int
    num_actions: int


class Queue(Protocol):
    """The batcher, as its batches see it."""

    def note_answered(self) -> None:
        """The batch that is out was answered."""
        ...

    def next_event(self) -> asyncio.Future[None]:
        """Done when the next batch is due or the batches end. The caller may set it before."""
        ...


class Unanswered:
    """A batch that was handed out and is not answered yet, without its rows."""

    def __init__(self, replies: Sequence[Reply] | Sequence[Request], queue: Queue) -> None:
        self.replies = replies
        """Who is to be answered, in the order of the rows."""
        self._queue = queue
        self._is_answered = False
        self._is_taken = False
        self._wakes: asyncio.Future[None] | None = None

    @property
    def num_actions(self) -> int:
        """Rows that need an action."""
        return sum(reply.num_actions for reply in self.replies)

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        """Give each simulator its part of the actions. See `entrain.requests.Requests.reply`."""
        is_on_its_way = self._give(actions)
        self._queue.note_answered()
        if not wait or not is_on_its_way or self._is_taken:
            return
        self._wakes = self._queue.next_event()
        if self._wakes.done():
            # Streams that have something to send get their turn before the next batch.
            await asyncio.sleep(0)
        else:
            await self._wakes

    def _give(self, actions: ActionBatch) -> bool:
        """Split `actions` and give them away; returns whether any part is on its way."""
        if self._is_answered:
            raise ValueError("this batch was answered already; each batch is answered once")
        count = len(actions.continuous)
        replies = self.replies
        if len(replies) == 1 and replies[0].num_actions == count:
            self._is_answered = True
            only = replies[0]
            return only.asker.answer(only.behaviour, only.step_number, actions, self._note_taken)
        if count != self.num_actions:
            raise ValueError(
                f"{count} actions were given for {self.num_actions} rows that need one"
            )
        self._is_answered = True
        is_on_its_way, begin = False, 0
        for reply in replies:
            end = begin + reply.num_actions
            part = ActionBatch(
                continuous=actions.continuous[begin:end],
                discrete=actions.discrete[begin:end],
                policy_version=actions.policy_version,
            )
            is_on_its_way |= reply.asker.answer(
                reply.behaviour, reply.step_number, part, self._note_taken
            )
            begin = end
        return is_on_its_way

    def _note_taken(self) -> None:
        """A transport took one of this batch's messages."""
        self._is_taken = True
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)


class RequestBatch(Unanswered):
    """A batch with its rows. It is what `entrain.requests.Requests` describes."""

    def __init__(self, requests: Sequence[Request], slots: SlotTable, queue: Queue) -> None:
        super().__init__(requests, queue)
        self.timesteps = merge(requests, slots)
        """All rows; those of one simulator stand together in the order it sent them."""


def merge(requests: Sequence[Request], slots: SlotTable) -> SlotTimesteps:
    """Join the rows of `requests`, give new agents a slot, take back those whose agents left.

    An agent whose last row here ends its episode has left: its slot is free after this batch, and
    stands in `released` of the next.
    """
    released = slots.take_released()
    if len(requests) == 1 and requests[0].is_usual:
        return _usual(requests[0], slots, released)
    if len(requests) == 1:
        timesteps = requests[0].timesteps
        slot = slots.assign(requests[0].owner, timesteps.agent_id)
    else:
        filled = [request for request in requests if len(request.timesteps.agent_id)]
        parts = [slots.assign(request.owner, request.timesteps.agent_id) for request in filled]
        slot = parts[0] if len(parts) == 1 else np.concatenate(parts)
        timesteps = joined([request.timesteps for request in filled])
    for request in requests:
        if not request.is_usual:
            left = agents_that_left(request.timesteps)
            if len(left):
                slots.release_agents(request.owner, left)
    steady = slot if all(request.are_mid for request in requests) else None
    return SlotTimesteps(slot, timesteps, released, slots.num_slots, steady)


def _usual(request: Request, slots: SlotTable, released: Int64Array) -> SlotTimesteps:
    """The rows of one simulator that are the usual ones."""
    timesteps, count = request.timesteps, request.num_actions
    steady = slot = slots.assign(request.owner, timesteps.agent_id[:count])
    if len(timesteps.agent_id) > count:
        slot = np.concatenate((steady, steady[timesteps.step_type[:count] > _MID]))
    return SlotTimesteps(slot, timesteps, released, slots.num_slots, steady)


def agents_that_left(timesteps: TimestepBatch) -> Int64Array:
    """[N] agents with an end row and no FIRST row behind it."""
    ended = timesteps.step_type > _MID
    if not ended.any():
        return NO_SLOTS
    began = timesteps.agent_id[timesteps.step_type == _FIRST]
    return np.setdiff1d(timesteps.agent_id[ended], began)
