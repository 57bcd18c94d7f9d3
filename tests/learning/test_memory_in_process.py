"""What only memory can solve, without server and wire: the cue memory, with and without it."""

from pathlib import Path

import numpy as np
import pytest

from entrain.config.load import load_config
from entrain_envs.simulators.cue_memory import CueMemory
from in_process import learn

EXAMPLE = Path(__file__).parents[2] / "docs/examples/cue_memory.yaml"
CUES = 4
ENOUGH_STEPS = 60_000
STEPS_OF_GUESSING = 20_000
LAST_UPDATES = 5


def share_of_right_doors(*, kind: str, total_steps: int) -> float:
    """Over the episodes that ended before the last updates, while the policy still explored."""
    overrides = [f"total_steps={total_steps}", f"network.memory.kind={kind}"]
    config = load_config(EXAMPLE, [f"policies.walker.{override}" for override in overrides])
    environment = CueMemory(count=32, cues=CUES)
    learned = learn(environment, config.policies["walker"], seed=1)
    returns = np.concatenate(learned.returns[-LAST_UPDATES:])
    assert len(returns) > 500
    return float(returns.mean())


def test_a_policy_with_memory_finds_the_door_and_one_without_only_guesses() -> None:
    # Guessing is right once in four; three standard deviations of a share of 500 guesses: 0.06.
    assert share_of_right_doors(kind="none", total_steps=STEPS_OF_GUESSING) == pytest.approx(
        1.0 / CUES, abs=0.06
    )
    assert share_of_right_doors(kind="gru", total_steps=ENOUGH_STEPS) > 0.95
