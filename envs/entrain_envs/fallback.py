"""The action taken where the trainer's came too late: the last one again, or a neutral one.

Shapes: K rows of one behaviour, A of which need an action; D continuous dimensions, N branches.
"""

import numpy as np

from entrain_envs.spec import ActionSpec, BehaviourSpec
from entrain_envs.timestep import (
    ActionBatch,
    BoolArray,
    Float32Array,
    Int32Array,
    Int64Array,
    StepType,
    TimestepBatch,
)

_FIRST = int(StepType.FIRST)


def neutral(spec: BehaviourSpec, rows: TimestepBatch) -> ActionBatch:
    """Zero, or what is nearest to it within the bounds; of each branch the first allowed choice."""
    action, mask = spec.action, rows.action_mask[rows.needs_action]
    low, high = np.array(action.low, np.float32), np.array(action.high, np.float32)
    nothing = np.clip(np.zeros(action.continuous_size, np.float32), low, high)
    return ActionBatch(
        continuous=np.tile(nothing, (len(mask), 1)),
        discrete=_first_allowed(action, mask),
        policy_version=0,
    )


def _first_allowed(action: ActionSpec, mask: BoolArray) -> Int32Array:
    """[A, N] from [A, choices]."""
    branches = np.split(mask, np.cumsum(action.branches)[:-1], axis=1) if action.branches else []
    choices = np.zeros((len(mask), len(branches)), np.int32)
    for index, branch in enumerate(branches):
        choices[:, index] = branch.argmax(axis=1)
    return choices


class LastActions:
    """The action that each agent took last in its episode, whether the trainer's or a fallback's.

    Never one that came too late: such an action decides nothing, so that it need not be learned
    from.
    """

    def __init__(self, spec: BehaviourSpec) -> None:
        self._spec = spec
        self._agent_id = np.zeros(0, np.int64)
        """Ascending."""
        self._continuous = np.zeros((0, spec.action.continuous_size), np.float32)
        self._discrete = np.zeros((0, len(spec.action.branches)), np.int32)

    def note(self, rows: TimestepBatch, actions: ActionBatch) -> None:
        """These actions were taken by the agents of `rows` that needed one."""
        agent_id = rows.agent_id[rows.needs_action]
        # Agents whose episode ended are forgotten: they may never come back.
        stays = ~np.isin(self._agent_id, rows.agent_id)
        ids = np.concatenate([self._agent_id[stays], agent_id])
        order = np.argsort(ids)
        self._agent_id = ids[order]
        self._continuous = np.concatenate([self._continuous[stays], actions.continuous])[order]
        self._discrete = np.concatenate([self._discrete[stays], actions.discrete])[order]

    def again(self, rows: TimestepBatch) -> ActionBatch:
        """Each agent's last action; neutral where an episode begins or a mask forbids it."""
        other = neutral(self._spec, rows)
        acting = rows.needs_action
        place, is_known = self._find(rows.agent_id[acting])
        is_known &= rows.step_type[acting] != _FIRST
        if not is_known.any():
            return other
        continuous: Float32Array = np.where(
            is_known[:, np.newaxis], self._continuous[place], other.continuous
        )
        discrete = self._discrete[place]
        is_allowed = is_known[:, np.newaxis] & self._allowed(discrete, rows.action_mask[acting])
        return ActionBatch(
            continuous, np.where(is_allowed, discrete, other.discrete).astype(np.int32), 0
        )

    def _find(self, agent_id: Int64Array) -> tuple[Int64Array, BoolArray]:
        """The places of these agents in the arrays, and which agents have one."""
        if not len(self._agent_id):
            return np.zeros(len(agent_id), np.int64), np.zeros(len(agent_id), np.bool_)
        place = np.minimum(np.searchsorted(self._agent_id, agent_id), len(self._agent_id) - 1)
        return place, self._agent_id[place] == agent_id

    def _allowed(self, discrete: Int32Array, mask: BoolArray) -> BoolArray:
        """[A, N] whether each choice is."""
        first = np.cumsum((0, *self._spec.action.branches[:-1]))[: discrete.shape[1]]
        allowed: BoolArray = np.take_along_axis(mask, first + discrete, axis=1)
        return allowed
