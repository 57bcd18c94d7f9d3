"""A rollout takes the memory that its numbers take, and the next ones take none.

That is twice their bytes: the buffer's storage, and the copy that is handed out.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from entrain.experience import named_tensors
from entrain.rollout.buffer import RolloutBuffer
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Float32Array, StepType

OBSERVATION, ACTION, SLOTS, STEPS = 256, 4, 64, 500
SPEC = BehaviourSpec(
    "walker",
    (ObservationSpec("vector", (OBSERVATION,)),),
    ActionSpec(low=(-1.0,) * ACTION, high=(1.0,) * ACTION),
)
# Observation, action, log-probability, reward, value and next value; the policy's version; reset
# and boundary.
STEP_BYTES = 4 * (OBSERVATION + ACTION + 4) + 8 + 2
MIB = 2**20
ROLLOUT_MIB = STEP_BYTES * SLOTS * STEPS / MIB

STATUS = Path("/proc/self/status")


def resident_mib() -> float:
    """Of numbers: memory that is not a file's, as libraries' code is."""
    for line in STATUS.read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS} has no RssAnon")


def ones(*shape: int) -> Float32Array:
    return np.ones((SLOTS, *shape), np.float32)


def fill(buffer: RolloutBuffer, *, steps: int = STEPS) -> None:
    slot = np.arange(SLOTS)
    for _ in range(steps):
        buffer.open(
            slot,
            recurrent_state=ones(0),
            observation={"vector": ones(OBSERVATION)},
            action={"continuous": ones(ACTION)},
            action_mask=np.ones((SLOTS, 0), np.bool_),
            log_prob=ones(),
            value=ones(1),
            reset=np.zeros(SLOTS, np.bool_),
            policy_version=1,
        )
        buffer.close(
            slot,
            step_type=np.full(SLOTS, StepType.MID, np.uint8),
            reward=ones(),
            value=ones(1),
        )


def growth_mib(rollouts: int) -> list[float]:
    """How much more memory is resident than at first, after each of so many rollouts."""
    first = RolloutBuffer(SPEC)
    first.grow(SLOTS)
    fill(first, steps=2)
    first.cut()
    buffer = RolloutBuffer(SPEC)
    before = resident_mib()
    buffer.grow(SLOTS)
    growth = []
    for _ in range(rollouts):
        fill(buffer)
        rollout = buffer.cut()
        growth.append(resident_mib() - before)
        # As an update does, before the next is cut.
        del rollout
    return growth


def test_a_rollout_holds_the_bytes_of_its_steps_and_no_others() -> None:
    buffer = RolloutBuffer(SPEC)
    buffer.grow(SLOTS)
    fill(buffer, steps=10)
    rollout = buffer.cut()
    num_bytes = sum(tensor.nbytes for _, tensor in named_tensors(rollout))
    # And one for each step: whether it is valid.
    assert num_bytes == (STEP_BYTES + 1) * SLOTS * 10


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")
def test_rollouts_take_twice_the_memory_of_their_numbers_however_many_there_are() -> None:
    # In a fresh process: memory that others have freed would hide what is taken.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        growth = process.submit(growth_mib, 3).result()
    assert growth[-1] == pytest.approx(2 * ROLLOUT_MIB, rel=0.1)
    assert growth[-1] - growth[1] <= 0.02 * ROLLOUT_MIB
