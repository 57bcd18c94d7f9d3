"""A batch of one agent and a batch of hundreds run the same Python statements.

Thousands are evaluated in chunks, each of which runs them once.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import entrain
from entrain.config.policy import EntropyConfig, MemoryConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout import step_block
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

SPEC = BehaviourSpec("b", (ObservationSpec("x", (4,)),), ActionSpec((-1.0,), (1.0,), (2, 3)))
PLAIN = PolicyConfig()
RECURRENT = PolicyConfig(
    network=NetworkConfig(
        memory=MemoryConfig(kind="lstm", size=4, sequence_length=2, burn_in=1),
        previous_action=True,
        previous_reward=True,
    ),
    entropy=EntropyConfig(objective="entropy_critic"),
)
PACKAGE = str(Path(entrain.__file__).parent)
Statement = tuple[str, int]


@contextmanager
def counted_statements() -> Iterator[Counter[Statement]]:
    """How often each line of this package runs inside the block, whatever the thread's tracer."""
    statements: Counter[Statement] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            statements[frame.f_code.co_filename, frame.f_lineno] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield statements
    finally:
        sys.settrace(before)


def batch_of(agents: int, kinds: tuple[StepType, ...]) -> SlotTimesteps:
    """Each kind of row for each agent: agent 0's rows first of all kinds, and so on."""
    slot = np.repeat(np.arange(agents), len(kinds))
    rows = len(slot)
    timesteps = TimestepBatch(
        slot,
        np.tile(np.array(kinds, np.uint8), agents),
        np.ones(rows, np.float32),
        {"x": np.zeros((rows, 4), np.float32)},
        np.ones((rows, 5), np.bool_),
    )
    return SlotTimesteps(slot, timesteps, np.zeros(0, np.int64), agents)


def statements_of(
    make_actor: Callable[..., Any], agents: int, config: PolicyConfig = PLAIN
) -> list[Counter[Statement]]:
    """Of observing and answering each batch of a life: begin, go on, go on and cut, end."""
    policy = ActorCritic(SPEC, config, seed=0)
    actor = make_actor(
        policy, rollout_steps=2 * agents, discount=0.9, normalize_rewards=True, reward_clip=1.0
    )
    ends = (StepType.TERMINATED, StepType.FIRST)
    each = []
    for kinds in ((StepType.FIRST,), (StepType.MID,), (StepType.MID,), ends, (StepType.TRUNCATED,)):
        with counted_statements() as statements:
            actor.observe(batch_of(agents, kinds))
            actor.act()
            actor.record()
        each.append(statements)
    return each


@pytest.mark.parametrize("agents", [2, 512])
@pytest.mark.parametrize("config", [PLAIN, RECURRENT], ids=["plain", "recurrent"])
def test_a_batch_runs_the_same_statements_as_often_whatever_its_size(
    agents: int,
    config: PolicyConfig,
    make_actor: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each batch is written down by itself: how many are written at once depends on their size.
    monkeypatch.setattr(step_block, "MOST_BATCHES", 1)
    statements_of(make_actor, 1, config)  # whatever is computed once a process is computed now
    pairs = zip(
        statements_of(make_actor, 1, config),
        statements_of(make_actor, agents, config),
        strict=True,
    )
    for one, many in pairs:
        assert one == many
        assert one.total() > 100
        assert max(one.values()) < 60
