"""Rows of a world that did not wait: those of several steps become one for each agent.

The trainer gave each agent an action, which came too late; a fallback acted, perhaps in several
steps. What the trainer is told in the end is one outcome of its action, with the rewards of all of
them, and the newest observation. If the episode ended, its end is that outcome, and the next one
begins, for the trainer, with the newest observation. Nothing here is executed once per agent.

Shapes: K rows of one behaviour.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from entrain_envs.joined_batches import joined
from entrain_envs.timestep import BoolArray, Int64Array, StepType, TimestepBatch

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)


class LateRows:
    """The rows of one behaviour that are to be sent, at most two for each agent."""

    def __init__(self) -> None:
        self._rows: TimestepBatch | None = None
        self._is_due = np.zeros(0, np.bool_)
        """[K] false for the row of an agent that has acted on it, and whose outcome is not here
        yet: its turn comes later."""

    def __bool__(self) -> bool:
        return self._rows is not None

    def add(self, rows: TimestepBatch, *, too_late: Int64Array) -> None:
        """The rows of the next step.

        Args:
            rows: as the environment gives them.
            too_late: ids of the agents whose action came too late, if it led to these rows. An
                agent that has rows here already stays as late as those are: what follows them
                belongs to the same action.
        """
        before = self._rows
        count = 0 if before is None else len(before)
        both = rows if before is None else joined([before, rows])
        was_late = None if before is None else before.late
        is_late = np.isin(both.agent_id, too_late)
        is_late[:count] = False if was_late is None else was_late
        self._rows, kept = _merged(both, is_late)
        self._is_due = (kept >= count) | (self._rows.step_type > _MID)

    def take(self) -> TimestepBatch:
        """Return the rows to send now, and keep the others. Call it after `add`."""
        rows, is_due = self._rows, self._is_due
        assert rows is not None
        if is_due.all():
            self._rows = None
            return rows
        self._rows = picked(rows, np.flatnonzero(~is_due))
        # They wait, however often this is called, until a row of their agent is added.
        self._is_due = np.zeros(len(self._rows), np.bool_)
        return picked(rows, np.flatnonzero(is_due))


def _merged(rows: TimestepBatch, starts_late: BoolArray) -> tuple[TimestepBatch, Int64Array]:
    """Rows in the order of time, as at most an end and a beginning of each agent.

    Args:
        rows: [K] each agent's in their order.
        starts_late: [K] whether a row is late, if it is the first of its agent.

    Returns:
        The rows that are left, as they are sent, and [K'] which of `rows` they are, ascending.
    """
    if not len(rows):
        return rows, np.zeros(0, np.int64)
    order = np.argsort(rows.agent_id, kind="stable")
    agent, kind = rows.agent_id[order], rows.step_type[order]
    is_start = np.append(True, agent[1:] != agent[:-1])
    starts, group = np.flatnonzero(is_start), np.cumsum(is_start) - 1
    is_end = kind > _MID
    ends: Int64Array = np.cumsum(is_end) - is_end
    # The life in which the trainer has given an action: until its end, if it did not begin here.
    is_known = (ends == ends[starts][group]) & (kind[starts] != _FIRST)[group]
    is_last = np.append(starts[1:] - 1, len(agent) - 1)
    stays = is_end & is_known
    stays[is_last] |= ~is_end[is_last]
    is_late = is_known & starts_late[order[starts]][group]

    kept = np.sort(order[stays])
    left = picked(rows, kept)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    place = back[kept]
    known = is_known[place]
    step_type = np.where(is_end[place], kind[place], np.where(known, _MID, _FIRST))

    def total(reward: Any) -> Any:
        sums = np.add.reduceat(np.where(is_known, reward[order], np.float32(0)), starts)
        return np.where(known, sums[group[place]], np.float32(0)).astype(np.float32)

    shared = rows.group_reward
    changes: Mapping[str, Any] = {
        "step_type": step_type.astype(np.uint8),
        "reward": total(rows.reward),
        "group_reward": None if shared is None else total(shared),
        "late": _late_or_none(is_late[place]),
    }
    return TimestepBatch(**{**vars(left), **changes}), kept


def _late_or_none(late: BoolArray) -> BoolArray | None:
    return late if late.any() else None


def picked(rows: TimestepBatch, index: Int64Array) -> TimestepBatch:
    """These rows of a batch."""

    def pick(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: each[index] for name, each in value.items()}
        return None if value is None else value[index]

    return TimestepBatch(**{each.name: pick(getattr(rows, each.name)) for each in fields(rows)})
