"""A field that is stored with each step is declared in one place, and arrives in minibatches."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from entrain.config.policy import MemoryConfig
from entrain.errors import CheckpointError
from entrain.experience import Rollout, Stored
from entrain.rollout.buffer import RolloutBuffer
from entrain_envs.timestep import StepType
from made_rollouts import CONTINUOUS, made_policy, made_ppo

SLOTS, ROWS = 3, 7
LSTM = MemoryConfig(kind="lstm", size=3, sequence_length=4, burn_in=2)


@dataclass(frozen=True)
class NotedRollout(Rollout):
    """Stores one number more, and what the critic thought of it."""

    note: Annotated[Tensor, Stored("float32")]
    """[T, B]."""

    values_of_note: Annotated[Tensor, Stored("float64", "V")]
    """[T, B, V]."""


def filled_buffer(memory: MemoryConfig) -> RolloutBuffer:
    """Row t of slot s has log-probability and note 10 * t + s."""
    policy = made_policy(CONTINUOUS, memory=memory)
    buffer = RolloutBuffer(
        policy.inputs,
        state_size=policy.state_size,
        sequence_length=memory.sequence_length,
        burn_in=memory.burn_in,
        rollout_type=NotedRollout,
    )
    slot = np.arange(SLOTS)
    buffer.grow(SLOTS)
    for t in range(ROWS):
        code = (10 * t + slot).astype(np.float32)
        buffer.open(
            slot,
            observation={
                "a": np.ones((SLOTS, 3), np.float32),
                "b": np.ones(SLOTS, np.float32),
            },
            action={"continuous": np.zeros((SLOTS, 2), np.float32)},
            action_mask=np.zeros((SLOTS, 0), np.bool_),
            log_prob=code,
            value=np.zeros((SLOTS, 1), np.float32),
            reset=np.zeros(SLOTS, np.bool_),
            policy_version=0,
            recurrent_state=np.zeros((SLOTS, policy.state_size), np.float32),
            note=code,
            values_of_note=code[:, np.newaxis] + 0.5,
        )
        buffer.close(
            slot,
            step_type=np.full(SLOTS, StepType.MID, np.uint8),
            reward=np.ones(SLOTS, np.float32),
            value=np.zeros((SLOTS, 1), np.float32),
        )
    return buffer


@pytest.mark.parametrize("memory", [MemoryConfig(), LSTM], ids=["single steps", "sequences"])
def test_a_field_that_a_rollout_declares_is_found_in_every_minibatch(memory: MemoryConfig) -> None:
    rollout = filled_buffer(memory).cut()
    assert isinstance(rollout, NotedRollout)
    assert torch.equal(rollout.note, rollout.log_prob)
    assert rollout.values_of_note.dtype == torch.float64
    minibatches = made_ppo(made_policy(CONTINUOUS, memory=memory), minibatch_size=5).minibatches(
        rollout
    )
    found: list[float] = []
    for minibatch in minibatches.epoch(torch.Generator()):
        steps, mask = minibatch.steps, minibatch.mask
        assert isinstance(steps, NotedRollout)
        assert torch.equal(steps.note[mask], steps.log_prob[mask])
        assert torch.equal(steps.values_of_note[mask][:, 0], steps.log_prob[mask].double() + 0.5)
        found += steps.note[mask].tolist()
    assert sorted(found) == [10.0 * t + s for t in range(ROWS) for s in range(SLOTS)]


def test_a_buffer_that_goes_on_from_a_checkpoint_still_has_it() -> None:
    buffer, other = filled_buffer(LSTM), filled_buffer(LSTM)
    other.cut()
    other.load_state(buffer.state())
    rollout = other.cut()
    assert isinstance(rollout, NotedRollout)
    assert torch.equal(rollout.note, rollout.log_prob)


def test_a_checkpoint_without_it_is_refused_by_name() -> None:
    state: dict[str, Any] = dict(filled_buffer(LSTM).state())
    state["columns"] = {
        name: array for name, array in state["columns"].items() if name != "values_of_note"
    }
    with pytest.raises(CheckpointError, match="has no 'values_of_note'"):
        filled_buffer(LSTM).load_state(state)


def test_a_step_that_is_opened_without_it_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"open\(\) was given \['note'\]; it needs .*'log_prob'"):
        filled_buffer(LSTM).open(
            np.arange(1), recurrent_state=np.zeros((1, 0), np.float32), note=np.zeros(1)
        )
