"""A trainer made of ML-Agents' own Python package: writes down what it decodes of a game.

Runs in a virtual environment of its own, for that package needs older libraries than we do:

    python stock_trainer.py PORT STEPS FILE
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mlagents_envs.base_env import ActionTuple
from mlagents_envs.environment import UnityEnvironment
from mlagents_envs.side_channel.stats_side_channel import StatsSideChannel

SEED = 11


def main() -> None:
    """Command line."""
    port, steps, file = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    statistics = StatsSideChannel()
    environment = UnityEnvironment(base_port=port, seed=SEED, side_channels=[statistics])
    seen: list[dict[str, Any]] = []
    try:
        environment.reset()
        for step in range(steps):
            told = {}
            for key, spec in environment.behavior_specs.items():
                decisions, ends = environment.get_steps(key)
                told[key] = {"decisions": rows(decisions), "ends": rows(ends)}
                told[key]["ends"]["interrupted"] = np.array(ends.interrupted).tolist()
                if len(decisions):
                    environment.set_actions(key, chosen(step, spec.action_spec, decisions))
            seen.append(told)
            environment.step()
        statistics_seen = {
            key: [[float(value), kind.value] for value, kind in values]
            for key, values in statistics.get_and_reset_stats().items()
        }
        file.write_text(json.dumps({"steps": seen, "statistics": statistics_seen}))
    finally:
        environment.close()


def rows(steps: Any) -> dict[str, Any]:
    """Of decision or terminal steps, as plain values."""
    mask = getattr(steps, "action_mask", None)
    return {
        "id": np.array(steps.agent_id).tolist(),
        "reward": np.array(steps.reward).tolist(),
        "group_id": np.array(steps.group_id).tolist(),
        "group_reward": np.array(steps.group_reward).tolist(),
        "observations": [np.array(values).tolist() for values in steps.obs],
        "mask": None if mask is None else np.concatenate(mask, axis=1).tolist(),
    }


def chosen(step: int, spec: Any, decisions: Any) -> ActionTuple:
    """Actions that differ by step and agent; of each branch an allowed one."""
    count = len(decisions)
    wave = np.sin(step + np.arange(count * spec.continuous_size, dtype=np.float32))
    continuous = wave.reshape(count, spec.continuous_size).astype(np.float32)
    discrete = np.zeros((count, spec.discrete_size), np.int32)
    for branch, choices in enumerate(spec.discrete_branches):
        wanted = (step + np.arange(count)) % choices
        if decisions.action_mask is not None:
            forbidden = decisions.action_mask[branch]
            allowed = np.argmin(forbidden, axis=1)
            wanted = np.where(forbidden[np.arange(count), wanted], allowed, wanted)
        discrete[:, branch] = wanted
    return ActionTuple(continuous=continuous, discrete=discrete)


if __name__ == "__main__":
    main()
