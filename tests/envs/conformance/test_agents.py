"""How many agents the kit follows: those that ended make room, and those that live do not."""

import numpy as np
import pytest

from entrain_envs.conformance import agents
from entrain_envs.conformance.agents import AgentJudge
from entrain_envs.conformance.arrays import Rows
from entrain_envs.conformance.results import Results, Verdict

FIRST, MID, TERMINATED = 1, 2, 3


def rows_of(step_type: int, *agent_ids: int) -> Rows:
    count = len(agent_ids)
    return Rows(
        behaviour="bug",
        agent_id=np.array(agent_ids, np.int64),
        step_type=np.full(count, step_type, np.uint8),
        reward=np.zeros(count, np.float32),
        observations=(np.arange(count, dtype=np.float32)[:, None] + step_type,),
        action_mask=np.zeros((count, 0), np.bool_),
        late=np.zeros(count, np.bool_),
    )


def test_agents_that_ended_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_MOST_AGENTS", 4)
    results = Results()
    judge = AgentJudge("bug", results)
    assert judge.look(rows_of(FIRST, 1, 2, 3), 1)
    assert judge.look(rows_of(TERMINATED, 1), 2)
    assert judge.look(rows_of(FIRST, 4, 5), 3)
    assert judge.num_running == 4
    failed = [each.rule.name for each in results.findings() if each.verdict is Verdict.FAILED]
    assert failed == []
    assert not judge.look(rows_of(FIRST, 6), 4)
    failed = [each.rule.name for each in results.findings() if each.verdict is Verdict.FAILED]
    assert failed == ["max-agents"]
