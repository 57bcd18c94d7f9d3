"""A whole simulator: sixteen points on a line, which learn to stand still at zero."""

import sys

import numpy as np

import entrain_envs as envs

FIRST, MID, _, TRUNCATED = envs.StepType
PLACE, PUSH = envs.ObservationSpec("place", (1,)), envs.ActionSpec(low=(-1,), high=(1,))
SPEC = envs.BehaviourSpec("point", observations=(PLACE,), action=PUSH)
POINTS, EPISODE = np.arange(16), [FIRST, *[MID] * 49, TRUNCATED]

with envs.TrainerClient(sys.argv[1], [SPEC], simulator="points") as client:
    random = np.random.default_rng(client.connect().seed)
    while True:  # until the trainer is done, which ends the `with` block
        place = random.uniform(-3.0, 3.0, (16, 1))
        for step in EPISODE:
            reward = 0.0 if step is FIRST else -abs(place[:, 0])
            timesteps = envs.TimestepBatch.of(
                SPEC, agent_id=POINTS, step_type=step, reward=reward, observation={"place": place}
            )
            actions = client.exchange({"point": timesteps})["point"].continuous
            if step is not TRUNCATED:
                place = place + 0.2 * actions
