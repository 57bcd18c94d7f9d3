"""Records of a game's agents as timesteps, and actions back in the order of the records.

A record says whether an agent's episode ended; whether it continues one or begins one is decided
here, by which agents have an action without outcome (are *open*). An agent keeps its id over
episodes, or gets a new one when it is switched off and on. One object is one behaviour of one game:
its teams, `Ball?team=0` and `Ball?team=1`, are one batch, and are kept apart again in the answer.
Nothing here knows of bytes or other behaviours. There is no Python loop over agents.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import (
    ActionBatch,
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    Scalar,
    StepType,
    TimestepBatch,
    UInt8Array,
)
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import AgentRecords
from entrain_envs.unity.specs import Sensor

_FIRST, _MID = np.uint8(StepType.FIRST), np.uint8(StepType.MID)
_TERMINATED, _TRUNCATED = np.uint8(StepType.TERMINATED), np.uint8(StepType.TRUNCATED)
_NO_IDS: Int64Array = np.empty(0, np.int64)

MOST_ABSENT = 10_000
"""Messages after which an agent that is not heard of is taken for gone. Games of before 2020 switch
agents off without a word; where agents take turns, one may be silent for long."""

MOST_MASK_BYTES = 1 << 28
"""Memory that the masks of a message's agents may take; the game need not send them."""


