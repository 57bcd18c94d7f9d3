"""PPO's updates succeed or change nothing, and continue from a saved state bit for bit."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.coefficients import Coefficients
from entrain.errors import CheckpointError, TrainingDivergedError
from entrain.state import State
from entrain_envs.spec import ActionSpec
from made_rollouts import (
    CONTINUOUS,
    DISCRETE,
    HYBRID,
    made_policy,
    made_ppo,
    made_rollout,
    same_state,
)

CPU = torch.device("cpu")
COEFFICIENTS = Coefficients(learning_rate=1e-3, clip_range=0.2, entropy_coefficient=0.0)
WHOLE_ROLLOUT = 10_000
LENGTHS = (7, 0, 12, 5)


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_cancelled_update_leaves_no_trace(after: int) -> None:
    policy = made_policy(HYBRID)
    ppo = made_ppo(policy)
    ppo.update(made_rollout(policy, LENGTHS, seed=1), progress=0.0)
    before = ppo.state()
    rollout = made_rollout(policy, LENGTHS, seed=2)
    asked = itertools.count(1)
    with pytest.raises(UpdateCancelled):
        ppo.update(rollout, progress=0.5, cancelled=lambda: next(asked) > after)
    assert next(asked) == after + 2
    assert same_state(ppo.state(), before)


def test_a_cancelled_update_done_again_is_the_update_never_cancelled() -> None:
    def state(*, cancel_first: bool) -> State:
        policy = made_policy(HYBRID)
        ppo = made_ppo(policy)
        rollout = made_rollout(policy, LENGTHS)
        if cancel_first:
            asked = itertools.count()
            with pytest.raises(UpdateCancelled):
                ppo.update(rollout, progress=0.0, cancelled=lambda: next(asked) == 4)
        ppo.update(rollout, progress=0.0)
        return ppo.state()

    assert same_state(state(cancel_first=True), state(cancel_first=False))


def test_a_reward_that_no_float_can_square_is_learned_if_values_are_normalised() -> None:
    policy = made_policy()
    ppo = made_ppo(policy)
    rollout = made_rollout(policy, LENGTHS)
    metrics = ppo.update(replace(rollout, reward=rollout.reward * 1e30), progress=0.0)
    assert all(math.isfinite(value) for value in metrics.values())
    assert 1e29 < policy.value_head.normalizer.scale.item() < 1e32


def test_a_reward_that_no_float_can_square_is_refused_and_nothing_is_destroyed() -> None:
    policy = made_policy(normalize_values=False)
    ppo = made_ppo(policy, max_grad_norm=0.0, learning_rate=0.02)
    before = ppo.state()
    rollout = made_rollout(policy, LENGTHS)
    huge = replace(rollout, reward=rollout.reward * 1e30)
    with pytest.raises(TrainingDivergedError) as caught:
        ppo.update(huge, progress=0.0)
    message = str(caught.value)
    assert message.startswith("update 1 of policy 'walker' diverged in epoch 1: loss/value is inf")
    assert "lower learning_rate (it is 0.02)" in message
    assert same_state(ppo.state(), before)
    metrics = ppo.update(rollout, progress=0.0)
    assert all(math.isfinite(value) for value in metrics.values())


def test_weights_that_are_already_nan_are_reported_not_trained_on() -> None:
    policy = made_policy()
    rollout = made_rollout(policy, LENGTHS)
    ppo = made_ppo(policy)
    with torch.no_grad():
        policy.value_head.bias.fill_(math.nan)
    with pytest.raises(TrainingDivergedError, match="loss/value is nan"):
        ppo.update(rollout, progress=0.0)
    assert ppo.version == 0


# Going on


@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_a_loaded_state_goes_on_bit_for_bit(action: ActionSpec) -> None:
    policy, other_policy = made_policy(action, seed=0), made_policy(action, seed=9)
    ppo, other = made_ppo(policy, seed=0), made_ppo(other_policy, seed=9)
    ppo.update(made_rollout(policy, LENGTHS, seed=1), progress=0.0)
    state = ppo.state()
    rollout = made_rollout(policy, LENGTHS, seed=2)
    metrics = ppo.update(rollout, progress=0.25)
    other.load_state(state)
    assert other.version == 1
    assert other.update(rollout, progress=0.25) == metrics
    assert same_state(other.state(), ppo.state())
    assert not same_state(state, ppo.state())


def test_a_state_of_another_network_is_refused() -> None:
    ppo = made_ppo(made_policy(hidden=(8,)))
    foreign = made_ppo(made_policy(hidden=(16,))).state()
    before = ppo.state()
    with pytest.raises(CheckpointError, match=r"resume with the network and the behaviour that"):
        ppo.load_state(foreign)
    assert same_state(ppo.state(), before)


def test_a_state_without_a_part_is_refused_by_name() -> None:
    ppo = made_ppo(made_policy())
    state = {name: part for name, part in ppo.state().items() if name != "generator"}
    with pytest.raises(CheckpointError, match="no 'generator'"):
        ppo.load_state(state)
