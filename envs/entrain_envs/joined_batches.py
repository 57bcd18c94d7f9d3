"""Joins the rows of several simulators, or of several parts of one, into one batch."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from entrain_envs.timestep import TimestepBatch

Number = TypeVar("Number", bound=np.generic)


def joined(parts: Sequence[TimestepBatch]) -> TimestepBatch:
    """All rows of at least one batch of one behaviour, in the order of the parts."""
    if len(parts) == 1:
        return parts[0]
    lengths = [len(part.agent_id) for part in parts]
    return TimestepBatch(
        agent_id=np.concatenate([part.agent_id for part in parts]),
        step_type=np.concatenate([part.step_type for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        observation={
            name: np.concatenate([part.observation[name] for part in parts])
            for name in parts[0].observation
        },
        action_mask=np.concatenate([part.action_mask for part in parts]),
        group_id=_join_if_any([part.group_id for part in parts], lengths),
        group_reward=_join_if_any([part.group_reward for part in parts], lengths),
        late=_join_if_any([part.late for part in parts], lengths),
    )


def _join_if_any(
    parts: Sequence[NDArray[Number] | None], lengths: Sequence[int]
) -> NDArray[Number] | None:
    """All parts, with zeros for those that have none; None if none has any."""
    sent = next((part for part in parts if part is not None), None)
    if sent is None:
        return None
    return np.concatenate(
        [
            np.zeros(length, sent.dtype) if part is None else part
            for part, length in zip(parts, lengths, strict=True)
        ]
    )
