"""Requests: timesteps of many simulators, addressed by slot, as a policy's loop gets them.

A slot is a small integer that stands for one agent of one simulator while it lives; from here on
every per-agent quantity is an array indexed by slot. Nothing here knows of wires or torch.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol, Self

from entrain.state import State
from entrain_envs.shapes import Int
from entrain_envs.timestep import ActionBatch, Int64Array, TimestepBatch


@dataclass(frozen=True)
class SlotTimesteps:
    """K timesteps of one behaviour, merged over simulators, with the slot of each row.

    An agent whose episode ended and began again has two rows of one slot: the end, then FIRST.
    """

    slot: Int[Int64Array, " K"]
    """[K] each below `num_slots`."""

    timesteps: TimestepBatch
    """[K] rows; `agent_id` is each simulator's own."""

    released: Int[Int64Array, " R"]
    """[R] slots whose agents left since the batch before this one; their open steps are dropped
    before these rows are evaluated, for a released slot may already stand here for a new agent."""

    num_slots: int
    """One more than the highest slot in use so far: how long per-slot arrays must be."""

    steady: Int[Int64Array, " N"] | None = None
    """[N] if it is known that the rows are the usual ones: an outcome for each of these slots, then
    FIRST for every one whose episode ended, in the same order. As long as a simulator sends for the
    same agents alone, it is the same array: what is known of it need not be looked up again."""

    @property
    def are_mid(self) -> bool:
        """True if it is known that every row is MID."""
        return self.steady is not None and len(self.steady) == len(self.slot)

    def state(self) -> State:
        """A copy as plain arrays, for a checkpoint that is written before the batch is answered."""
        timesteps = self.timesteps
        return {
            "slot": self.slot.copy(),
            "agent_id": timesteps.agent_id.copy(),
            "step_type": timesteps.step_type.copy(),
            "reward": timesteps.reward.copy(),
            "observation": {name: rows.copy() for name, rows in timesteps.observation.items()},
            "action_mask": timesteps.action_mask.copy(),
            "group_id": None if timesteps.group_id is None else timesteps.group_id.copy(),
            "group_reward": (
                None if timesteps.group_reward is None else timesteps.group_reward.copy()
            ),
            "late": None if timesteps.late is None else timesteps.late.copy(),
            "released": self.released.copy(),
            "num_slots": self.num_slots,
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The batch that `state` was taken of."""
        return cls(
            slot=state["slot"],
            timesteps=TimestepBatch(
                agent_id=state["agent_id"],
                step_type=state["step_type"],
                reward=state["reward"],
                observation=state["observation"],
                action_mask=state["action_mask"],
                # Checkpoints of before there were groups have none.
                group_id=state.get("group_id"),
                group_reward=state.get("group_reward"),
                late=state.get("late"),
            ),
            released=state["released"],
            num_slots=int(state["num_slots"]),
        )


class Unanswered(Protocol):
    """A batch whose simulators wait for actions. Answered once, by `reply`."""

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        """Give each waiting simulator its part of `actions`, and let transports send it.

        Every answer is in its outbox before this yields for the first time. With `wait`, it then
        waits until a transport took one of this batch's answers, or the next batch is due, or the
        batches end, whichever is first. It does not wait if none of them is on its way: all
        simulators left or are disconnected, or their messages lack another behaviour's answer.

        Args:
            actions: one for each row that needs one, in order. Never changed afterwards: answers
                are kept for simulators that ask again.
            wait: whether to wait at all; without, this never yields.
        """
        ...


class Requests(Unanswered, Protocol):
    """One batch of waiting requests."""

    @property
    def timesteps(self) -> SlotTimesteps:
        """All rows, in an order that `reply` knows."""
        ...


class Batches(Protocol):
    """Batches of requests as they are due, one at a time."""

    @property
    def unanswered(self) -> Unanswered | None:
        """The batch that was handed out and not answered, also before a restart."""
        ...

    def __aiter__(self) -> AsyncIterator[Requests]:
        """Each batch is answered before the next is asked for."""
        ...
