"""Worlds in which a fallback acts now and then, in the form that the Python client takes."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

BUG = BehaviourSpec("bug", (ObservationSpec("seen", (1,)),), ActionSpec(branches=(2,)))
FIRST, MID, TERMINATED, TRUNCATED = map(int, StepType)

Row = tuple[int, int, float, float, float, int]
"""Agent, step type, reward, reward of its group, what it observes, whether choice 1 is allowed."""

Call = tuple[Sequence[int], Sequence[Row]] | None
"""An `add`, with the agents whose action came too late, or a `take`."""


def calls(seed: int, *, asleep: float = 0.3) -> Iterator[Call]:
    """Steps of a world whose agents sleep, die, begin again at once or later.

    Each answer is in time, or the fallback acts in several steps before it is here.
    """
    lot = random.Random(seed)
    is_running = [True] * lot.randint(1, 4)
    asked = list(range(len(is_running)))
    waits = False
    for _ in range(lot.randint(1, 8)):
        rows: list[Row] = []
        for agent, runs in enumerate(is_running):
            if lot.random() < asleep:
                continue
            kinds = [lot.choice([MID, MID, MID, TERMINATED, TRUNCATED])] if runs else [FIRST]
            if kinds[0] > MID and lot.random() < 0.6:
                kinds.append(FIRST)
            is_running[agent] = kinds[-1] <= MID
            for kind in kinds:
                earned = 0 if kind == FIRST else lot.randint(1, 9)
                shared = earned / 2 if agent % 2 else 0
                rows.append((agent, kind, earned, shared, lot.randint(0, 99), lot.randint(0, 1)))
        falls_back = waits or lot.random() < 0.7
        yield asked if falls_back else [], rows
        waits = falls_back and lot.random() < 0.6
        if not waits:
            asked = [row[0] for row in rows if row[1] <= MID]
            yield None
    yield None


def batch_of(rows: Sequence[Row]) -> TimestepBatch:
    agents, kinds, rewards, shared, seen, allowed = (
        [row[column] for row in rows] for column in range(6)
    )
    mask = np.asarray([[1, each] for each in allowed], np.bool_).reshape(-1, 2)
    return TimestepBatch.of(
        BUG,
        agent_id=agents,
        step_type=kinds,
        reward=rewards,
        observation={"seen": np.asarray(seen, np.float32)[:, np.newaxis]},
        action_mask=mask,
        group_id=np.ones(len(rows), np.int64),
        group_reward=np.asarray(shared, np.float32),
    )


def rows_in(batch: TimestepBatch) -> Iterator[tuple[float, ...]]:
    late = np.zeros(len(batch), np.bool_) if batch.late is None else batch.late
    shared = batch.group_reward
    assert shared is not None
    columns: list[Any] = [batch.agent_id, batch.step_type, batch.reward, shared]
    seen = batch.observation["seen"][:, 0]
    yield from zip(*columns, seen, batch.action_mask[:, 1], late, strict=True)
