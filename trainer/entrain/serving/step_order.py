"""Checks that each agent's timesteps arrive in the right order.

An agent's rows go FIRST, MID, MID, ..., then TERMINATED or TRUNCATED, then FIRST again or nothing.
Nothing here knows of messages, slots or other simulators.
"""

from dataclasses import dataclass, field

import numpy as np

from entrain.errors import BadStepError
from entrain.serving.slots import NO_SLOTS, find
from entrain.state import State
from entrain_envs.timestep import BoolArray, Int64Array, StepType, TimestepBatch

# Plain numbers: looking up a member of an Enum costs as much as a small array operation.
_FIRST, _MID, _TERMINATED = int(StepType.FIRST), int(StepType.MID), int(StepType.TERMINATED)
_FIRST_BYTE, _MID_BYTE = bytes([_FIRST]), bytes([_MID])


@dataclass(frozen=True, eq=False)
class StepOrder:
    """The agents of one behaviour that were given an action whose outcome has not arrived."""

    agent_id: Int64Array = field(default_factory=lambda: NO_SLOTS)
    """[N] ascending, each once."""

    recent: bytes = b""
    """The ids of those given an action by the last message, in the order in which it named them.
    The usual next message is of the same agents and needs no search: see `stays_after`."""

    other: bytes = b""
    """The same of the message before, where two groups of agents send in turns: no agent of it was
    in the last one."""

    def __len__(self) -> int:
        return len(self.agent_id)

    @property
    def num_recent(self) -> int:
        """How many agents were given an action by the last message."""
        return len(self.recent) // self.agent_id.itemsize

    def stays_after(self, timesteps: TimestepBatch) -> bool:
        """Whether this is the state after these rows, too, because they are the usual ones.

        Those are an outcome for each agent of the last message, in its order, and behind them
        FIRST for every one whose episode ended, in the same order. Of any other rows it says
        false. Rows are compared as bytes: for a few agents numpy's comparisons cost more than all
        else that is done with a message.
        """
        recent, agent_id = self.recent, timesteps.agent_id.tobytes()
        step_type = timesteps.step_type.tobytes()
        if len(agent_id) == len(recent):
            return agent_id == recent and not step_type.strip(_MID_BYTE)
        count = self.num_recent
        if (
            not agent_id.startswith(recent)
            or step_type.find(_FIRST_BYTE, 0, count) >= 0
            or step_type[count:].strip(_FIRST_BYTE)
        ):
            return False
        ended = timesteps.step_type[:count] > _MID
        return timesteps.agent_id[:count][ended].tobytes() == agent_id[len(recent) :]

    def first_shared(self, timesteps: TimestepBatch) -> int | None:
        """The first agent of these rows that the last message gave an action; None if none is.

        Asked where these rows come before that action is chosen: no agent may be in both messages.
        """
        recent, agent_id = self.recent, timesteps.agent_id
        if not recent or agent_id.tobytes() == self.other:
            return None
        _, is_shared = find(np.sort(np.frombuffer(recent, np.int64)), agent_id)
        return int(agent_id[is_shared.argmax()]) if np.count_nonzero(is_shared) else None

    def turned(self) -> "StepOrder":
        """The same, for a message of the other group."""
        return StepOrder(self.agent_id, recent=self.other, other=self.recent)

    def after(self, timesteps: TimestepBatch, *, in_turns: bool = False) -> "StepOrder":
        """The state once these rows are answered; BadStepError if their order is wrong.

        Args:
            timesteps: [K] rows of one message, already held against the spec.
            in_turns: whether two groups of agents may send in turns, so that it is worth looking
                for `other`.
        """
        agent_id, step_type = timesteps.agent_id, timesteps.step_type
        order = np.argsort(agent_id, kind="stable")
        sorted_id, sorted_type = agent_id[order], step_type[order]
        is_second = np.zeros(len(order), np.bool_)
        is_second[1:] = sorted_id[1:] == sorted_id[:-1]
        position, awaits = find(self.agent_id, sorted_id)
        self._check(sorted_id, sorted_type, is_second, awaits, order)

        is_last = np.ones(len(order), np.bool_)
        is_last[:-1] = ~is_second[1:]
        staying = np.ones(len(self.agent_id), np.bool_)
        staying[position[awaits]] = False
        acts = sorted_type[is_last] <= _MID
        first_row = np.sort(order[~is_second][acts])
        return StepOrder(
            agent_id=np.sort(np.concatenate([self.agent_id[staying], sorted_id[is_last][acts]])),
            recent=agent_id[first_row].tobytes(),
            other=self._untouched(sorted_id) if in_turns else b"",
        )

    def _untouched(self, sorted_id: Int64Array) -> bytes:
        """Of `recent` and `other`, the first without any of these agents, [K] ascending."""
        for content in (self.recent, self.other):
            if content and not find(sorted_id, np.frombuffer(content, np.int64))[1].any():
                return content
        return b""

    def without(self, agent_id: Int64Array) -> "StepOrder":
        """The state once these agents are gone."""
        return StepOrder(agent_id=np.setdiff1d(self.agent_id, agent_id))

    @staticmethod
    def _check(
        sorted_id: Int64Array,
        sorted_type: np.ndarray[tuple[int], np.dtype[np.uint8]],
        is_second: BoolArray,
        awaits: BoolArray,
        order: Int64Array,
    ) -> None:
        """Raise BadStepError for the lowest row that is out of order.

        Args:
            sorted_id: [K] agent ids, ascending; rows of one agent keep their order.
            sorted_type: [K] their step types.
            is_second: [K] true where the row before is of the same agent.
            awaits: [K] true where the agent awaits an outcome before this message.
            order: [K] row of the message that each stands for.
        """
        previous = np.roll(sorted_type, 1)
        is_first = sorted_type == _FIRST
        repeated = is_second & ~(is_first & (previous >= _TERMINATED))
        early = ~is_second & is_first & awaits
        late = ~is_second & ~is_first & ~awaits
        wrong = repeated | early | late
        if not wrong.any():
            return
        at = int(np.flatnonzero(wrong)[order[wrong].argmin()])
        row = f"row {order[at]}: agent {sorted_id[at]}"
        name = StepType(int(sorted_type[at])).name
        if repeated[at]:
            before = StepType(int(previous[at])).name
            raise BadStepError(
                f"{row} has a row {name} after a row {before} in one Step; an agent has one row, "
                "or two if the first is TERMINATED or TRUNCATED and the second FIRST"
            )
        if early[at]:
            raise BadStepError(
                f"{row} sent FIRST while its last action has no outcome; send TERMINATED or "
                "TRUNCATED with the last observation before FIRST"
            )
        raise BadStepError(
            f"{row} sent {name}, but it was given no action that this could be the outcome of; "
            "the first row of an episode must be FIRST"
        )

    def welcome_strays(self, timesteps: TimestepBatch) -> TimestepBatch:
        """Change the rows of agents that the trainer has forgotten, so that their order is right.

        After a trainer came back from an older checkpoint, simulators send outcomes of actions
        that it does not remember giving. MID then starts a step like FIRST does, without reward;
        an end row has nothing to close and is left out (it needs no action either).
        """
        _, awaits = find(self.agent_id, timesteps.agent_id)
        stray = ~awaits & (timesteps.step_type != _FIRST)
        if not stray.any():
            return timesteps
        begins = stray & (timesteps.step_type == _MID)
        keep = ~stray | begins
        step_type = np.where(begins, np.uint8(_FIRST), timesteps.step_type)
        reward = np.where(begins, np.float32(0.0), timesteps.reward)
        groups, shared, late = timesteps.group_id, timesteps.group_reward, timesteps.late
        return TimestepBatch(
            agent_id=timesteps.agent_id[keep],
            step_type=step_type[keep],
            reward=reward[keep],
            observation={name: rows[keep] for name, rows in timesteps.observation.items()},
            action_mask=timesteps.action_mask[keep],
            group_id=None if groups is None else groups[keep],
            group_reward=None if shared is None else np.where(begins, np.float32(0), shared)[keep],
            late=None if late is None else (late & ~begins)[keep],
        )

    def state(self) -> State:
        """The agents. `other` is left out: it only saves time."""
        return {
            "agent_id": self.agent_id.copy(),
            "recent": np.frombuffer(self.recent, np.int64).copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> "StepOrder":
        """The agents that `state` was taken of."""
        # Checkpoints of before two steps could be unanswered have no `recent`.
        recent = state.get("recent", NO_SLOTS)
        return cls(agent_id=state["agent_id"].copy(), recent=recent.tobytes())
