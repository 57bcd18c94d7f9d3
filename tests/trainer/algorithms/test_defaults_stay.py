"""An update with the default options gives the weights that it always gave."""

import pytest
import torch
from torch import nn

from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import MemoryConfig
from entrain_envs.spec import ActionSpec
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, NO_MEMORY, made_policy, made_rollout
from recurrent_cases import in_float64

LENGTHS = (40, 0, 65, 30)
LSTM = MemoryConfig(kind="lstm", size=4)

WRITTEN_OUT = PPOConfig.model_validate(
    {
        "final_learning_rate": 0.0,
        "horizon": 0,
        "surrogate": "joint",
        "final_clip_range": 0.0,
        "value_clip_range_schedule": "constant",
        "final_value_clip_range": 0.0,
    }
)
"""The options that came later, as they mean what there was before."""


def after_two_updates(action: ActionSpec, memory: MemoryConfig) -> tuple[float, ...]:
    """Length of the vector of weights, how far it went, and its sum, in float64."""
    acting = made_policy(action, memory=memory)
    learning = made_policy(action, memory=memory).double()
    before = nn.utils.parameters_to_vector(learning.parameters()).detach().clone()
    ppo = PPO(learning, PPOConfig(), discount=0.99, seed=1, device=torch.device("cpu"))
    for seed in range(2):
        ppo.update(in_float64(made_rollout(acting, LENGTHS, seed=seed)), progress=0.25)
    after = nn.utils.parameters_to_vector(learning.parameters()).detach()
    return after.norm().item(), (after - before).norm().item(), after.sum().item()


@pytest.mark.parametrize(
    ("action", "memory", "expected"),
    [
        (CONTINUOUS, NO_MEMORY, (4.120083144981959, 0.054831396232245457, 3.1011047599442194)),
        (DISCRETE, NO_MEMORY, (4.11629877208946, 0.05795005741355348, 5.268663229721492)),
        (HYBRID, NO_MEMORY, (4.121815169598054, 0.06204863654723709, 5.689338176307119)),
        (HYBRID, LSTM, (9.430554855465164, 0.09485707414243255, 18.359887538697684)),
    ],
    ids=["continuous", "discrete", "hybrid", "hybrid with memory"],
)
def test_two_updates_with_default_options_end_where_they_did(
    action: ActionSpec, memory: MemoryConfig, expected: tuple[float, ...]
) -> None:
    # Numbers of the version before there were those options.
    assert after_two_updates(action, memory) == pytest.approx(expected, rel=1e-6)


def test_the_later_options_are_at_values_that_change_nothing() -> None:
    assert PPOConfig() == WRITTEN_OUT
