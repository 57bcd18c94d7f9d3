"""A whole simulator: sixteen points on a line, which learn to stand still at zero."""

import sys

import numpy as np

from entrain_envs.client import TrainerClient
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

POINTS, LENGTH = np.arange(16), 50
SPEC = BehaviourSpec("point", (ObservationSpec("place", (1,)),), ActionSpec(low=(-1,), high=(1,)))

with TrainerClient(sys.argv[1], [SPEC], simulator="points") as client:
    random = np.random.default_rng(client.connect().seed)
    while True:  # until the trainer is done, which ends the `with` block
        place = random.uniform(-3.0, 3.0, (16, 1))
        for step in [StepType.FIRST, *[StepType.MID] * (LENGTH - 1), StepType.TRUNCATED]:
            reward = 0.0 if step is StepType.FIRST else -abs(place[:, 0])
            timesteps = TimestepBatch.of(
                SPEC, agent_id=POINTS, step_type=step, reward=reward, observation={"place": place}
            )
            actions = client.exchange({"point": timesteps})["point"].continuous
            if step is not StepType.TRUNCATED:
                place = place + 0.2 * actions
