"""Rollouts take the memory that their numbers take, while they are learned from, too."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.policy.actor_critic import ActorCritic
from entrain.rollout.buffer import RolloutBuffer
from entrain.tensor_fields import named_tensors
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Float32Array, StepType

OBSERVATION, ACTION, SLOTS, STEPS = 256, 4, 128, 250
SPEC = BehaviourSpec(
    "walker",
    (ObservationSpec("vector", (OBSERVATION,)),),
    ActionSpec(low=(-1.0,) * ACTION, high=(1.0,) * ACTION),
)
# Observation, action, log-probability, reward, value and next value; the policy's version; reset,
# boundary and late.
STEP_BYTES = 4 * (OBSERVATION + ACTION + 4) + 8 + 3
MIB = 2**20
ROLLOUT_MIB = STEP_BYTES * SLOTS * STEPS / MIB

STATUS = Path("/proc/self/status")
CLEAR_PEAK = Path("/proc/self/clear_refs")


def told_mib(name: str) -> float:
    """What the system says of this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS} has no {name}")


def resident_mib() -> float:
    """Of numbers: memory that is not a file's, as libraries' code is."""
    return told_mib("RssAnon")


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


def small_ppo() -> PPO:
    """Learns by hand, in minibatches that are a small part of a rollout."""
    config = PolicyConfig(algorithm=PPOConfig(minibatch_size=2048, num_epochs=1))
    policy = ActorCritic(SPEC, config, seed=1)
    options = algorithm_options(config, PPOConfig)
    return PPO(
        policy,
        options,
        discount=0.9,
        seed=1,
        device=torch.device("cpu"),
    )


class Look(NamedTuple):
    """Memory above what there was at first, in units of that of a rollout's numbers."""

    when_cut: float
    most_in_update: float
    when_forgotten: float


def looks(rollouts: int) -> list[Look]:
    """Of each rollout."""
    ppo = small_ppo()
    # Whatever is made once, also for whole minibatches.
    few = RolloutBuffer(SPEC)
    few.grow(SLOTS)
    fill(few, steps=40)
    ppo.update(few.cut(), progress=0.0)
    buffer = RolloutBuffer(SPEC)
    buffer.grow(SLOTS)
    before = resident_mib()
    found = []
    for _ in range(rollouts):
        fill(buffer)
        rollout = buffer.cut()
        cut = resident_mib()
        CLEAR_PEAK.write_text("5")
        ppo.update(rollout, progress=0.0)
        peak = told_mib("VmHWM") - told_mib("RssFile")
        del rollout
        found.append(Look(*((mib - before) / ROLLOUT_MIB for mib in (cut, peak, resident_mib()))))
    return found


def test_a_rollout_holds_the_bytes_of_its_steps_and_no_others() -> None:
    buffer = RolloutBuffer(SPEC)
    buffer.grow(SLOTS)
    fill(buffer, steps=10)
    rollout = buffer.cut()
    num_bytes = sum(tensor.nbytes for _, tensor in named_tensors(rollout))
    # And one for each step: whether it is valid.
    assert num_bytes == (STEP_BYTES + 1) * SLOTS * 10


@pytest.mark.skipif(not STATUS.exists(), reason="needs /proc")
def test_memory_is_that_of_the_numbers_of_rollouts_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Freed memory goes back to the system at once, instead of being kept for later.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "100000")
    # A fresh process: memory that others have freed would hide what is taken.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        found = process.submit(looks, 2).result()
    for look in found:
        # The buffer's storage, and the copy that it hands out.
        assert look.when_cut == pytest.approx(2.0, rel=0.1)
        # And normalised observations, in order and in an epoch's order.
        assert look.most_in_update == pytest.approx(4.0, rel=0.1)
        assert look.when_forgotten == pytest.approx(1.0, rel=0.1)
