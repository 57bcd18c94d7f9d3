"""One batch: the waiting requests of several simulators as one set of rows, answered together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from entrain.requests import SlotTimesteps
from entrain.serving.slots import SlotTable, no_slots
from entrain_envs.timestep import ActionBatch, Int64Array, StepType, TimestepBatch

# Plain numbers: looking up a member of an Enum costs as much as a small array operation.
_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)


@dataclass(frozen=True, eq=False)
class Request:
    """One simulator's rows of one behaviour, waiting for actions. It may have no rows."""

    owner: str
    """Id of the session that asks."""

    rank: tuple[str, int]
    """(simulator's name, join order): where its rows stand in a lockstep batch."""

    behaviour: str
    """Of the rows."""

    timesteps: TimestepBatch
    """[K] rows, checked."""

    num_actions: int
    """Rows that need an action."""

    answer: Callable[[ActionBatch], None]
    """Takes that many actions."""

    def __len__(self) -> int:
        return len(self.timesteps)


@dataclass(frozen=True, eq=False)
class Reply:
    """Where a part of a batch's actions goes."""

    owner: str
    num_actions: int
    answer: Callable[[ActionBatch], None]


class Replies:
    """What is still owed to the simulators of a batch that was handed out. Paid once."""

    def __init__(self, replies: Sequence[Reply], *, on_reply: Callable[[], None]) -> None:
        self._replies = tuple(replies)
        self._on_reply = on_reply
        self._is_answered = False

    @property
    def owed(self) -> tuple[Reply, ...]:
        """To whom, in the order of the rows."""
        return self._replies

    @property
    def num_actions(self) -> int:
        """Rows that need an action."""
        return sum(reply.num_actions for reply in self._replies)

    def reply(self, actions: ActionBatch) -> None:
        """Give each simulator its part of `actions`, [A] in the order of rows that needed one."""
        if self._is_answered:
            raise ValueError("this batch was answered already; each batch is answered once")
        if len(actions) != self.num_actions:
            raise ValueError(
                f"{len(actions)} actions were given for {self.num_actions} rows that need one"
            )
        self._is_answered = True
        begin = 0
        for reply in self._replies:
            end = begin + reply.num_actions
            reply.answer(
                ActionBatch(
                    continuous=actions.continuous[begin:end],
                    discrete=actions.discrete[begin:end],
                    policy_version=actions.policy_version,
                )
            )
            begin = end
        self._on_reply()


class RequestBatch(Replies):
    """A batch with its rows: satisfies `entrain.requests.Requests`."""

    def __init__(
        self,
        requests: Sequence[Request],
        slots: SlotTable,
        *,
        on_reply: Callable[[], None],
    ) -> None:
        super().__init__(
            [Reply(request.owner, request.num_actions, request.answer) for request in requests],
            on_reply=on_reply,
        )
        self._timesteps = merge(requests, slots)

    @property
    def timesteps(self) -> SlotTimesteps:
        """All rows; those of one simulator stand together in the order it sent them."""
        return self._timesteps


def merge(requests: Sequence[Request], slots: SlotTable) -> SlotTimesteps:
    """Join the rows of `requests`, give newcomers a slot, take back those whose agents left.

    An agent whose last row here ends its episode has left: its slot is free after this batch, and
    stands in `released` of the next.
    """
    filled = [request for request in requests if len(request)]
    released = slots.take_released()
    slot = [slots.assign(request.owner, request.timesteps.agent_id) for request in filled]
    for request in filled:
        left = agents_that_left(request.timesteps)
        if len(left):
            slots.release_agents(request.owner, left)
    return SlotTimesteps(
        slot=slot[0] if len(slot) == 1 else np.concatenate(slot),
        timesteps=_concatenated([request.timesteps for request in filled]),
        released=released,
        num_slots=slots.num_slots,
    )


def agents_that_left(timesteps: TimestepBatch) -> Int64Array:
    """[N] agents with an end row and no FIRST row behind it."""
    ended = timesteps.step_type > _MID
    if not ended.any():
        return no_slots()
    began = timesteps.agent_id[timesteps.step_type == _FIRST]
    return np.setdiff1d(timesteps.agent_id[ended], began)


def _concatenated(parts: Sequence[TimestepBatch]) -> TimestepBatch:
    if len(parts) == 1:
        return parts[0]
    return TimestepBatch(
        agent_id=np.concatenate([part.agent_id for part in parts]),
        step_type=np.concatenate([part.step_type for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        observation={
            name: np.concatenate([part.observation[name] for part in parts])
            for name in parts[0].observation
        },
        action_mask=np.concatenate([part.action_mask for part in parts]),
    )
