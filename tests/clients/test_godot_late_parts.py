"""The Godot addon merges late rows, and chooses for its fallbacks, as the Python client does."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain_envs.fallback import LastActions, neutral
from entrain_envs.late_rows import LateRows
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from support.godot import needs_godot, output, project
from support.late_worlds import batch_of, calls, rows_in

pytestmark = [needs_godot, pytest.mark.clients]

SCRIPT = Path(__file__).parent / "godot" / "late_parts.gd"


def test_its_parts_do_as_the_python_client_does(tmp_path: Path) -> None:
    merged = [list(late_calls(seed)) for seed in range(60)]
    actions = [action_case(random.Random(seed)) for seed in range(200)]
    cases = {"merged": merged, "actions": [case for case, _ in actions]}
    folder = project(tmp_path / "game", SCRIPT)
    (folder / "cases.json").write_text(json.dumps(cases))
    code, said = output(folder, "-s", "late_parts.gd")
    assert code == 0, said
    answers = json.loads(said.split("answers ")[1].splitlines()[0])
    for seed, steps in enumerate(answers["merged"]):
        # Rows of different agents may come in any order.
        assert [sorted(step, key=lambda row: row[0]) for step in steps] == expected(seed)
    for (case, action), said_action in zip(actions, answers["actions"], strict=True):
        numbers = [*said_action["move"], *(said_action[str(i)] for i in range(len(action[1])))]
        assert numbers == pytest.approx([*action[0], *action[1]]), case


def late_calls(seed: int) -> Iterator[list[Any] | None]:
    """Steps of a world whose agents never sleep: agent, type, reward and what it sees."""
    for call in calls(seed, asleep=0.0):
        seen = call and [[agent, kind, reward, row] for agent, kind, reward, _, row, _ in call[1]]
        yield seen if call else None


def expected(seed: int) -> list[list[list[float]]]:
    """What the Python client sends where all of these steps are late."""
    late, said = LateRows(), []
    for call in calls(seed, asleep=0.0):
        if call is not None:
            late.add(batch_of(call[1]), too_late=batch_of(call[1]).agent_id)
            continue
        sent = [] if not late else rows_in(late.take())
        numbers = [
            [agent, kind, reward, row, mark] for agent, kind, reward, _, row, _, mark in sent
        ]
        said.append(sorted(([float(each) for each in row] for row in numbers), key=lambda r: r[0]))
    return said


def action_case(lot: random.Random) -> tuple[dict[str, Any], tuple[list[float], list[int]]]:
    """An action that is to be chosen again, and what the Python client chooses."""
    size, branches = lot.randint(0, 3), [lot.randint(2, 4) for _ in range(lot.randint(1, 3))]
    low = [lot.choice([-1.0, 0.25, -3.0]) for _ in range(size)]
    high = [bound + lot.choice([0.5, 2.0]) for bound in low]
    spec = BehaviourSpec(
        "bug",
        (ObservationSpec("seen", (1,)),),
        ActionSpec(low=tuple(low), high=tuple(high), branches=tuple(branches)),
        deadline_ms=10,
        fallback="last",
    )
    allowed = [[lot.random() < 0.6 for _ in range(count)] for count in branches]
    for branch in allowed:
        branch[lot.randrange(len(branch))] = True
    last = ([lot.randint(-9, 9) / 8 for _ in low], [lot.randrange(count) for count in branches])
    kind, has_last = lot.choice([StepType.FIRST, StepType.MID, StepType.MID]), lot.random() < 0.8
    mask = np.concatenate([np.asarray(branch, np.bool_) for branch in allowed])[np.newaxis]

    def row(step_type: int) -> TimestepBatch:
        seen = {"seen": np.zeros((1, 1), np.float32)}
        return TimestepBatch.of(
            spec,
            agent_id=[1],
            step_type=[step_type],
            reward=[0],
            observation=seen,
            action_mask=mask,
        )

    actions = LastActions(spec)
    if has_last:
        numbers = np.asarray([last[0]], np.float32).reshape(1, -1)
        actions.note(row(StepType.MID), ActionBatch(numbers, np.asarray([last[1]], np.int32), 0))
    again = actions.again(row(kind)) if has_last else neutral(spec, row(kind))
    named = {"move": last[0], **{str(i): choice for i, choice in enumerate(last[1])}}
    case = {
        "low": low,
        "high": high,
        "branches": branches,
        "mask": {str(i): branch for i, branch in enumerate(allowed)},
        "last": named if has_last else None,
        "type": int(kind),
    }
    return case, (again.continuous[0].tolist(), again.discrete[0].tolist())
