"""The order of an agent's rows, agent by agent, to hold the fast one against."""

import numpy as np

from entrain_envs.timestep import StepType, TimestepBatch

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Message = list[tuple[int, StepType]]
"""(agent, step type) of each row."""


def batch(message: Message) -> TimestepBatch:
    return TimestepBatch(
        agent_id=np.array([agent for agent, _ in message], np.int64),
        step_type=np.array([step_type for _, step_type in message], np.uint8),
        reward=np.arange(len(message), dtype=np.float32),
        observation={"code": np.arange(len(message), dtype=np.float32)},
        action_mask=np.empty((len(message), 0), np.bool_),
    )


def slow_after(awaiting: set[int], message: Message) -> set[int]:
    """Who awaits an outcome after the message; raises the row that is out of order."""
    now, seen = set(awaiting), dict[int, StepType]()
    for row, (agent, step_type) in enumerate(message):
        if agent in seen and not (seen[agent] >= TERMINATED and step_type is FIRST):
            raise IndexError(row)
        if agent not in seen and (step_type is FIRST) is (agent in awaiting):
            raise IndexError(row)
        seen[agent] = step_type
        now.discard(agent)
        if step_type <= MID:
            now.add(agent)
    return now
