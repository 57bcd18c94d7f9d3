"""Rows of late steps are merged by the clients in C++ and JavaScript as by the one in Python."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entrain_envs.late_rows import LateRows
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from support.cpp_probe import answers
from support.node import NODE, needs_node

BUG = BehaviourSpec("bug", (ObservationSpec("seen", (1,)),), ActionSpec(branches=(2,)))
FIRST, MID, TERMINATED, TRUNCATED = map(int, StepType)
CASES = 150

Row = tuple[int, int, float, float, float, int]
"""Agent, step type, reward, reward of its group, what it observes, whether choice 1 is allowed."""

Call = tuple[bool, Sequence[Row]] | None
"""An `add`, or a `take`."""


def calls(seed: int) -> Iterator[Call]:
    """Steps of a world whose agents sleep, die, begin again at once or later, some of them late."""
    lot = random.Random(seed)
    is_running = [True] * lot.randint(1, 4)
    for _ in range(lot.randint(1, 8)):
        rows: list[Row] = []
        for agent, runs in enumerate(is_running):
            if lot.random() < 0.3:
                continue
            kinds = [lot.choice([MID, MID, MID, TERMINATED, TRUNCATED])] if runs else [FIRST]
            if kinds[0] > MID and lot.random() < 0.6:
                kinds.append(FIRST)
            is_running[agent] = kinds[-1] <= MID
            for kind in kinds:
                earned = 0 if kind == FIRST else lot.randint(1, 9)
                shared = earned / 2 if agent % 2 else 0
                rows.append((agent, kind, earned, shared, lot.randint(0, 99), lot.randint(0, 1)))
        yield lot.random() < 0.7, rows
        if lot.random() < 0.4:
            yield None
    yield None


def lines(seed: int) -> list[str]:
    """As the programs read them."""
    said = ["merge begin"]
    for call in calls(seed):
        if call is None:
            said.append("merge take")
        else:
            words = (":".join(f"{number:g}" for number in row) for row in call[1])
            said.append(" ".join(["merge", "add", str(int(call[0])), *words]))
    return said


def expected(seed: int) -> list[str]:
    """What the Python client sends, in the programs' form."""
    late, said = LateRows(), []
    for call in calls(seed):
        if call is not None:
            late.add(batch_of(call[1]), late=call[0])
        elif late:
            said.append(" ".join(["due", *map(words_of, rows_in(late.take()))]))
        else:
            said.append("due")
    return said


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


def words_of(row: tuple[float, ...]) -> str:
    return ":".join(f"{float(number):g}" for number in row)


def test_the_cpp_client_merges_rows_as_the_python_client_does(cpp_probe: Path) -> None:
    said = answers(cpp_probe, [line for seed in range(CASES) for line in lines(seed)])
    assert said == [each for seed in range(CASES) for each in expected(seed)]


@needs_node
def test_the_javascript_client_merges_rows_as_the_python_client_does() -> None:
    program = Path(__file__).parent / "javascript" / "late_rows.js"
    done = subprocess.run(
        [NODE, str(program)],
        input="".join(f"{line}\n" for seed in range(CASES) for line in lines(seed)),
        capture_output=True,
        text=True,
        check=True,
        timeout=60.0,
    )
    assert done.stdout.splitlines() == [each for seed in range(CASES) for each in expected(seed)]