class Agents:
    """See the module. Owned by the conversation that it belongs to."""

    def __init__(
        self, spec: BehaviourSpec, sensors: Sequence[Sensor], *, most_absent: int = MOST_ABSENT
    ) -> None:
        """Start without agents.

        Args:
            spec: of the behaviour.
            sensors: in the order of the records' observations.
            most_absent: see `MOST_ABSENT`.
        """
        self.spec = spec
        self._sensors = tuple(sensors)
        self._most_absent = most_absent
        self._open = _NO_IDS
        self._heard = _NO_IDS
        self._acting = _NO_IDS
        self._recent = b""
        self._messages = 0
        self._asked: tuple[tuple[str, int], ...] = ()
        self._gone = _NO_IDS
        self._all_allowed = self._allowed(0)

    def __repr__(self) -> str:
        return f"<Agents of '{self.spec.name}': {len(self._open)} open>"

    @property
    def num_open(self) -> int:
        """Agents with an action whose outcome has not come."""
        return len(self._open)

    def read(self, records: Mapping[str, AgentRecords]) -> TimestepBatch:
        """The timesteps of one message: ends of episodes first, then those that need an action.

        An end of an agent that is not open closes nothing and is left out.

        Args:
            records: {key: records} of the behaviour's teams.

        Raises:
            UnityMessageError: an agent asks twice, or sensors are not those of the first message.
        """
        self._messages += 1
        parts = [records[key] for key in sorted(records)]
        only = parts[0]
        agent_id = only.id if len(parts) == 1 else np.concatenate([each.id for each in parts])
        done = only.done if len(parts) == 1 else np.concatenate([each.done for each in parts])
        # Compared as bytes: for a few agents numpy's comparisons cost more than all else here.
        if agent_id.tobytes() == self._recent and not done.any():
            self._asked = tuple((key, len(records[key])) for key in sorted(records))
            return self._usual(agent_id, parts)
        return self._unusual(records, parts, agent_id, done)

    def _usual(self, agent_id: Int64Array, parts: Sequence[AgentRecords]) -> TimestepBatch:
        """The outcomes of all that were given an action last, and no end."""
        if not self._messages % self._most_absent:
            self._look_for_absent()
        return TimestepBatch(
            agent_id=agent_id,
            step_type=np.full(len(agent_id), _MID, np.uint8),
            reward=_joined([each.reward for each in parts]),
            observation=self._observation(parts),
            action_mask=self._mask(parts),
            group_id=_group_id(parts),
            group_reward=_group_reward(parts),
        )

    def _unusual(
        self,
        records: Mapping[str, AgentRecords],
        parts: Sequence[AgentRecords],
        agent_id: Int64Array,
        done: BoolArray,
    ) -> TimestepBatch:
        self._look_for_absent()
        ends, acts = self._ends(agent_id, done), np.flatnonzero(~done)
        acting = agent_id[acts]
        self._require_once(acting)
        ended = agent_id[ends]
        continues = _is_among(acting, self._open) & ~_is_among(acting, np.sort(ended))
        order = np.concatenate((ends, acts))
        interrupted = _joined([each.interrupted for each in parts])[ends]
        is_first = np.concatenate((np.zeros(len(ends), np.bool_), ~continues))
        reward = _joined([each.reward for each in parts])[order]
        # What was earned before an agent's first action belongs to no step.
        reward[is_first] = 0.0
        group_id, group_reward = _group_id(parts), _group_reward(parts)
        if group_reward is not None:
            group_reward = np.where(is_first, np.float32(0.0), group_reward[order])
        self._note(ended, acting)
        self._asked = tuple(
            (key, int(np.count_nonzero(~records[key].done))) for key in sorted(records)
        )
        return TimestepBatch(
            agent_id=agent_id[order],
            step_type=_step_types(interrupted, continues),
            reward=reward,
            observation={name: values[order] for name, values in self._observation(parts).items()},
            action_mask=self._mask(parts)[order],
            group_id=None if group_id is None else group_id[order],
            group_reward=group_reward,
        )

    def _ends(self, agent_id: Int64Array, done: BoolArray) -> Int64Array:
        """[E] rows that end an open episode: of each agent the first."""
        ends = np.flatnonzero(done)
        ends = ends[_is_among(agent_id[ends], self._open)]
        _, first = np.unique(agent_id[ends], return_index=True)
        return ends[np.sort(first)]

    def _require_once(self, acting: Int64Array) -> None:
        in_order = np.sort(acting)
        twice = in_order[1:][in_order[1:] == in_order[:-1]]
        if len(twice):
            raise UnityMessageError(
                f"behaviour '{self.spec.name}', agent {twice[0]} asks for two actions in one "
                "message; an agent asks once, after the end of its last episode if there was one"
            )

    def _note(self, ended: Int64Array, acting: Int64Array) -> None:
        """These ended; then these were given an action."""
        staying = ~_is_among(self._open, np.sort(np.concatenate((ended, acting))))
        open_ = np.concatenate((self._open[staying], acting))
        heard = np.concatenate(
            (self._heard[staying], np.full(len(acting), self._messages, np.int64))
        )
        order = np.argsort(open_)
        self._open, self._heard = open_[order], heard[order]
        self._acting, self._recent = acting, acting.tobytes()

    def _look_for_absent(self) -> None:
        """Take agents for gone that were not heard of for very long."""
        if len(self._open) == len(self._acting):
            return
        # Usual messages do not note whom they are from.
        self._heard[_is_among(self._open, np.sort(self._acting))] = self._messages - 1
        gone = self._heard < self._messages - self._most_absent
        if gone.any():
            self._gone = np.concatenate((self._gone, self._open[gone]))
            self._open, self._heard = self._open[~gone], self._heard[~gone]

    def forget(self) -> None:
        """The game begins all episodes anew: open agents are gone."""
        self._gone = np.concatenate((self._gone, self._open))
        self._open = self._heard = self._acting = _NO_IDS
        self._recent = b""

    def take_gone(self) -> Int64Array:
        """[G] open agents that vanished without an outcome, since the last call."""
        gone, self._gone = self._gone, _NO_IDS
        return gone

    def split(self, actions: ActionBatch) -> Mapping[str, ActionBatch]:
        """{key: actions in the order of its records that need one} of the last message."""
        if len(self._asked) == 1:
            key, count = self._asked[0]
            return {key: actions} if count else {}
        result, begin = {}, 0
        for key, count in self._asked:
            end = begin + count
            if count:
                result[key] = ActionBatch(
                    continuous=actions.continuous[begin:end],
                    discrete=actions.discrete[begin:end],
                    policy_version=actions.policy_version,
                )
            begin = end
        return result

    def _observation(self, parts: Sequence[AgentRecords]) -> Mapping[str, Array]:
        for part in parts:
            if len(part.observations) != len(self._sensors):
                raise UnityMessageError(
                    f"behaviour '{self.spec.name}' sent {len(part.observations)} sensors, and "
                    f"before {len(self._sensors)}; all its agents must have the same ones"
                )
        return {
            sensor.spec.name: _joined(
                [sensor.read(part.observations[index], part.id) for part in parts]
            )
            for index, sensor in enumerate(self._sensors)
        }

    def _mask(self, parts: Sequence[AgentRecords]) -> BoolArray:
        """[K, num_choices] true where a choice is allowed; in the game's words, not forbidden."""
        count = sum(len(part) for part in parts)
        if all(part.mask is None for part in parts):
            if len(self._all_allowed) != count:
                self._all_allowed = self._allowed(count)
            return self._all_allowed
        masks = [self._mask_of(part) for part in parts]
        return masks[0] if len(masks) == 1 else np.concatenate(masks)

    def _mask_of(self, part: AgentRecords) -> BoolArray:
        choices = self.spec.action.num_choices
        # A mask of another length says nothing.
        if part.mask is None or part.mask.shape[1] != choices:
            return self._allowed(len(part))
        allowed: BoolArray = ~part.mask
        return allowed

    def _allowed(self, count: int) -> BoolArray:
        """A mask that allows everything, read-only: one serves many messages."""
        needed = count * self.spec.action.num_choices
        if needed > MOST_MASK_BYTES:
            raise UnityMessageError(
                f"behaviour '{self.spec.name}' has {count:,} agents with "
                f"{self.spec.action.num_choices:,} choices each, whose masks take {needed:,} "
                f"bytes; expected at most {MOST_MASK_BYTES:,}: use fewer agents in a game, or "
                "split one choice into several branches"
            )
        mask = np.ones((count, self.spec.action.num_choices), np.bool_)
        mask.flags.writeable = False
        return mask


def _group_id(parts: Sequence[AgentRecords]) -> Int64Array | None:
    """[K]; None if no agent has a group."""
    group_id = _joined([part.group_id for part in parts])
    return group_id if group_id.any() else None


def _group_reward(parts: Sequence[AgentRecords]) -> Float32Array | None:
    """[K]; None if no group earned anything."""
    group_reward = _joined([part.group_reward for part in parts])
    return group_reward if group_reward.any() else None


def _step_types(interrupted: BoolArray, continues: BoolArray) -> UInt8Array:
    """[E + A] of the ends, then of those that need an action."""
    return np.concatenate(
        (
            np.where(interrupted, _TRUNCATED, _TERMINATED),
            np.where(continues, _MID, _FIRST),
        )
    )


def _is_among(agent_id: Int64Array, ascending: Int64Array) -> BoolArray:
    """[K] whether each of `agent_id` [K] is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(agent_id), np.bool_)
    position = np.minimum(np.searchsorted(ascending, agent_id), len(ascending) - 1)
    is_among: BoolArray = ascending[position] == agent_id
    return is_among


def _joined(parts: Sequence[npt.NDArray[Scalar]]) -> npt.NDArray[Scalar]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
