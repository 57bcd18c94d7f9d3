"""PPO's updates succeed or change nothing, and continue from a saved state bit for bit."""

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.coefficients import Coefficients
from entrain.config.policy import NetworkConfig
from entrain.errors import CheckpointError, TrainingDivergedError, UnlearnableRolloutError
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
RELU = NetworkConfig(hidden_sizes=(8,), activation="relu")


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
    with pytest.raises(UnlearnableRolloutError) as caught:
        ppo.update(huge, progress=0.0)
    message = str(caught.value)
    assert message.startswith("update 1 of policy 'walker' diverged in epoch 1: loss/value is inf")
    # No learning rate would help.
    assert re.search(r"Rewards reach \d.*e\+3[01], and the critic's squared error", message)
    assert "to resume, set normalize_values or normalize_rewards: true" in message
    assert message.endswith("A resumed run leaves this rollout of 24 env steps out")
    assert same_state(ppo.state(), before)
    metrics = ppo.update(rollout, progress=0.0)
    assert all(math.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("normalize_rewards", [False, True])
def test_rewards_that_add_up_to_more_than_float32_holds_are_named(normalize_rewards: bool) -> None:
    policy = made_policy(normalize_rewards=normalize_rewards)
    ppo = made_ppo(policy)
    before = ppo.state()
    rollout = made_rollout(policy, LENGTHS, filler=math.nan)
    huge = replace(rollout, reward=torch.full_like(rollout.reward, 3e38))
    with pytest.raises(UnlearnableRolloutError) as caught:
        ppo.update(huge, progress=0.0)
    remedy = "lower reward_clip (it is 10)" if normalize_rewards else "set normalize_rewards: true"
    assert str(caught.value) == (
        "update 1 of policy 'walker' cannot be learned from: its rewards, of up to 3e+38, add up "
        "to more than float32 holds (3.4e38). The weights are still those before this update; to "
        f"resume, {remedy}, or let the simulator send smaller rewards. A resumed run leaves this "
        "rollout of 24 env steps out"
    )
    assert same_state(ppo.state(), before)


def test_an_observation_that_no_float_can_square_is_named() -> None:
    policy = made_policy(normalize_observations=False, network=RELU)
    rollout = made_rollout(policy, LENGTHS)
    observation = {**rollout.observation, "a": 1e30 * rollout.observation["a"]}
    with pytest.raises(
        UnlearnableRolloutError, match=r"Observation 'a' reaches \d.*e\+30.*anew with"
    ):
        made_ppo(policy).update(replace(rollout, observation=observation), progress=0.0)


def test_steps_that_are_too_long_are_put_down_to_the_learning_rate() -> None:
    policy = made_policy()
    ppo = made_ppo(policy, max_grad_norm=0.0, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError) as caught:
        ppo.update(made_rollout(policy, LENGTHS), progress=0.0)
    assert not isinstance(caught.value, UnlearnableRolloutError)
    assert str(caught.value).endswith(
        "The weights are still those before this update; resume with a lower learning_rate "
        "(it is 1e+30) or with max_grad_norm above 0 (it is 0)"
    )


def test_a_resumed_run_may_normalize_rewards_from_then_on() -> None:
    later: Mapping[str, Any] = {"normalize_rewards": True}
    # What was collected before is in the old unit: its statistics are used for itself alone.
    before, after = made_policy(), made_policy(**later)
    ppo, resumed = made_ppo(before), made_ppo(after)
    rollout = made_rollout(before, LENGTHS)
    large = replace(rollout, reward=1e9 * rollout.reward)
    for _ in range(3):
        ppo.update(large, progress=0.0)
    resumed.load_state(ppo.state())
    resumed.update(large, progress=0.0)
    assert after.value_head.normalizer.scale.item() > 1e8
    resumed.update(made_rollout(after, LENGTHS, seed=1), progress=0.0)
    assert after.value_head.normalizer.scale.item() > 1.0
    other = made_ppo(made_policy(**later))
    other.load_state(resumed.state())
    for seed in range(2):
        values = made_rollout(after, LENGTHS, seed=seed)
        small = replace(values, value=0.0 * values.value, next_value=0.0 * values.next_value)
        resumed.update(small, progress=0.0)
        other.update(small, progress=0.0)
    # Had the old unit counted among the others, it would still be above 1e9.
    assert after.value_head.normalizer.scale.item() < 1e8
    assert same_state(other.state(), resumed.state())


def test_a_state_of_another_surrogate_is_refused_in_words() -> None:
    state = made_ppo(made_policy()).state()
    other = made_ppo(made_policy(), surrogate="per_dimension")
    with pytest.raises(
        CheckpointError,
        match="collected for algorithm.surrogate joint, and the option is per_dimension now; "
        r"resume with joint, or start a new run",
    ):
        other.load_state(state)
    before_there_was_a_choice = {name: state[name] for name in state if name != "surrogate"}
    made_ppo(made_policy()).load_state(before_there_was_a_choice)


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
